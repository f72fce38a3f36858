/**
 * `object.name` and `object[key]`, with jinja2's order of trying and the refusals of transformers'
 * immutable sandbox: nothing that begins with an underscore, nothing that changes a list or dict.
 *
 * @module
 */

import { indexOf, takeArguments } from "./arguments.ts";
import { type Budget, TemplateError } from "./budget.ts";
import { isEqual } from "./compare.ts";
import type { Lookup } from "./format.ts";
import { reprOf } from "./printing.ts";
import { rangeOf } from "./ranges.ts";
import { joinTexts, own, Text } from "./text.ts";
import { bytesMethod, textMethod } from "./text_methods.ts";
import {
  type Arguments,
  Bytes,
  callable,
  Dict,
  dictOf,
  entryOf,
  generator,
  isThing,
  Items,
  listOf,
  Slice,
  type Thing,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

const CHANGES_LIST = new Set(
  "append clear pop reverse insert sort extend remove".split(" "),
);
const CHANGES_DICT = new Set("clear pop popitem setdefault update".split(" "));

/** The two ways to look something up, for `str.format`. */
function lookup(budget: Budget): Lookup {
  return {
    attribute: (object, name) => attribute(budget, object, name),
    item: (object, key) => item(budget, object, key),
  };
}

/** `object.name`: a method first, then an entry. */
export function attribute(budget: Budget, object: Value, name: Text): Value {
  if (object instanceof Undefined) object.fail();
  let found = ownField(budget, object, name.value);
  if (found === undefined) found = entry(budget, object, name);
  return found === undefined ? missing(budget, object, name) : found;
}

/** `object[key]`: an entry first, then a method. */
export function item(budget: Budget, object: Value, key: Value): Value {
  if (object instanceof Undefined) object.fail();
  const found = entry(budget, object, key);
  if (found !== undefined) return found;
  if (key instanceof Slice) {
    throw new TemplateError(
      object instanceof Dict
        ? "unhashable type: 'slice'"
        : `'${typeName(object)}' object cannot be sliced like this`,
    );
  }
  const method = key instanceof Text ? ownField(budget, object, key.value) : undefined;
  return method ?? missing(budget, object, key);
}

/** What an object has by itself under a name. */
export function ownField(budget: Budget, object: Value, name: string): Value | undefined {
  const unsafe = /^__\w+__$/.test(name) ||
    (object instanceof Items && object.type === "list" && CHANGES_LIST.has(name)) ||
    (object instanceof Dict && CHANGES_DICT.has(name));
  if (unsafe) {
    return new Undefined(
      `access to attribute '${name}' of '${typeName(object)}' object is unsafe.`,
    );
  }
  if (object instanceof Text) return textMethod(budget, object, name, lookup(budget));
  if (object instanceof Dict) return dictMethod(budget, object, name);
  if (object instanceof Items) return itemsMethod(budget, object, name);
  if (object instanceof Bytes) return bytesMethod(object, name);
  if (isThing(object)) return object.attribute?.(name);
  return numberField(object, name);
}

function missing(budget: Budget, object: Value, key: Value): Undefined {
  const type = object === null ? "None" : `${typeName(object)} object`;
  if (key instanceof Text) return new Undefined(`'${type}' has no attribute '${key.value}'`);
  return new Undefined(`${type} has no element ${reprOf(budget, key).value}`);
}

function entry(budget: Budget, object: Value, key: Value): Value | undefined {
  if (object instanceof Dict) {
    const isHashable = !(key instanceof Dict || key instanceof Slice) &&
      !(key instanceof Items && key.type === "list");
    return isHashable ? entryOf(budget, object, key) : undefined;
  }
  if (key instanceof Slice) return slice(budget, object, key);
  if (typeof key !== "bigint" && typeof key !== "boolean") return undefined;
  const index = Number(key);
  if (object instanceof Text) {
    const { length } = object;
    const at = index < 0 ? index + length : index;
    if (!(at >= 0 && at < length)) return undefined;
    if (object.value.length !== length) budget.read(length);
    return object.slice(object.at(at), object.at(at + 1));
  }
  if (object instanceof Items) return object.items.at(index);
  if (object instanceof Bytes) {
    const byte = object.bytes.at(index);
    return byte === undefined ? undefined : BigInt(byte);
  }
  if (isThing(object) && object.item && object.length !== undefined) {
    const at = index < 0 ? index + object.length : index;
    return at >= 0 && at < object.length ? object.item(at) : undefined;
  }
  return undefined;
}

/** Start, stop, count and step of one of Python's slices; undefined where a part is no index. */
function sliceIndexes({ parts: [from, to, by] }: Slice, length: number): number[] | undefined {
  const isIndex = (part: Value): boolean =>
    part === null || typeof part === "bigint" || typeof part === "boolean";
  if (!isIndex(from) || !isIndex(to) || !isIndex(by)) return undefined;
  const step = by === null ? 1 : indexOf(by);
  if (step === 0) throw new TemplateError("slice step cannot be zero");
  const clamp = (part: Value, fallback: number): number => {
    if (part === null) return fallback;
    let index = indexOf(part);
    if (index < 0) index += length;
    return step > 0
      ? Math.min(Math.max(index, 0), length)
      : Math.min(Math.max(index, -1), length - 1);
  };
  const start = clamp(from, step > 0 ? 0 : length - 1);
  const stop = clamp(to, step > 0 ? length : -1);
  return [start, stop, Math.max(0, Math.ceil((stop - start) / step)), step];
}

function slice(budget: Budget, object: Value, key: Slice): Value | undefined {
  const length = object instanceof Text || (isThing(object) && object.item)
    ? object.length!
    : object instanceof Items
    ? object.items.length
    : undefined;
  if (length === undefined) return undefined;
  const indexes = sliceIndexes(key, length);
  if (!indexes) return undefined;
  const [start, stop, count, step] = indexes;
  if (object instanceof Text) {
    if (step === 1) {
      budget.read(object.value.length);
      return object.slice(object.at(start), object.at(start + count));
    }
    budget.items(count);
    const parts: Text[] = [];
    for (let i = 0; i < count; i++) {
      const at = start + i * step;
      parts.push(object.slice(object.at(at), object.at(at + 1)));
    }
    return joinTexts(parts, object.safe);
  }
  if (object instanceof Items) {
    budget.items(count);
    const items = Array.from({ length: count }, (_, i) => object.items[start + i * step]);
    return new Items(items, object.type);
  }
  const { item } = object as Thing;
  const stride = BigInt(step) * rangeStep(object as Thing);
  const first = item!(start) as bigint;
  // Where Python says it ends: as far after the first as the slice's stop is.
  return rangeOf(budget, first, item!(stop) as bigint, stride);
}

/** The step of a range. */
function rangeStep(range: Thing): bigint {
  return range.attribute!("step") as bigint;
}

function dictMethod(budget: Budget, dict: Dict, name: string): Value | undefined {
  const method = (run: (call: Arguments) => Value): Value =>
    callable("builtin_function_or_method", run);
  switch (name) {
    case "get":
      return method((call) => {
        const [key, fallback] = takeArguments("get", call, ["key", "default"], 1);
        const found = entryOf(budget, dict, key!);
        return found === undefined ? fallback ?? null : found;
      });
    case "keys":
      return method((call) => {
        takeArguments("keys", call, []);
        return view(budget, "dict_keys", dict, ([key]) => key);
      });
    case "values":
      return method((call) => {
        takeArguments("values", call, []);
        return view(budget, "dict_values", dict, ([, value]) => value);
      });
    case "items":
      return method((call) => {
        takeArguments("items", call, []);
        return view(budget, "dict_items", dict, (pair) => new Items(pair, "tuple"));
      });
    case "copy":
      return method(() => dict);
    case "fromkeys":
      return method((call) => {
        const [keys, value] = takeArguments("fromkeys", call, ["keys", "value"], 1);
        return dictOf(budget, listOf(budget, keys!).map((key) => [key, value ?? null] as const));
      });
  }
  return undefined;
}

/** `keys()`, `values()` and `items()`: to go over, not to index. */
function view(
  budget: Budget,
  type: string,
  dict: Dict,
  pick: (pair: readonly [Value, Value]) => Value,
): Thing {
  function* iterate(): Iterator<Value> {
    for (const pair of dict.entries.values()) {
      budget.step();
      yield pick(pair);
    }
  }
  return {
    type,
    iterate,
    length: dict.entries.size,
    shown: () => {
      const list = reprOf(budget, new Items(Array.from(dict.entries.values(), pick)));
      return joinTexts([own(`${type}(`), list, own(")")], false);
    },
  };
}

function itemsMethod(budget: Budget, object: Items, name: string): Value | undefined {
  const named = object.names.indexOf(name);
  if (named >= 0) return object.items[named];
  switch (name) {
    case "count":
      return callable("builtin_function_or_method", (call) => {
        const [value] = takeArguments("count", call, ["value"], 1);
        return BigInt(object.items.filter((other) => isEqual(budget, other, value!)).length);
      });
    case "index":
      return callable("builtin_function_or_method", (call) => {
        const [value, from] = takeArguments("index", call, ["value", "start"], 1);
        const start = from === undefined ? 0 : indexOf(from);
        const at = object.items.findIndex((other, i) =>
          i >= (start < 0 ? start + object.items.length : start) && isEqual(budget, other, value!)
        );
        if (at < 0) {
          throw new TemplateError(`${reprOf(budget, value!).value} is not in ${object.type}`);
        }
        return BigInt(at);
      });
    case "copy":
      return object.type === "list"
        ? callable("builtin_function_or_method", () => object)
        : undefined;
  }
  return undefined;
}

function numberField(value: Value, name: string): Value | undefined {
  if (typeof value === "number") {
    if (name === "real") return value;
    if (name === "imag") return 0;
    if (name === "is_integer") return callable("method", () => Number.isInteger(value));
    return undefined;
  }
  if (typeof value !== "bigint" && typeof value !== "boolean") return undefined;
  const whole = BigInt(value);
  if (name === "real" || name === "numerator") return whole;
  if (name === "imag") return 0n;
  if (name === "denominator") return 1n;
  if (name === "bit_length") {
    const bits = whole === 0n ? 0 : (whole < 0n ? -whole : whole).toString(2).length;
    return callable("method", () => BigInt(bits));
  }
  return undefined;
}

/** The members of something from the last to the first. */
export function reversed(budget: Budget, value: Value): Thing {
  const isView = isThing(value) && value.type.startsWith("dict_");
  if (isThing(value) && value.item === undefined && !isView) {
    throw new TemplateError(`'${value.type}' object is not reversible`);
  }
  const items = listOf(budget, value).reverse();
  return generator(budget, "reversed", items[Symbol.iterator]());
}
