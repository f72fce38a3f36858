/**
 * The values of a template: Python's, as far as templates can meet them. Whole numbers are bigints and
 * floats are numbers, because Python tells `2` from `2.0`; all else is immutable, as transformers'
 * sandbox has it.
 *
 * @module
 */

import { type Budget, TemplateError } from "./budget.ts";
import { Text } from "./text.ts";

/** A value; `null` is None. */
export type Value =
  | null
  | boolean
  | bigint
  | number
  | Text
  | Items
  | Dict
  | Undefined
  | Bytes
  | Slice
  | Thing;

/** A list or a tuple. */
export class Items {
  /** Its members. */
  readonly items: readonly Value[];
  /** Which of the two. */
  readonly type: "list" | "tuple";
  /** Names of the members of a named tuple. */
  readonly names: readonly string[];

  /** A list, unless told otherwise. */
  constructor(
    items: readonly Value[],
    type: "list" | "tuple" = "list",
    names: readonly string[] = [],
  ) {
    this.items = items;
    this.type = type;
    this.names = names;
  }
}

/** A dictionary, in the order of insertion. */
export class Dict {
  /** Keys and values by what `keyOf` makes of a key. */
  readonly entries: ReadonlyMap<string, readonly [Value, Value]>;

  /** A dictionary. */
  constructor(entries: ReadonlyMap<string, readonly [Value, Value]> = new Map()) {
    this.entries = entries;
  }
}

/** What is not there. Printing, looping and testing it are allowed; everything else says why. */
export class Undefined {
  /** What an error says. */
  readonly message: string;

  /** Something missing. */
  constructor(message: string) {
    this.message = message;
  }

  /** The error of using it. */
  fail(): never {
    throw new TemplateError(this.message);
  }
}

/** Bytes, which only `encode` makes. */
export class Bytes {
  /** Them. */
  readonly bytes: Uint8Array;

  /** Bytes. */
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
}

/** The inside of `[a:b:c]`. */
export class Slice {
  /** Start, stop and step; null where left out. */
  readonly parts: readonly [Value, Value, Value];

  /** A slice. */
  constructor(parts: readonly [Value, Value, Value]) {
    this.parts = parts;
  }
}

/** Arguments of one call. */
export interface Arguments {
  /** By position. */
  readonly args: readonly Value[];
  /** By name. */
  readonly named: ReadonlyMap<string, Value>;
}

/** Everything else: functions, methods, loops, ranges, iterators, views. */
export interface Thing {
  /** Its type's name in Python. */
  readonly type: string;
  /** Its fields and methods. */
  attribute?(name: string): Value | undefined;
  /** What a call gives. */
  call?(call: Arguments): Value;
  /** Its members; an iterator gives itself, so that it is used up. */
  iterate?(): Iterator<Value>;
  /** How many members it has, where that is known. */
  readonly length?: number;
  /** A member by position. */
  item?(index: number): Value;
  /** How it is printed. */
  readonly shown?: () => Text;
}

/** Whether a value is none of the classes above. */
export function isThing(value: Value): value is Thing {
  return typeof value === "object" && value !== null && !(value instanceof Text) &&
    !(value instanceof Items) && !(value instanceof Dict) && !(value instanceof Undefined) &&
    !(value instanceof Bytes) && !(value instanceof Slice);
}

/** A function that templates can call. */
export function callable(type: string, call: (call: Arguments) => Value): Thing {
  return { type, call };
}

/** A lazy sequence, used up by reading it. */
export function generator(budget: Budget, type: string, items: Iterator<Value>): Thing {
  const iterator: Iterator<Value> = {
    next() {
      budget.step();
      return items.next();
    },
  };
  return { type, iterate: () => iterator };
}

/** The name of a value's type in Python. */
export function typeName(value: Value): string {
  if (value === null) return "NoneType";
  switch (typeof value) {
    case "boolean":
      return "bool";
    case "bigint":
      return "int";
    case "number":
      return "float";
  }
  if (value instanceof Text) return value.safe ? "Markup" : "str";
  if (value instanceof Items) return value.type;
  if (value instanceof Dict) return "dict";
  if (value instanceof Undefined) return "Undefined";
  if (value instanceof Bytes) return "bytes";
  if (value instanceof Slice) return "slice";
  return value.type;
}

/** What `if` makes of a value. */
export function isTrue(value: Value): boolean {
  if (value === null || value === false || value === 0n || value === 0) return false;
  if (typeof value !== "object") return true;
  if (value instanceof Text) return value.value !== "";
  if (value instanceof Items) return value.items.length > 0;
  if (value instanceof Dict) return value.entries.size > 0;
  if (value instanceof Undefined) return false;
  if (value instanceof Bytes) return value.bytes.length > 0;
  if (value instanceof Slice) return true;
  return value.length !== 0;
}

/** How many members a value has. */
export function lengthOf(value: Value): number {
  if (value instanceof Text) return value.length;
  if (value instanceof Items) return value.items.length;
  if (value instanceof Dict) return value.entries.size;
  if (value instanceof Undefined) return 0;
  if (value instanceof Bytes) return value.bytes.length;
  if (isThing(value) && value.length !== undefined) return value.length;
  throw new TemplateError(`object of type '${typeName(value)}' has no len()`);
}

/** Whether `for` could go over a value. */
export function isIterable(value: Value): boolean {
  return value instanceof Text || value instanceof Items || value instanceof Dict ||
    value instanceof Undefined || value instanceof Bytes ||
    (isThing(value) && value.iterate !== undefined);
}

/** The members of a value, one after another. */
export function iterate(value: Value): Iterator<Value> {
  if (value instanceof Items) return value.items[Symbol.iterator]();
  if (value instanceof Dict) return keysOf(value);
  if (value instanceof Text) return charactersOf(value);
  if (value instanceof Undefined) return [][Symbol.iterator]();
  if (value instanceof Bytes) return Array.from(value.bytes, BigInt)[Symbol.iterator]();
  if (isThing(value) && value.iterate) return value.iterate();
  throw new TemplateError(`'${typeName(value)}' object is not iterable`);
}

function* keysOf(dict: Dict): Iterator<Value> {
  for (const [key] of dict.entries.values()) yield key;
}

function* charactersOf(marked: Text): Iterator<Value> {
  const text = marked.marked(false);
  for (let at = 0; at < text.value.length;) {
    const end = at + (text.value.codePointAt(at)! > 0xffff ? 2 : 1);
    yield text.slice(at, end);
    at = end;
  }
}

/** All members of a value. */
export function listOf(budget: Budget, value: Value): Value[] {
  if (!isThing(value)) {
    const length = value instanceof Items ? value.items.length : 0;
    budget.items(length);
    if (value instanceof Items) return value.items.slice();
  }
  const list: Value[] = [];
  const items = iterate(value);
  for (let next = items.next(); !next.done; next = items.next()) {
    budget.items(1);
    list.push(next.value);
  }
  return list;
}

const identities = new WeakMap<object, number>();
let identityCount = 0;

/**
 * What keys are compared by: equal for values that Python holds to be equal.
 *
 * @throws TemplateError for lists and dictionaries, which cannot be keys
 */
export function keyOf(budget: Budget, value: Value): string {
  budget.step();
  if (value === null) return "none";
  switch (typeof value) {
    case "boolean":
      return `n${Number(value)}`;
    case "bigint":
      return `n${value}`;
    case "number":
      return Number.isInteger(value) ? `n${BigInt(value)}` : `n${value}`;
  }
  if (value instanceof Text) return `t${value.value}`;
  if (value instanceof Undefined) return "undefined";
  if (value instanceof Items && value.type === "tuple") {
    budget.enter();
    let key = "(";
    for (const item of value.items) {
      const part = keyOf(budget, item);
      budget.text(key.length + part.length);
      key += `${part.length}:${part}`;
    }
    budget.leave();
    return key;
  }
  if (value instanceof Items || value instanceof Dict || value instanceof Slice) {
    throw new TemplateError(`unhashable type: '${typeName(value)}'`);
  }
  if (value instanceof Bytes) return `b${value.bytes}`;
  if (value.type === "dict_keys" || value.type === "dict_items") {
    throw new TemplateError(`unhashable type: '${value.type}'`);
  }
  let identity = identities.get(value);
  if (identity === undefined) identities.set(value, identity = identityCount++);
  return `i${identity}`;
}

/** The value of a key in a dictionary. */
export function entryOf(budget: Budget, dict: Dict, key: Value): Value | undefined {
  return dict.entries.get(keyOf(budget, key))?.[1];
}

/** A dictionary from pairs; of equal keys the first stays, with the last value. */
export function dictOf(budget: Budget, pairs: Iterable<readonly [Value, Value]>): Dict {
  const entries = new Map<string, readonly [Value, Value]>();
  for (const [key, value] of pairs) {
    budget.items(1);
    const id = keyOf(budget, key);
    entries.set(id, [entries.get(id)?.[0] ?? key, value]);
  }
  return new Dict(entries);
}
