/**
 * Python's arithmetic, on numbers, texts and lists.
 *
 * @module
 */

import { type Budget, MAX_BITS, TemplateError } from "./budget.ts";
import { quote } from "../../../escape.ts";
import { percentFormat } from "./format.ts";
import { escapeHtml } from "./html.ts";
import { checkSize, floorDivide, floorModulo, toFloat } from "./numbers.ts";
import { append, repeat } from "./python_text.ts";
import { Text } from "./text.ts";
import { Items, typeName, Undefined, type Value } from "./values.ts";
import { indexOf } from "./arguments.ts";

/** `left operator right`. */
export function binary(budget: Budget, operator: string, left: Value, right: Value): Value {
  if (left instanceof Undefined && !(operator === "%" && left instanceof Text)) left.fail();
  if (operator === "%" && left instanceof Text) return percentFormat(budget, left, right);
  if (right instanceof Undefined) right.fail();
  const [a, b] = [numberOf(left), numberOf(right)];
  if (a !== undefined && b !== undefined) return made(budget, arithmetic(operator, a, b));
  if (operator === "+") return plus(budget, left, right);
  if (operator === "*") {
    if (b !== undefined && (left instanceof Text || left instanceof Items)) {
      return times(budget, left, right);
    }
    if (a !== undefined && (right instanceof Text || right instanceof Items)) {
      return times(budget, right, left);
    }
  }
  throw unsupported(operator, left, right);
}

/** `-value` and `+value`. */
export function unary(budget: Budget, operator: "+" | "-", value: Value): Value {
  if (value instanceof Undefined) value.fail();
  const number = numberOf(value);
  if (number === undefined) {
    throw new TemplateError(`bad operand type for unary ${operator}: '${typeName(value)}'`);
  }
  return operator === "-" ? made(budget, -number) : number;
}

/** `abs(value)`. */
export function absolute(budget: Budget, value: Value): Value {
  if (value instanceof Undefined) value.fail();
  const number = numberOf(value);
  if (number === undefined) {
    throw new TemplateError(`bad operand type for abs(): '${typeName(value)}'`);
  }
  if (typeof number === "number") return Math.abs(number);
  return number < 0n ? made(budget, -number) : number;
}

/** A number just made: long ones take memory as texts do. */
export function made<T extends Value>(budget: Budget, number: T): T {
  if (typeof number === "bigint") budget.whole(number);
  return number;
}

/** A number; truth counts as 1 or 0. */
export function numberOf(value: Value): bigint | number | undefined {
  if (typeof value === "bigint" || typeof value === "number") return value;
  return typeof value === "boolean" ? BigInt(value) : undefined;
}

function unsupported(operator: string, left: Value, right: Value): TemplateError {
  return new TemplateError(
    `unsupported operand type(s) for ${operator}: '${typeName(left)}' and '${typeName(right)}'`,
  );
}

function plus(budget: Budget, left: Value, right: Value): Value {
  if (left instanceof Text) {
    if (!(right instanceof Text)) {
      throw new TemplateError(`can only concatenate str (not ${quote(typeName(right))}) to str`);
    }
    if (!left.safe && !right.safe) return append(budget, [left, right]);
    return append(budget, [escapeHtml(budget, left), escapeHtml(budget, right)], true);
  }
  if (left instanceof Items) {
    if (!(right instanceof Items) || right.type !== left.type) {
      throw new TemplateError(
        `can only concatenate ${left.type} (not ${quote(typeName(right))}) to ${left.type}`,
      );
    }
    budget.items(left.items.length + right.items.length);
    return new Items([...left.items, ...right.items], left.type);
  }
  throw unsupported("+", left, right);
}

function times(budget: Budget, value: Text | Items, factor: Value): Value {
  if (typeof factor === "number") {
    throw new TemplateError("can't multiply sequence by non-int of type 'float'");
  }
  const count = Math.max(0, indexOf(factor));
  if (value instanceof Text) return repeat(budget, value, count);
  budget.items(value.items.length * count);
  const items: Value[] = [];
  for (let i = 0; i < count; i++) for (const item of value.items) items.push(item);
  return new Items(items, value.type);
}

function arithmetic(operator: string, a: bigint | number, b: bigint | number): Value {
  if (typeof a === "bigint" && typeof b === "bigint") return whole(operator, a, b);
  return float(
    operator,
    typeof a === "bigint" ? toFloat(a) : a,
    typeof b === "bigint" ? toFloat(b) : b,
  );
}

function whole(operator: string, a: bigint, b: bigint): Value {
  if (b === 0n && (operator === "//" || operator === "%" || operator === "/")) {
    throw new TemplateError("division by zero");
  }
  switch (operator) {
    case "+":
      return checkSize(a + b);
    case "-":
      return checkSize(a - b);
    case "*":
      return checkSize(a * b);
    case "//":
      return floorDivide(a, b);
    case "%":
      return floorModulo(a, b);
    case "/":
      return toFloat(a) / toFloat(b);
    case "**":
      if (b < 0n) return float("**", toFloat(a), toFloat(b));
      if (a >= -1n && a <= 1n) return a ** (b % 2n === 0n && b > 0n ? 2n : b > 0n ? 1n : 0n);
      if (Number(b) * Math.log2(Math.abs(Number(a))) > MAX_BITS + 1) {
        checkSize(1n << BigInt(MAX_BITS));
      }
      return checkSize(a ** b);
  }
  throw new TemplateError(`unknown operator ${operator}`);
}

function float(operator: string, a: number, b: number): number {
  if (b === 0 && (operator === "//" || operator === "%" || operator === "/")) {
    throw new TemplateError(`float ${operator === "/" ? "division" : "floor division"} by zero`);
  }
  switch (operator) {
    case "+":
      return a + b;
    case "-":
      return a - b;
    case "*":
      return a * b;
    case "/":
      return a / b;
    case "%":
      return modulo(a, b);
    case "//":
      return Math.floor((a - modulo(a, b)) / b + 0.5);
    case "**":
      return power(a, b);
  }
  throw new TemplateError(`unknown operator ${operator}`);
}

function modulo(a: number, b: number): number {
  const rest = a % b;
  if (rest === 0) return b < 0 ? -0 : 0;
  return (rest < 0) !== (b < 0) ? rest + b : rest;
}

function power(a: number, b: number): number {
  if (a === 0 && b < 0) throw new TemplateError("0.0 cannot be raised to a negative power");
  if (a === 1) return 1;
  const result = a ** b;
  if (Number.isNaN(result) && !Number.isNaN(a) && !Number.isNaN(b)) {
    throw new TemplateError(
      "a negative number to a fraction is a complex number, which is refused",
    );
  }
  if (!Number.isFinite(result) && Number.isFinite(a) && Number.isFinite(b)) {
    throw new TemplateError("numerical result out of range");
  }
  return result;
}
