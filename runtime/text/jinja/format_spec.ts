/**
 * Python's format specifications: `>8`, `,.2f`, `#x`, for texts and numbers.
 *
 * @module
 */

import { type Budget, TemplateError } from "./budget.ts";
import { checkSize, fixed, floatText, scientific, toFloat, truncate } from "./numbers.ts";
import { textFrom } from "./printing.ts";
import { join, repeat } from "./python_text.ts";
import { own, Text } from "./text.ts";
import { typeName, type Value } from "./values.ts";

/** More digits after the point than any float has. */
const MAX_PRECISION = 1100;

/** A read specification. */
export interface Spec {
  /** What fills the width. */
  readonly fill: Text;
  /** Where the text goes; "=" puts the fill between sign and digits. */
  readonly align: string | undefined;
  /** "+", " " or "-": what a number that is not negative begins with. */
  readonly sign: string;
  /** The same as it was given. */
  readonly signText: string;
  /** `#`. */
  readonly alternate: boolean;
  /** Smallest width. */
  readonly width: number;
  /** "," or "_" between groups of digits. */
  readonly grouping: string;
  /** Digits after the point, or most characters. */
  readonly precision: number | undefined;
  /** The letter. */
  readonly type: string;
}

/** Reads what stands after the colon. */
function parseSpec(spec: Text): Spec {
  const form = /^(?:([\s\S])?([<>=^]))?([-+ ]?)z?(#?)(0?)(\d*)([,_]?)(?:\.(\d+))?([a-zA-Z%]?)$/u;
  const found = form.exec(spec.value);
  if (!found) throw new TemplateError(`Invalid format specifier '${spec.value}'`);
  const [, fill, align, sign, alternate, zero, width, grouping, precision, type] = found;
  return {
    fill: fill === undefined ? own(zero ? "0" : " ") : spec.slice(0, fill.length),
    align: align ?? (zero ? "=" : undefined),
    sign: sign || "-",
    signText: sign,
    alternate: alternate !== "",
    width: Number(width),
    grouping,
    precision: precision === undefined ? undefined : Number(precision),
    type,
  };
}

/** `format(value, spec)`. */
export function formatValue(budget: Budget, value: Value, spec: Text): Text {
  if (spec.value === "") return textFrom(budget, value);
  if (value instanceof Text) {
    const parsed = parseSpec(spec);
    if (
      (parsed.type !== "" && parsed.type !== "s") ||
      parsed.align === "=" && !spec.value.startsWith("0")
    ) {
      throw new TemplateError(`Unknown format code '${parsed.type}' for object of type 'str'`);
    }
    const refused = parsed.signText || parsed.grouping;
    if (refused) throw new TemplateError(`'${refused}' not allowed in string format specifier`);
    const cut = parsed.precision === undefined ? value : value.slice(0, value.at(parsed.precision));
    return padded(budget, cut, {
      ...parsed,
      align: parsed.align === "=" ? "<" : parsed.align ?? "<",
    });
  }
  if (typeof value === "number" || typeof value === "bigint" || typeof value === "boolean") {
    const parsed = parseSpec(spec);
    const number = typeof value === "boolean" ? BigInt(value) : value;
    return formatNumber(budget, number, parsed);
  }
  throw new TemplateError(`unsupported format string passed to ${typeName(value)}.__format__`);
}

function padded(budget: Budget, text: Text, { width, fill, align }: Spec): Text {
  const missing = Math.max(0, width - text.length);
  const left = align === "<" ? 0 : align === "^" ? Math.floor(missing / 2) : missing;
  if (missing === 0) return text;
  return join(budget, [repeat(budget, fill, left), text, repeat(budget, fill, missing - left)]);
}

/** A number by a specification. */
export function formatNumber(budget: Budget, value: bigint | number, spec: Spec): Text {
  const { precision } = spec;
  if (precision !== undefined && precision > MAX_PRECISION) {
    throw new TemplateError(`precision ${precision} is more than ${MAX_PRECISION}`);
  }
  if (spec.type === "c") return padded(budget, own(characterOf(value)), spec);
  const isWhole = typeof value === "bigint" &&
    ["", "d", "n", "b", "o", "x", "X"].includes(spec.type);
  if (isWhole && precision !== undefined) {
    throw new TemplateError("Precision not allowed in integer format specifier");
  }
  const [prefix, digits] = isWhole ? wholeDigits(value, spec) : floatDigits(value, spec);
  const isNegative = value < 0 || Object.is(value, -0);
  const sign = isNegative ? "-" : spec.sign === "-" ? "" : spec.sign;
  const head = own(sign + prefix);
  const group = spec.grouping === "" ? undefined : spec.grouping;
  const size = ["b", "o", "x", "X"].includes(spec.type) ? 4 : 3;
  const isZeroFilled = spec.align === "=" && spec.fill.value === "0";
  const room = isZeroFilled ? spec.width - head.value.length : 0;
  budget.text(Math.max(0, room));
  const body = own(group ? grouped(digits, group, size, room) : digits);
  if (spec.align !== "=") return padded(budget, join(budget, [head, body]), spec);
  const missing = spec.width - head.value.length - body.value.length;
  return join(budget, [head, repeat(budget, spec.fill, missing), body]);
}

/** Digits in groups; zeros before them are grouped too, up to the room that there is. */
function grouped(digits: string, separator: string, size: number, room: number): string {
  const form = size === 3 ? /^(\d*)([\s\S]*)$/ : /^([\da-fA-F]*)([\s\S]*)$/;
  const [, given, rest] = form.exec(digits)!;
  const wanted = room - rest.length;
  let whole = given.padStart(Math.floor((wanted * size) / (size + 1)), "0");
  while (whole.length + Math.floor((whole.length - 1) / size) < wanted) whole = "0" + whole;
  const first = whole.length % size;
  const groups = first > 0 ? [whole.slice(0, first)] : [];
  for (let at = first; at < whole.length; at += size) groups.push(whole.slice(at, at + size));
  return groups.join(separator) + rest;
}

function characterOf(value: bigint | number): string {
  if (typeof value !== "bigint" || value < 0n || value > 0x10ffffn) {
    throw new TemplateError("%c needs the number of a character");
  }
  return String.fromCodePoint(Number(value));
}

function wholeDigits(value: bigint, { type, alternate }: Spec): [string, string] {
  const absolute = checkSize(value < 0n ? -value : value);
  switch (type) {
    case "b":
      return [alternate ? "0b" : "", absolute.toString(2)];
    case "o":
      return [alternate ? "0o" : "", absolute.toString(8)];
    case "x":
      return [alternate ? "0x" : "", absolute.toString(16)];
    case "X":
      return [alternate ? "0X" : "", absolute.toString(16).toUpperCase()];
  }
  return ["", absolute.toString()];
}

function floatDigits(value: bigint | number, spec: Spec): [string, string] {
  const { type, alternate } = spec;
  const number = Math.abs(typeof value === "bigint" ? toFloat(value) : value);
  if (!["", "e", "E", "f", "F", "g", "G", "n", "%"].includes(type)) {
    const name = typeof value === "bigint" ? "int" : "float";
    throw new TemplateError(`Unknown format code '${type}' for object of type '${name}'`);
  }
  const isLarge = type === "E" || type === "F" || type === "G";
  const cased = (text: string): string => isLarge ? text.toUpperCase() : text;
  if (!Number.isFinite(number)) return ["", cased(floatText(number)) + (type === "%" ? "%" : "")];
  const precision = spec.precision ?? 6;
  const point = alternate && precision === 0 ? "." : "";
  switch (type) {
    case "f":
    case "F":
      return ["", fixed(number, precision) + point];
    case "%":
      return ["", fixed(number * 100, precision) + point + "%"];
    case "e":
    case "E":
      return ["", cased(scientific(number, precision).replace("e", `${point}e`))];
  }
  if (type === "" && spec.precision === undefined) return ["", floatText(number)];
  return ["", cased(general(number, Math.max(1, precision), alternate, type === ""))];
}

/** `g`: so many digits, with an exponent where the number is very large or small. */
function general(value: number, digits: number, alternate: boolean, asText: boolean): string {
  const long = scientific(value, digits - 1);
  const exponent = Number(long.split("e")[1]);
  const isShort = exponent >= -4 && exponent < (asText ? Math.max(1, digits - 1) : digits);
  let text = isShort ? fixed(value, Math.max(0, digits - 1 - exponent)) : long;
  if (!alternate) text = text.replace(/(\.\d*?)0+(?=e|$)/, "$1").replace(/\.(?=e|$)/, "");
  return asText && isShort && !text.includes(".") ? `${text}.0` : text;
}

/** `%d` and its like of a value. */
export function wholeOf(value: Value, letter: string): bigint {
  if (typeof value === "bigint") return value;
  if (typeof value === "boolean") return BigInt(value);
  if (typeof value === "number" && "diu".includes(letter)) return truncate(value);
  const wanted = "diu".includes(letter) ? "a real number" : "an integer";
  throw new TemplateError(`%${letter} format: ${wanted} is required, not ${typeName(value)}`);
}

/** `%f` and its like of a value. */
export function realOf(value: Value): number {
  if (typeof value === "number") return value;
  if (typeof value === "bigint") return toFloat(value);
  if (typeof value === "boolean") return Number(value);
  throw new TemplateError(`must be real number, not ${typeName(value)}`);
}
