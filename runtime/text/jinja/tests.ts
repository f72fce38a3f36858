/**
 * The tests of jinja2, what stands after `is`.
 *
 * @module
 */

import { contains, isEqual, isOrdered } from "./compare.ts";
import { binary } from "./operators.ts";
import { textFrom } from "./printing.ts";
import { TEXT_TESTS } from "./python_text.ts";
import type { Run, Test } from "./run.ts";
import { Text } from "./text.ts";
import { Bytes, Dict, isIterable, isThing, Items, keyOf, Undefined } from "./values.ts";
import { takeArguments } from "./arguments.ts";
import type { Arguments, Value } from "./values.ts";

function other(call: Arguments): Value {
  return takeArguments("test", call, ["other"], 1)[0]!;
}

function ordered(operator: string): Test {
  return ({ budget }, value, call) => isOrdered(budget, operator, value, other(call));
}

function remainder(run: Run, value: Value, divisor: Value, wanted: bigint): boolean {
  return isEqual(run.budget, binary(run.budget, "%", value, divisor), wanted);
}

function equal(run: Run, value: Value, call: Arguments): boolean {
  return isEqual(run.budget, value, other(call));
}

function unequal(run: Run, value: Value, call: Arguments): boolean {
  return !equal(run, value, call);
}

/** A test without arguments. */
function plain(name: string, holds: (value: Value, run: Run) => boolean): [string, Test] {
  return [name, (run, value, call) => {
    takeArguments(name, call, []);
    return holds(value, run);
  }];
}

/** The tests by name, except `filter` and `test`, which need the tables themselves. */
export const TESTS: ReadonlyMap<string, Test> = new Map<string, Test>([
  plain("odd", (value, run) => remainder(run, value, 2n, 1n)),
  plain("even", (value, run) => remainder(run, value, 2n, 0n)),
  ["divisibleby", (run, value, call) => remainder(run, value, other(call), 0n)],
  plain("defined", (value) => !(value instanceof Undefined)),
  plain("undefined", (value) => value instanceof Undefined),
  plain("none", (value) => value === null),
  plain("boolean", (value) => typeof value === "boolean"),
  plain("true", (value) => value === true),
  plain("false", (value) => value === false),
  plain("integer", (value) => typeof value === "bigint"),
  plain("float", (value) => typeof value === "number"),
  plain("number", (value) => ["bigint", "number", "boolean"].includes(typeof value)),
  plain("string", (value) => value instanceof Text),
  plain("mapping", (value) => value instanceof Dict),
  plain(
    "sequence",
    (value) =>
      value instanceof Text || value instanceof Items || value instanceof Dict ||
      value instanceof Undefined || value instanceof Bytes ||
      (isThing(value) && value.item !== undefined),
  ),
  plain("iterable", isIterable),
  plain(
    "callable",
    (value) => value instanceof Undefined || (isThing(value) && value.call !== undefined),
  ),
  plain("escaped", (value) => value instanceof Text && value.safe),
  plain("lower", (value, run) => TEXT_TESTS.islower(textFrom(run.budget, value).value)),
  plain("upper", (value, run) => TEXT_TESTS.isupper(textFrom(run.budget, value).value)),
  ["sameas", (run, value, call) => {
    const same = other(call);
    return value instanceof Text ? isEqual(run.budget, value, same) : value === same;
  }],
  ["in", ({ budget }, value, call) => contains(budget, other(call), value)],
  ["==", equal],
  ["eq", equal],
  ["equalto", equal],
  ["!=", unequal],
  ["ne", unequal],
  ...[
    [">", "gt", "greaterthan"],
    [">=", "ge"],
    ["<", "lt", "lessthan"],
    ["<=", "le"],
  ].flatMap((names) => names.map((name): [string, Test] => [name, ordered(names[0])])),
]);

/** The test of whether a name is that of a filter or a test. */
export function isNameIn(names: ReadonlySet<string>): Test {
  return ({ budget }, value) => {
    keyOf(budget, value); // fails for what cannot be a name
    return value instanceof Text && names.has(value.value);
  };
}
