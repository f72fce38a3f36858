/**
 * How filters of lists reach into items: by attributes and their paths, with or without case.
 *
 * @module
 */

import { item as itemOf } from "./attributes.ts";
import type { Budget } from "./budget.ts";
import { Text } from "./text.ts";
import { isTrue, iterate, Undefined, type Value } from "./values.ts";

/** Reads something of an item. */
export type Getter = (value: Value) => Value;

/** The items of a value, for a loop. */
export function* each(value: Value): Iterator<Value> & Iterable<Value> {
  const items = iterate(value);
  for (let next = items.next(); !next.done; next = items.next()) yield next.value;
}

/** Reads `a.b.0` of a value. */
export function getter(budget: Budget, path: Value | undefined, fallback?: Value): Getter {
  if (path === undefined || path === null) return (value) => value;
  const parts: Value[] = [];
  if (path instanceof Text) {
    budget.items(path.value.length);
    let start = 0;
    for (const part of path.value.split(".")) {
      parts.push(/^\d+$/.test(part) ? BigInt(part) : path.slice(start, start + part.length));
      start += part.length + 1;
    }
  } else parts.push(path);
  return (value) => {
    for (const part of parts) {
      value = itemOf(budget, value, part);
      if (fallback !== undefined && fallback !== null && value instanceof Undefined) {
        value = fallback;
      }
    }
    return value;
  };
}

/** The same with small letters, unless case counts. */
export function withoutCase(budget: Budget, caseSensitive: boolean, get: Getter): Getter {
  if (caseSensitive) return get;
  return (value) => {
    const found = get(value);
    if (!(found instanceof Text)) return found;
    budget.text(found.value.length);
    return found.map((part) => part.toLowerCase());
  };
}

/** Whether an argument is there and true. */
export function flag(value: Value | undefined): boolean {
  return value !== undefined && isTrue(value);
}

/** The paths of `a,b.c`. */
export function splitPaths(budget: Budget, path: Text): Text[] {
  budget.items(path.value.length);
  let start = 0;
  return path.value.split(",").map((part) => {
    const text = path.slice(start, start + part.length);
    start += part.length + 1;
    return text;
  });
}
