/**
 * The filters of jinja2 that take lists apart and put them together. Those that are lazy there are
 * lazy here: a sequence that has been read is used up.
 *
 * @module
 */

import { indexOf, takeArguments, textOf } from "./arguments.ts";
import { attribute, ownField, reversed } from "./attributes.ts";
import { TemplateError } from "./budget.ts";
import { isOrdered, isSameOrEqual, sortBy } from "./compare.ts";
import { each, flag, type Getter, getter, splitPaths, withoutCase } from "./getters.ts";
import type { Filter, Run } from "./run.ts";
import { EMPTY, joinTexts, Text } from "./text.ts";
import {
  type Arguments,
  Dict,
  generator,
  isThing,
  isTrue,
  Items,
  iterate,
  keyOf,
  listOf,
  Undefined,
  type Value,
} from "./values.ts";

function select(isWanted: boolean, byAttribute: boolean): Filter {
  return (run, value, { args, named }) => {
    const select = function* (): Iterator<Value> {
      if (!isTrue(value)) return;
      let get: Getter = (item) => item;
      let rest = args;
      if (byAttribute) {
        if (args.length === 0) throw new TemplateError("Missing parameter for attribute name");
        get = getter(run.budget, args[0]);
        rest = args.slice(1);
      }
      const [name, ...others] = rest;
      const test = name === undefined ? undefined : textOf(name, "the name of a test").value;
      const call = { args: others, named };
      for (const item of each(value)) {
        const part = get(item);
        const holds = test === undefined ? isTrue(part) : run.test(test, part, call);
        if (holds === isWanted) yield item;
      }
    };
    return generator(run.budget, "generator", select());
  };
}

function map(run: Run, value: Value, call: Arguments): Value {
  const { args, named } = call;
  const map = function* (): Iterator<Value> {
    if (!isTrue(value)) return;
    let change: Getter;
    if (args.length === 0 && named.has("attribute")) {
      const [path, fallback] = takeArguments("map", call, ["attribute", "default"]);
      change = getter(run.budget, path, fallback);
    } else {
      if (args.length === 0) throw new TemplateError("map requires a filter argument");
      const name = textOf(args[0], "the name of a filter").value;
      change = (item) => run.filter(name, item, { args: args.slice(1), named });
    }
    for (const item of each(value)) yield change(item);
  };
  return generator(run.budget, "generator", map());
}

function sort({ budget }: Run, value: Value, call: Arguments): Value {
  const [reverse, caseSensitive, path] = takeArguments(
    "sort",
    call,
    ["reverse", "case_sensitive", "attribute"],
  );
  const paths = path instanceof Text ? splitPaths(budget, path) : [path];
  const getters = paths.map((one) => withoutCase(budget, flag(caseSensitive), getter(budget, one)));
  const items = listOf(budget, value);
  const keys = items.map((item) => new Items(getters.map((get) => get(item))));
  return new Items(sortBy(budget, items, keys, flag(reverse)));
}

function dictSort({ budget }: Run, value: Value, call: Arguments): Value {
  const [caseSensitive, by, reverse] = takeArguments(
    "dictsort",
    call,
    ["case_sensitive", "by", "reverse"],
  );
  if (value instanceof Undefined) value.fail();
  if (!(value instanceof Dict)) throw new TemplateError("dictsort needs a dict");
  const which = by === undefined ? "key" : textOf(by, "by").value;
  if (which !== "key" && which !== "value") {
    throw new TemplateError('You can only sort by either "key" or "value"');
  }
  const get = withoutCase(
    budget,
    flag(caseSensitive),
    (pair) => (pair as Items).items[which === "key" ? 0 : 1],
  );
  const items = Array.from(value.entries.values(), (pair) => new Items(pair, "tuple"));
  return new Items(sortBy(budget, items, items.map(get), flag(reverse)));
}

function groupBy({ budget }: Run, value: Value, call: Arguments): Value {
  const [path, fallback, caseSensitive] = takeArguments(
    "groupby",
    call,
    ["attribute", "default", "case_sensitive"],
    1,
  );
  const get = getter(budget, path, fallback);
  const key = withoutCase(budget, flag(caseSensitive), get);
  const items = listOf(budget, value);
  const sorted = sortBy(budget, items, items.map(key), false);
  const groups: { key: Value; items: Value[] }[] = [];
  for (const item of sorted) {
    const own = key(item);
    const last = groups.at(-1);
    if (last && isSameOrEqual(budget, last.key, own)) last.items.push(item);
    else groups.push({ key: own, items: [item] });
  }
  return new Items(groups.map((group) => {
    const shown = flag(caseSensitive) ? group.key : get(group.items[0]);
    return new Items([shown, new Items(group.items)], "tuple", ["grouper", "list"]);
  }));
}

function unique({ budget }: Run, value: Value, call: Arguments): Value {
  const [caseSensitive, path] = takeArguments("unique", call, ["case_sensitive", "attribute"]);
  const get = withoutCase(budget, flag(caseSensitive), getter(budget, path));
  const unique = function* (): Iterator<Value> {
    const seen = new Set<string>();
    for (const item of each(value)) {
      const key = keyOf(budget, get(item));
      if (seen.has(key)) continue;
      budget.items(1);
      seen.add(key);
      yield item;
    }
  };
  return generator(budget, "generator", unique());
}

function extreme(operator: "<" | ">"): Filter {
  return ({ budget }, value, call) => {
    const [caseSensitive, path] = takeArguments(
      operator === "<" ? "min" : "max",
      call,
      ["case_sensitive", "attribute"],
    );
    const get = withoutCase(budget, flag(caseSensitive), getter(budget, path));
    let best: Value | undefined;
    let bestKey: Value = null;
    for (const item of each(value)) {
      budget.step();
      const key = get(item);
      if (best !== undefined && !isOrdered(budget, operator, key, bestKey)) continue;
      best = item;
      bestKey = key;
    }
    return best === undefined ? new Undefined("No aggregated item, sequence was empty.") : best;
  };
}

function batch({ budget }: Run, value: Value, call: Arguments): Value {
  const [sizeValue, fill] = takeArguments("batch", call, ["linecount", "fill_with"], 1);
  const size = indexOf(sizeValue!);
  const batch = function* (): Iterator<Value> {
    let row: Value[] = [];
    for (const item of each(value)) {
      if (row.length === size) {
        yield new Items(row);
        row = [];
      }
      budget.items(1);
      row.push(item);
    }
    if (row.length === 0) return;
    if (fill !== undefined && fill !== null && row.length < size) {
      budget.items(size - row.length);
      while (row.length < size) row.push(fill);
    }
    yield new Items(row);
  };
  return generator(budget, "generator", batch());
}

function slice({ budget }: Run, value: Value, call: Arguments): Value {
  const [countValue, fill] = takeArguments("slice", call, ["slices", "fill_with"], 1);
  const slice = function* (): Iterator<Value> {
    const items = listOf(budget, value);
    const count = indexOf(countValue!);
    if (count === 0) throw new TemplateError("division by zero");
    const size = Math.floor(items.length / count);
    const larger = items.length - size * count;
    for (let i = 0, start = 0; i < count; i++) {
      const end = start + size + (i < larger ? 1 : 0);
      const row = items.slice(start, end);
      if (fill !== undefined && fill !== null && i >= larger) row.push(fill);
      budget.items(row.length + 1);
      yield new Items(row);
      start = end;
    }
  };
  return generator(budget, "generator", slice());
}

function fallback(_run: Run, value: Value, call: Arguments): Value {
  const [other, boolean] = takeArguments("default", call, ["default_value", "boolean"]);
  const isMissing = value instanceof Undefined || (flag(boolean) && !isTrue(value));
  if (!isMissing) return value;
  return other === undefined ? EMPTY : other;
}

/** The filters by name. */
export const LIST_FILTERS: ReadonlyMap<string, Filter> = new Map<string, Filter>([
  ["attr", ({ budget }, value, call) => {
    const [name] = takeArguments("attr", call, ["name"], 1);
    const text = textOf(name!, "the name of an attribute");
    if (value instanceof Undefined) value.fail();
    return ownField(budget, value, text.value) === undefined
      ? new Undefined(`there is no attribute '${text.value}'`)
      : attribute(budget, value, text);
  }],
  ["batch", batch],
  ["d", fallback],
  ["default", fallback],
  ["dictsort", dictSort],
  ["first", (_run, value) => {
    const next = iterate(value).next();
    return next.done ? new Undefined("No first item, sequence was empty.") : next.value;
  }],
  ["groupby", groupBy],
  ["items", ({ budget }, value, call) => {
    takeArguments("items", call, []);
    const items = function* (): Iterator<Value> {
      if (value instanceof Undefined) return;
      if (!(value instanceof Dict)) {
        throw new TemplateError("Can only get item pairs from a mapping.");
      }
      for (const pair of value.entries.values()) yield new Items(pair, "tuple");
    };
    return generator(budget, "generator", items());
  }],
  ["last", ({ budget }, value) => {
    if (value instanceof Items && value.items.length > 0) return value.items.at(-1)!;
    const next = reversed(budget, value).iterate!().next();
    return next.done ? new Undefined("No last item, sequence was empty.") : next.value;
  }],
  ["list", ({ budget }, value) => new Items(listOf(budget, value))],
  ["map", map],
  ["max", extreme(">")],
  ["min", extreme("<")],
  ["reject", select(false, false)],
  ["rejectattr", select(false, true)],
  ["reverse", ({ budget }, value) => {
    if (value instanceof Text) {
      budget.items(value.length);
      return joinTexts([...each(value)].reverse() as Text[], value.safe);
    }
    if (isThing(value) && value.item === undefined && !value.type.startsWith("dict_")) {
      return new Items(listOf(budget, value).reverse());
    }
    return reversed(budget, value);
  }],
  ["select", select(true, false)],
  ["selectattr", select(true, true)],
  ["slice", slice],
  ["sort", sort],
  ["unique", unique],
]);
