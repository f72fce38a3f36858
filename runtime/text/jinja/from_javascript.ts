/**
 * What callers pass, as values of a template. Everything textual in it is marked as the caller's.
 *
 * @module
 */

import { InputError } from "../../../errors.ts";
import { callers } from "./text.ts";
import { Dict, Items, type Value } from "./values.ts";

/** Deepest nesting of what is passed. */
const MAX_DEPTH = 200;
/** Longest list; one that is longer has little in it. */
const MAX_LIST = 1 << 22;
/** JavaScript writes larger numbers with an exponent, as JSON does with floats. */
const LARGEST_WHOLE = 1e21;

/** Converted values, and how much they hold. */
export interface Conversion {
  /** Converts one more value; objects that were seen before are not converted again. */
  convert(value: unknown, what: string): Value;
  /** UTF-16 units so far. */
  readonly characters: number;
  /** List items and entries so far. */
  readonly items: number;
}

/**
 * Begins a conversion. JSON's `2.0` and `2` are the same number in JavaScript: both become whole numbers.
 * Pass bigints for whole numbers above 2^53.
 */
export function conversion(): Conversion {
  const seen = new Map<object, Value>();
  const open = new Set<object>();
  const counts = { characters: 0, items: 0 };

  function refuse(what: string, reason: string): never {
    throw new InputError(`Cannot format a conversation: ${what} ${reason}`);
  }

  function convert(value: unknown, what: string): Value {
    switch (typeof value) {
      case "string":
        counts.characters += value.length;
        return callers(value);
      case "number":
        return Number.isInteger(value) && Math.abs(value) < LARGEST_WHOLE ? BigInt(value) : value;
      case "bigint":
      case "boolean":
        return value;
      case "undefined":
        return null;
      case "object":
        return value === null ? null : convertObject(value, what);
    }
    return refuse(what, `holds a ${typeof value}, expected what JSON can hold`);
  }

  function convertObject(value: object, what: string): Value {
    const known = seen.get(value);
    if (known !== undefined) return known;
    if (open.has(value)) refuse(what, "holds itself, expected what JSON can hold");
    if (open.size >= MAX_DEPTH) refuse(what, `is nested deeper than ${MAX_DEPTH} levels`);
    open.add(value);
    let result: Value;
    if (Array.isArray(value)) {
      if (value.length > MAX_LIST) refuse(what, `holds a list of ${value.length} items`);
      counts.items += value.length;
      result = new Items(Array.from(value, (item) => convert(item, what)));
    } else if (typeof (value as { toJSON?: unknown }).toJSON === "function") {
      result = convert((value as { toJSON(): unknown }).toJSON(), what);
    } else {
      const entries = new Map<string, readonly [Value, Value]>();
      for (const [key, item] of Object.entries(value)) {
        if (item === undefined) continue;
        counts.items++;
        entries.set(`t${key}`, [convert(key, what), convert(item, what)]);
      }
      result = new Dict(entries);
    }
    open.delete(value);
    seen.set(value, result);
    return result;
  }

  return {
    convert,
    get characters() {
      return counts.characters;
    },
    get items() {
      return counts.items;
    },
  };
}
