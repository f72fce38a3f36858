/**
 * Typed reading of configuration fields, whether they come from `config.json` or from GGUF
 * metadata. Errors name the file and the field.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { ModelFile } from "./model_file.ts";

/** Reads fields of one model file's metadata. */
export interface ConfigReader {
  /** Whether the field is there and not null. */
  has(field: string): boolean;
  /**
   * A whole number of at least 1, or `fallback`, whatever it is, where absent. A list with a number
   * for each layer counts as one number where all are equal. More than `most` are refused.
   */
  count(field: string, fallback?: number, most?: number): number;
  /** A whole number of at least 0, as `count` otherwise. */
  whole(field: string, fallback?: number): number;
  /** True or false, or `fallback` where absent. */
  flag(field: string, fallback: boolean): boolean;
  /** A finite number, or `fallback` where absent. */
  number(field: string, fallback?: number): number;
  /** What a norm adds to a variance: a number of at least 0, or `fallback` where absent. */
  epsilon(field: string, fallback?: number): number;
  /** A string, or `fallback` where absent. */
  text(field: string, fallback?: string): string;
  /** Any value, undefined where absent. */
  get(field: string): unknown;
  /** The fields of an object; none where absent. */
  fields(field: string): ConfigReader;
}

/** Most that a count in a configuration may be; larger ones are corrupt. */
const MAX_COUNT = 2 ** 31 - 1;

/** Reads fields; `prefix` is put before each name. */
export function readConfig(file: ModelFile, prefix: string = ""): ConfigReader {
  return readFields(file.metadata, file.name, prefix);
}

/** `path` stands before the name of a field in messages. */
function readFields(
  metadata: Readonly<Record<string, unknown>>,
  name: string,
  prefix: string,
  path: string = prefix,
): ConfigReader {
  const get = (field: string): unknown => metadata[prefix + field] ?? undefined;
  const fail = (field: string, expected: string): ModelError => {
    const value = get(field);
    const found = value === undefined ? "missing" : quote(value, 60);
    return new ModelError(
      `Cannot read the configuration of ${quote(name)}: field ` +
        `${quote(path + field)} is ${found}, expected ${expected}`,
    );
  };
  function integer(
    field: string,
    least: number,
    fallback: number | undefined,
    most: number = MAX_COUNT,
  ): number {
    const found = get(field);
    if (found === undefined && fallback !== undefined) return fallback;
    const isList = Array.isArray(found) || ArrayBuffer.isView(found);
    const values = isList ? Array.from(found as ArrayLike<unknown>) : [found];
    const value = values[0];
    if (values.some((it) => it !== value)) throw fail(field, "the same number for every layer");
    if (!Number.isInteger(value) || (value as number) < least) {
      throw fail(field, `a whole number of at least ${least}`);
    }
    if ((value as number) > most) throw fail(field, `at most ${most}`);
    return value as number;
  }
  function number(field: string, fallback: number | undefined): number {
    const value = get(field) ?? fallback;
    if (typeof value !== "number" || !Number.isFinite(value)) throw fail(field, "a number");
    return value;
  }
  return {
    get,
    number,
    epsilon(field, fallback): number {
      const value = number(field, fallback);
      if (value < 0) throw fail(field, "a number of at least 0");
      return value;
    },
    has: (field) => get(field) !== undefined,
    count: (field, fallback, most) => integer(field, 1, fallback, most),
    whole: (field, fallback) => integer(field, 0, fallback),
    flag(field, fallback): boolean {
      const value = get(field) ?? fallback;
      if (typeof value !== "boolean") throw fail(field, "true or false");
      return value;
    },
    fields(field): ConfigReader {
      const value = get(field) ?? {};
      if (typeof value !== "object" || Array.isArray(value)) throw fail(field, "an object");
      return readFields(value as Record<string, unknown>, name, "", `${path}${field}.`);
    },
    text(field, fallback): string {
      const value = get(field) ?? fallback;
      if (typeof value !== "string") throw fail(field, "a string");
      return value;
    },
  };
}
