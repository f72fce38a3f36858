/**
 * Python's numbers: how they are written, read, rounded and divided.
 *
 * @module
 */

import { MAX_BITS, MAX_DIGITS, TemplateError } from "./budget.ts";

/** A float as Python's `repr` writes it: the shortest digits, an exponent from 1e16 and below 1e-4. */
export function floatText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (value === 0) return Object.is(value, -0) ? "-0.0" : "0.0";
  const [mantissa, exponentText] = value.toExponential().split("e");
  const exponent = Number(exponentText);
  if (exponent < -4 || exponent >= 16) {
    const sign = exponent < 0 ? "-" : "+";
    return `${mantissa}e${sign}${String(Math.abs(exponent)).padStart(2, "0")}`;
  }
  const text = value.toFixed(Math.max(1, mantissa.replace(/[-.]/g, "").length - 1 - exponent));
  return text;
}

/** A whole number in decimal. */
export function integerText(value: bigint): string {
  checkSize(value);
  return value.toString();
}

/** Refuses whole numbers that Python would not write either. */
export function checkSize(value: bigint): bigint {
  const most = 1n << BigInt(MAX_BITS);
  if (value >= most || value <= -most) {
    throw new TemplateError(`a whole number has more than ${MAX_DIGITS} digits`);
  }
  return value;
}

/** Python's `int(text, base)`; undefined where it is none. Base 0 goes by the prefix. */
export function parseInteger(text: string, base = 10): bigint | undefined {
  const [, sign, word] = /^([+-]?)([\da-z_]+)$/i.exec(text) ?? [];
  if (word === undefined || word.length > MAX_DIGITS) return undefined;
  let digits = word.toLowerCase();
  const prefixed = { "0x": 16, "0o": 8, "0b": 2 }[digits.slice(0, 2)];
  const isPrefixed = prefixed !== undefined && (base === 0 || base === prefixed);
  if (isPrefixed) digits = digits.slice(digits[2] === "_" ? 3 : 2);
  else if (base === 0 && /^0[_0]*[1-9]/.test(digits)) return undefined;
  if (!/^[\da-z]+(?:_[\da-z]+)*$/.test(digits)) return undefined;
  const actual = isPrefixed ? prefixed : base || 10;
  let value = 0n;
  for (const digit of digits.replaceAll("_", "")) {
    const number = parseInt(digit, 36);
    if (number >= actual) return undefined;
    value = value * BigInt(actual) + BigInt(number);
  }
  return sign === "-" ? -value : value;
}

/** Python's `float(text)`; undefined where it is none. */
export function parseFloatText(text: string): number | undefined {
  const word = /^([+-]?)(inf|infinity|nan)$/i.exec(text);
  if (word) {
    if (word[2].toLowerCase() === "nan") return NaN;
    return word[1] === "-" ? -Infinity : Infinity;
  }
  const digits = "\\d+(?:_\\d+)*";
  const form = new RegExp(
    `^[+-]?(?:${digits}\\.?(?:${digits})?|\\.${digits})(?:e[+-]?${digits})?$`,
    "i",
  );
  return form.test(text) ? Number(text.replaceAll("_", "")) : undefined;
}

/** A finite float as a fraction: value = numerator / 2^shift. */
function fraction(value: number): [bigint, bigint] {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  const bits = view.getBigUint64(0);
  const biased = Number((bits >> 52n) & 0x7ffn);
  const mantissa = (bits & 0xfffffffffffffn) | (biased === 0 ? 0n : 1n << 52n);
  const exponent = Math.max(1, biased) - 1075;
  const signed = bits >> 63n ? -mantissa : mantissa;
  return exponent >= 0 ? [signed << BigInt(exponent), 1n] : [signed, 1n << BigInt(-exponent)];
}

/** The nearest whole number of a fraction; halves go to the even one. */
export function roundHalfEven(numerator: bigint, denominator: bigint): bigint {
  const floor = floorDivide(numerator, denominator);
  const twice = 2n * (numerator - floor * denominator);
  if (twice < denominator || (twice === denominator && floor % 2n === 0n)) return floor;
  return floor + 1n;
}

/** A finite float with a number of digits after the point, exactly rounded. */
export function fixed(value: number, digits: number): string {
  const [numerator, denominator] = fraction(Math.abs(value));
  const scaled = roundHalfEven(numerator * 10n ** BigInt(digits), denominator).toString()
    .padStart(digits + 1, "0");
  const sign = value < 0 || Object.is(value, -0) ? "-" : "";
  const whole = scaled.slice(0, scaled.length - digits);
  return sign + whole + (digits > 0 ? "." + scaled.slice(-digits) : "");
}

/** A finite float as `d.ddde±xx`, exactly rounded. */
export function scientific(value: number, digits: number): string {
  const sign = value < 0 || Object.is(value, -0) ? "-" : "";
  let exponent = value === 0 ? 0 : Number(Math.abs(value).toExponential().split("e")[1]);
  const [numerator, denominator] = fraction(Math.abs(value));
  const scaled = (): string => {
    const power = digits - exponent;
    return (power >= 0
      ? roundHalfEven(numerator * 10n ** BigInt(power), denominator)
      : roundHalfEven(numerator, denominator * 10n ** BigInt(-power))).toString();
  };
  let text = scaled();
  if (text.length > digits + 1) {
    exponent++;
    text = scaled();
  }
  text = text.padEnd(digits + 1, "0");
  const power = String(Math.abs(exponent)).padStart(2, "0");
  return sign + text[0] + (digits > 0 ? "." + text.slice(1) : "") +
    `e${exponent < 0 ? "-" : "+"}${power}`;
}

/** Python's `round(value, digits)` of a float. */
export function roundFloat(value: number, digits: number): number {
  if (!Number.isFinite(value) || digits > 323) return value;
  if (digits >= 0) return Number(fixed(value, digits));
  if (digits < -308) return value * 0;
  const unit = 10n ** BigInt(-digits);
  const [numerator, denominator] = fraction(value);
  const rounded = Number(roundHalfEven(numerator, denominator * unit) * unit);
  return rounded === 0 && value < 0 ? -0 : rounded;
}

/** Division that rounds down. */
export function floorDivide(a: bigint, b: bigint): bigint {
  const quotient = a / b;
  return a % b !== 0n && (a < 0n) !== (b < 0n) ? quotient - 1n : quotient;
}

/** The remainder that has the sign of the divisor. */
export function floorModulo(a: bigint, b: bigint): bigint {
  return a - b * floorDivide(a, b);
}

/** A whole number cut from a float. */
export function truncate(value: number): bigint {
  if (Number.isNaN(value)) throw new TemplateError("cannot convert float NaN to integer");
  if (!Number.isFinite(value)) throw new TemplateError("cannot convert float infinity to integer");
  return BigInt(Math.trunc(value));
}

/** A whole number as a float. */
export function toFloat(value: bigint): number {
  const number = Number(value);
  if (!Number.isFinite(number)) throw new TemplateError("int too large to convert to float");
  return number;
}
