/**
 * Python's equality, order and membership.
 *
 * @module
 */

import { type Budget, TemplateError } from "./budget.ts";
import { finder } from "../search.ts";
import { Text } from "./text.ts";
import {
  Bytes,
  Dict,
  isIterable,
  isThing,
  Items,
  iterate,
  keyOf,
  typeName,
  Undefined,
} from "./values.ts";
import type { Value } from "./values.ts";

function isNumber(value: Value): value is boolean | bigint | number {
  return typeof value === "boolean" || typeof value === "bigint" || typeof value === "number";
}

/** `a == b`. */
export function isEqual(budget: Budget, a: Value, b: Value): boolean {
  budget.step();
  if (isNumber(a)) {
    // Not `===`: 1n, 1.0 and True are equal.
    return isNumber(b) && (a as number) == (b as number);
  }
  if (a instanceof Text) {
    if (!(b instanceof Text) || a.value.length !== b.value.length) return false;
    budget.read(a.value.length);
    return a.value === b.value;
  }
  if (a instanceof Undefined) return b instanceof Undefined;
  if (a instanceof Bytes) return b instanceof Bytes && `${a.bytes}` === `${b.bytes}`;
  if (a instanceof Items) {
    if (!(b instanceof Items) || a.type !== b.type || a.items.length !== b.items.length) {
      return false;
    }
    if (a === b) return true;
    budget.enter();
    const equal = a.items.every((item, i) => isSameOrEqual(budget, item, b.items[i]));
    budget.leave();
    return equal;
  }
  if (a instanceof Dict) {
    if (!(b instanceof Dict) || a.entries.size !== b.entries.size) return false;
    if (a === b) return true;
    budget.enter();
    let equal = true;
    for (const [key, [, value]] of a.entries) {
      const other = b.entries.get(key);
      equal &&= other !== undefined && isSameOrEqual(budget, value, other[1]);
      if (!equal) break;
    }
    budget.leave();
    return equal;
  }
  if (isThing(a) && isThing(b!) && a.type === "range" && b.type === "range") {
    const [left, right] = [iterate(a), iterate(b)];
    if (a.length !== b.length) return false;
    for (let i = 0; i < Math.min(2, a.length!); i++) {
      if (left.next().value !== right.next().value) return false;
    }
    return true;
  }
  return a === b;
}

/** As inside of lists: the same thing is equal to itself, even NaN. */
export function isSameOrEqual(budget: Budget, a: Value, b: Value): boolean {
  return a === b || isEqual(budget, a, b);
}

/** `a < b` and its relatives, for numbers, texts, lists and tuples. */
export function isOrdered(budget: Budget, operator: string, a: Value, b: Value): boolean {
  if (a instanceof Undefined) a.fail();
  if (b instanceof Undefined) b.fail();
  if (isNumber(a) && isNumber(b)) {
    switch (operator) {
      case "<":
        return a < b;
      case "<=":
        return a <= b;
      case ">":
        return a > b;
      default:
        return a >= b;
    }
  }
  budget.step();
  let order: number | undefined;
  if (a instanceof Text && b instanceof Text) {
    budget.read(Math.min(a.value.length, b.value.length));
    order = compareCodePoints(a.value, b.value);
  } else if (a instanceof Items && b instanceof Items && a.type === b.type) {
    budget.enter();
    const length = Math.min(a.items.length, b.items.length);
    let i = 0;
    while (i < length && isSameOrEqual(budget, a.items[i], b.items[i])) i++;
    if (i < length) {
      const result = isOrdered(budget, operator, a.items[i], b.items[i]);
      budget.leave();
      return result;
    }
    budget.leave();
    order = a.items.length - b.items.length;
  }
  if (order === undefined) {
    throw new TemplateError(
      `'${operator}' not supported between instances of '${typeName(a)}' and '${typeName(b)}'`,
    );
  }
  switch (operator) {
    case "<":
      return order < 0;
    case "<=":
      return order <= 0;
    case ">":
      return order > 0;
    default:
      return order >= 0;
  }
}

/** Which of two texts comes first by code points; UTF-16 units would put astral characters too low. */
function compareCodePoints(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  let i = 0;
  while (i < length && a.charCodeAt(i) === b.charCodeAt(i)) i++;
  if (i === length) return a.length - b.length;
  const [left, right] = [a.charCodeAt(i), b.charCodeAt(i)];
  const isAstral = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdfff;
  if (isAstral(left) !== isAstral(right)) return isAstral(left) ? 1 : -1;
  return left - right;
}

/** Python's stable sort by keys. */
export function sortBy(
  budget: Budget,
  items: readonly Value[],
  keys: readonly Value[],
  reverse: boolean,
): Value[] {
  budget.items(items.length);
  const sign = reverse ? -1 : 1;
  return items.map((_, i) => i).sort((i, j) => {
    if (isOrdered(budget, "<", keys[i], keys[j])) return -sign;
    return isOrdered(budget, "<", keys[j], keys[i]) ? sign : 0;
  }).map((i) => items[i]);
}

/** `item in container`. */
export function contains(budget: Budget, container: Value, item: Value): boolean {
  budget.step();
  if (container instanceof Text) {
    if (!(item instanceof Text)) {
      throw new TemplateError(
        `'in <string>' requires string as left operand, not ${typeName(item)}`,
      );
    }
    budget.read(container.value.length);
    return finder(container.value, item.value, () => budget.step()).after(0) >= 0;
  }
  if (container instanceof Dict) return container.entries.has(keyOf(budget, item));
  if (!isIterable(container)) {
    throw new TemplateError(`argument of type '${typeName(container)}' is not iterable`);
  }
  const items = iterate(container);
  for (let next = items.next(); !next.done; next = items.next()) {
    if (isSameOrEqual(budget, next.value, item)) return true;
  }
  return false;
}
