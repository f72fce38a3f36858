/**
 * What filters make of numbers: whole ones, rounded ones, sizes of files.
 *
 * @module
 */

import * as python from "./python_text.ts";
import { indexOf, takeArguments, textOf } from "./arguments.ts";
import { type Budget, TemplateError } from "./budget.ts";
import {
  fixed,
  parseFloatText,
  parseInteger,
  roundFloat,
  roundHalfEven,
  toFloat,
  truncate,
} from "./numbers.ts";
import { numberOf } from "./operators.ts";
import { textFrom } from "./printing.ts";
import type { Run } from "./run.ts";
import { own, Text } from "./text.ts";
import { type Arguments, isTrue, typeName, Undefined, type Value } from "./values.ts";

/** Python's `int(value)`; undefined where it raises what jinja2 passes over. */
export function integer(budget: Budget, value: Value, base: number): bigint | undefined {
  if (value instanceof Undefined) value.fail();
  if (value instanceof Text) {
    const text = trimmed(budget, value);
    return parseInteger(text, base) ?? wholeOf(parseFloatText(text));
  }
  const number = numberOf(value);
  if (number === undefined) return undefined;
  return typeof number === "bigint" ? number : Number.isNaN(number) ? undefined : truncate(number);
}

function wholeOf(value: number | undefined): bigint | undefined {
  return value === undefined || !Number.isFinite(value) ? undefined : truncate(value);
}

/** A text as numbers are read from it. */
export function trimmed(budget: Budget, text: Text): string {
  return python.strip(budget, text, null, "lr").value;
}

export function round(_run: Run, value: Value, call: Arguments): Value {
  const [digitsValue, methodValue] = takeArguments("round", call, ["precision", "method"]);
  if (value instanceof Undefined) value.fail();
  const number = numberOf(value);
  const digits = digitsValue === undefined ? 0 : indexOf(digitsValue);
  const method = methodValue === undefined ? "common" : textOf(methodValue, "method").value;
  if (number === undefined) {
    throw new TemplateError(`type ${typeName(value)} doesn't define __round__ method`);
  }
  if (Math.abs(digits) > 1000) throw new TemplateError(`precision ${digits} is out of range`);
  if (method === "common") {
    if (typeof number === "number") return roundFloat(number, digits);
    if (digits >= 0) return number;
    const unit = 10n ** BigInt(-digits);
    return roundHalfEven(number, unit) * unit;
  }
  if (method !== "ceil" && method !== "floor") {
    throw new TemplateError("method must be common, ceil or floor");
  }
  const factor = 10 ** digits;
  const scaled = truncate(
    Math[method]((typeof number === "bigint" ? toFloat(number) : number) * factor),
  );
  if (typeof number === "bigint" && digits === 0) return toFloat(scaled);
  return toFloat(scaled) / factor;
}

export function fileSize({ budget }: Run, value: Value, call: Arguments): Value {
  const [binaryValue] = takeArguments("filesizeformat", call, ["binary"]);
  const isBinary = binaryValue !== undefined && isTrue(binaryValue);
  const bytes = value instanceof Text ? parseFloatText(trimmed(budget, value)) : numberOf(value);
  if (bytes === undefined) {
    throw new TemplateError(`filesizeformat needs a number, not ${textFrom(budget, value).value}`);
  }
  const number = Number(bytes);
  const base = isBinary ? 1024 : 1000;
  if (number === 1) return own("1 Byte");
  if (number < base) return own(`${truncate(number)} Bytes`);
  const letters = isBinary ? "KMGTPEZY" : "kMGTPEZY";
  let i = 0;
  while (i < letters.length - 1 && number >= base ** (i + 2)) i++;
  return own(`${fixed(base * number / base ** (i + 2), 1)} ${letters[i]}${isBinary ? "i" : ""}B`);
}
