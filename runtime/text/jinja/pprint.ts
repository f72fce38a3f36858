/**
 * Python's `pprint.pformat`: as `repr`, but with sorted keys, and lines of at most 80 characters.
 *
 * @module
 */

import type { Budget } from "./budget.ts";
import { isOrdered } from "./compare.ts";
import { reprOf } from "./printing.ts";
import { join, repeat } from "./python_text.ts";
import { own, type Text } from "./text.ts";
import { Dict, Items, typeName, type Value } from "./values.ts";

const WIDTH = 80;

/** A value, prettily. */
export function pprint(budget: Budget, value: Value): Text {
  const parts: Text[] = [];
  write(budget, sorted(budget, value), 0, 0, parts);
  return join(budget, parts);
}

/** The value with the keys of all dictionaries in order. */
function sorted(budget: Budget, value: Value): Value {
  budget.enter();
  let result = value;
  if (value instanceof Items) {
    budget.items(value.items.length);
    result = new Items(value.items.map((item) => sorted(budget, item)), value.type);
  } else if (value instanceof Dict) {
    budget.items(value.entries.size);
    const entries = Array.from(value.entries);
    entries.sort(([, [a]], [, [b]]) => before(budget, a, b) ? -1 : before(budget, b, a) ? 1 : 0);
    result = new Dict(
      new Map(entries.map(([id, [key, item]]) => [id, [key, sorted(budget, item)] as const])),
    );
  }
  budget.leave();
  return result;
}

function before(budget: Budget, a: Value, b: Value): boolean {
  const types = [typeName(a), typeName(b)];
  const isComparable = types[0] === types[1] && types[0] !== "NoneType";
  return isComparable ? isOrdered(budget, "<", a, b) : types[0] < types[1];
}

function write(budget: Budget, value: Value, indent: number, after: number, parts: Text[]): void {
  budget.enter();
  const whole = reprOf(budget, value);
  const fits = whole.length <= WIDTH - indent - after;
  const newLine = (): void => {
    parts.push(own(",\n"), repeat(budget, own(" "), indent + 1));
  };
  if (!fits && value instanceof Dict && value.entries.size > 0) {
    parts.push(own("{"));
    const entries = [...value.entries.values()];
    entries.forEach(([key, item], i) => {
      if (i > 0) newLine();
      const name = reprOf(budget, key);
      parts.push(name, own(": "));
      const isLast = i === entries.length - 1;
      write(budget, item, indent + name.length + 3, isLast ? after + 1 : 1, parts);
    });
    parts.push(own("}"));
  } else if (!fits && value instanceof Items && value.items.length > 0) {
    const isTuple = value.type === "tuple";
    const close = isTuple ? (value.items.length === 1 ? ",)" : ")") : "]";
    parts.push(own(isTuple ? "(" : "["));
    value.items.forEach((item, i) => {
      if (i > 0) newLine();
      const isLast = i === value.items.length - 1;
      write(budget, item, indent + 1, isLast ? after + close.length : 1, parts);
    });
    parts.push(own(close));
  } else parts.push(whole);
  budget.leave();
}
