/**
 * Python's two ways to fill texts in: `"%s-%d" % (a, b)` and `"{}:{name}".format(a, name=b)`.
 *
 * @module
 */

import { type Budget, TemplateError } from "./budget.ts";
import { formatNumber, formatValue, realOf, wholeOf } from "./format_spec.ts";
import { escapeHtml } from "./html.ts";
import { quoted, reprOf, textFrom } from "./printing.ts";
import { join, pad } from "./python_text.ts";
import { own, Text } from "./text.ts";
import { type Arguments, Dict, entryOf, Items, Undefined, type Value } from "./values.ts";
import { indexOf } from "./arguments.ts";

const CONVERSION = /%(?:\(([^()]*)\))?([-+ #0]*)(\*|\d+)?(?:\.(\*|\d+)?)?[hlL]?([\s\S]|$)/gu;

/** `text % values`. */
export function percentFormat(budget: Budget, text: Text, values: Value): Text {
  const isTuple = values instanceof Items && values.type === "tuple";
  const list = isTuple ? values.items : [values];
  let used = 0;
  let byName = false;
  const take = (): Value => {
    if (used >= list.length) throw new TemplateError("not enough arguments for format string");
    return list[used++];
  };
  const parts: Text[] = [];
  let start = 0;
  budget.read(text.value.length);
  for (const found of text.value.matchAll(CONVERSION)) {
    const [whole, name, flags, widthText, precisionText, letter] = found;
    parts.push(text.slice(start, found.index));
    start = found.index + whole.length;
    if (letter === "%") {
      parts.push(text.slice(start - 1, start));
      continue;
    }
    const number = (given: string | undefined): number | undefined =>
      given === "*" ? indexOf(take()) : given === undefined ? undefined : Number(given);
    let width = number(widthText) ?? 0;
    const hasPoint = /\./.test(whole.slice((name?.length ?? -2) + 3));
    const precision = number(precisionText) ?? (hasPoint ? 0 : undefined);
    let align = flags.includes("-") ? "<" : ">";
    if (width < 0) [width, align] = [-width, "<"];
    let value: Value;
    if (name === undefined) value = take();
    else {
      byName = true;
      if (!(values instanceof Dict)) throw new TemplateError("format requires a mapping");
      const entry = entryOf(budget, values, own(name));
      if (entry === undefined) throw new TemplateError(`the key '${name}' is missing`);
      value = entry;
    }
    const options = { flags, width, precision, align, letter };
    parts.push(convert(budget, value, options, text.safe));
  }
  if (isTuple ? used < list.length : used === 0 && !byName && !mayBeLeft(values)) {
    throw new TemplateError("not all arguments converted during string formatting");
  }
  parts.push(text.slice(start));
  return join(budget, parts, text.safe);
}

/** A single value that need not be used: anything that could have been asked by name. */
function mayBeLeft(values: Value): boolean {
  return values instanceof Dict || values instanceof Undefined ||
    (values instanceof Items && values.type === "list");
}

interface Conversion {
  readonly flags: string;
  readonly width: number;
  readonly precision: number | undefined;
  readonly align: string;
  readonly letter: string;
}

function convert(budget: Budget, value: Value, options: Conversion, safe: boolean): Text {
  const { flags, width, precision, align, letter } = options;
  const sign = flags.includes("+") ? "+" : flags.includes(" ") ? " " : "-";
  const zero = flags.includes("0") && align === ">";
  const spec = {
    fill: own(zero ? "0" : " "),
    align: zero ? "=" : align,
    sign,
    signText: sign,
    alternate: flags.includes("#"),
    width,
    grouping: "",
    precision,
    type: letter,
  };
  switch (letter) {
    case "s":
    case "r":
    case "a": {
      let text = letter === "s"
        ? textFrom(budget, value)
        : letter === "a" && value instanceof Text
        ? quoted(value, true)
        : reprOf(budget, value);
      if (safe) text = escapeHtml(budget, text);
      if (precision !== undefined) text = text.slice(0, text.at(precision));
      return pad(budget, text.marked(safe), width, own(" "), align === "<" ? "left" : "right");
    }
    case "c":
      if (value instanceof Text && value.length === 1) {
        return pad(budget, value, width, own(" "), align === "<" ? "left" : "right");
      }
      return formatNumber(budget, wholeOf(value, letter), { ...spec, align });
    case "d":
    case "i":
    case "u":
    case "o":
    case "x":
    case "X": {
      const number = wholeOf(value, letter);
      const type = "iu".includes(letter) ? "d" : letter;
      if (precision === undefined) {
        return formatNumber(budget, number, { ...spec, type });
      }
      // A precision means: at least so many digits.
      const length = precision + Number(number < 0n || sign !== "-");
      const digits = formatNumber(budget, number, {
        ...spec,
        type,
        precision: undefined,
        width: length + (spec.alternate ? 2 : 0),
        fill: own("0"),
        align: "=",
      });
      return pad(budget, digits, width, own(" "), align === "<" ? "left" : "right");
    }
    case "e":
    case "E":
    case "f":
    case "F":
    case "g":
    case "G":
      return formatNumber(budget, realOf(value), spec);
    case "":
      throw new TemplateError("incomplete format");
  }
  throw new TemplateError(`unsupported format character '${letter}'`);
}

/** How `{a.b[c]}` finds its value: the interpreter's own ways, with the sandbox's refusals. */
export interface Lookup {
  /** `object.name`. */
  attribute(object: Value, name: Text): Value;
  /** `object[key]`. */
  item(object: Value, key: Value): Value;
}

/** `text.format(…)`; `depth` ends fields within fields. */
export function braceFormat(
  budget: Budget,
  text: Text,
  call: Arguments,
  lookup: Lookup,
  counter: { next: number; named: boolean } = { next: 0, named: false },
  depth = 2,
): Text {
  if (depth < 0) throw new TemplateError("Max string recursion exceeded");
  const { value } = text;
  budget.read(value.length);
  const parts: Text[] = [];
  let start = 0;
  for (let at = 0; at < value.length;) {
    const character = value[at];
    if (character !== "{" && character !== "}") {
      at++;
      continue;
    }
    parts.push(text.slice(start, at));
    if (value[at + 1] === character) {
      parts.push(text.slice(at, at + 1));
      at = start = at + 2;
      continue;
    }
    if (character === "}") throw new TemplateError("Single '}' encountered in format string");
    const end = fieldEnd(value, at);
    parts.push(field(budget, text.slice(at + 1, end), text.safe, call, lookup, counter, depth));
    at = start = end + 1;
  }
  parts.push(text.slice(start));
  return join(budget, parts, text.safe);
}

/** Where the field that starts at a brace ends. */
function fieldEnd(value: string, start: number): number {
  let depth = 0;
  let inBrackets = false;
  for (let at = start; at < value.length; at++) {
    if (value[at] === "[" && depth === 1) inBrackets = true;
    else if (value[at] === "]") inBrackets = false;
    else if (inBrackets) continue;
    else if (value[at] === "{") depth++;
    else if (value[at] === "}" && --depth === 0) return at;
  }
  throw new TemplateError(
    start === value.length - 1
      ? "Single '{' encountered in format string"
      : "expected '}' before end of string",
  );
}

function field(
  budget: Budget,
  text: Text,
  safe: boolean,
  call: Arguments,
  lookup: Lookup,
  counter: { next: number; named: boolean },
  depth: number,
): Text {
  const form = /^((?:\[[^\]]*\]|[^[:!])*)(?:!([\s\S]))?(?::([\s\S]*))?$/u;
  const found = form.exec(text.value);
  if (!found) throw new TemplateError(`'{${text.value}}' is no format field`);
  const [, path, conversion, specText] = found;
  let value = fieldValue(budget, text.slice(0, path.length), call, lookup, counter);
  if (conversion === "r") value = reprOf(budget, value);
  else if (conversion === "s") value = textFrom(budget, value);
  else if (conversion === "a") {
    value = value instanceof Text ? quoted(value, true) : reprOf(budget, value);
  } else if (conversion !== undefined) {
    throw new TemplateError(`Unknown conversion specifier ${conversion}`);
  }
  const spec = specText === undefined || specText === "" ? own("") : braceFormat(
    budget,
    text.slice(text.value.length - specText.length),
    call,
    lookup,
    counter,
    depth - 1,
  );
  const result = formatValue(budget, value, spec);
  return safe ? escapeHtml(budget, result) : result.marked(false);
}

function fieldValue(
  budget: Budget,
  path: Text,
  { args, named }: Arguments,
  lookup: Lookup,
  counter: { next: number; named: boolean },
): Value {
  const first = /^[^.[]*/.exec(path.value)![0];
  let value: Value | undefined;
  if (first === "" || /^\d+$/.test(first)) {
    if (first === "" ? counter.named : counter.next > 0) {
      throw new TemplateError("cannot switch between automatic and manual field numbering");
    }
    if (first !== "") counter.named = true;
    const index = first === "" ? counter.next++ : Number(first);
    value = args[index];
    if (value === undefined) {
      throw new TemplateError(`Replacement index ${index} out of range for positional args tuple`);
    }
  } else value = named.get(first);
  if (value === undefined) throw new TemplateError(`the key '${first}' is missing`);
  const rest = /\.([^.[]+)|\[([^\]]+)\]/gy;
  rest.lastIndex = first.length;
  let at = first.length;
  for (let found = rest.exec(path.value); found; found = rest.exec(path.value)) {
    budget.step();
    const [whole, name, key] = found;
    if (name !== undefined) value = lookup.attribute(value, path.slice(at + 1, at + whole.length));
    else if (/^\d+$/.test(key)) value = lookup.item(value, BigInt(key));
    else value = lookup.item(value, path.slice(at + 1, at + whole.length - 1));
    at += whole.length;
  }
  if (at !== path.value.length) throw new TemplateError("Empty attribute in format string");
  return value;
}
