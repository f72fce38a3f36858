/**
 * Readers for untrusted JSON-like values: each checks the type of one field and otherwise throws
 * an error that names the field, what was found and what was expected. Used for tokenizer files and GGUF
 * metadata. Not a schema language.
 *
 * @module
 */

import { FormatError } from "../../../errors.ts";
import { plain, quote } from "../../../escape.ts";

/** A JSON object. */
export type Fields = Record<string, unknown>;

/** Ids and counts beyond this are damage, not vocabulary. */
export const MAX_VOCABULARY = 1 << 22;

/** What a value is, in words. */
export function describe(value: unknown): string {
  if (value === undefined) return "missing";
  if (value === null) return "null";
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (ArrayBuffer.isView(value)) return "binary data";
  if (typeof value === "string") return `the text ${quote(value, 40)}`;
  if (typeof value === "object") return "an object";
  return typeof value === "function" ? "a function" : `the ${typeof value} ${String(value)}`;
}

/** Why something failed, from an error of a library or of the engine: no longer than a line. */
export function reasonOf(cause: unknown): string {
  return plain((cause as Error).message, 160);
}

/** The error for a field that is not what it should be. */
export function wrongField(field: string, value: unknown, expected: string): FormatError {
  return new FormatError(
    `Cannot read the tokenizer: ${field} is ${describe(value)}, expected ${expected}; ` +
      `the file is damaged or of a form that is not supported`,
  );
}

/** A JSON object, not a list and not null. */
export function objectField(value: unknown, field: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw wrongField(field, value, "an object");
  }
  return value as Fields;
}

/** A list, without holes. */
export function listField(value: unknown, field: string): readonly unknown[] {
  if (!Array.isArray(value)) throw wrongField(field, value, "a list");
  return Array.from(value);
}

/** The value of a field that must be a text. */
export function textField(value: unknown, field: string): string {
  if (typeof value !== "string") throw wrongField(field, value, "a text");
  return value;
}

/** A text, or undefined for null and absent. */
export function optionalText(value: unknown, field: string): string | undefined {
  return value === undefined || value === null ? undefined : textField(value, field);
}

/** A boolean, with a value for null and absent. */
export function flagField(value: unknown, field: string, fallback: boolean): boolean {
  if (value === undefined || value === null) return fallback;
  if (typeof value !== "boolean") throw wrongField(field, value, "true or false");
  return value;
}

/** A whole number in [least, most], with a value for null and absent where one is given. */
export function countField(
  value: unknown,
  field: string,
  least: number,
  most: number,
  fallback?: number,
): number {
  if ((value === undefined || value === null) && fallback !== undefined) return fallback;
  if (typeof value !== "number" || !Number.isInteger(value) || value < least || value > most) {
    throw wrongField(field, value, `a whole number from ${least} to ${most}`);
  }
  return value;
}
