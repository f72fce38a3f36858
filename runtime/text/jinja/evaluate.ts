/**
 * Expressions to values.
 *
 * @module
 */

import type { CallArguments, Expression, FilterExpression } from "./ast.ts";
import { attribute, item } from "./attributes.ts";
import { TemplateError } from "./budget.ts";
import { contains, isEqual, isOrdered } from "./compare.ts";
import { binary, unary } from "./operators.ts";
import { textFrom } from "./printing.ts";
import { append } from "./python_text.ts";
import type { Run } from "./run.ts";
import { own, Text } from "./text.ts";
import {
  type Arguments,
  Dict,
  dictOf,
  isThing,
  isTrue,
  Items,
  listOf,
  Slice,
  typeName,
  Undefined,
  type Value,
} from "./values.ts";

/** Variables of a block, and of the blocks around it. */
export class Scope {
  readonly #values = new Map<string, Value>();
  readonly #parent: Scope | undefined;

  /** A scope within another. */
  constructor(parent?: Scope) {
    this.#parent = parent;
  }

  /** The value of a name. */
  get(name: string): Value | undefined {
    const value = this.#values.get(name);
    return value === undefined && this.#parent ? this.#parent.get(name) : value;
  }

  /** Sets a name in this scope. */
  set(name: string, value: Value): void {
    this.#values.set(name, value);
  }
}

/** The value of an expression. */
export function evaluate(run: Run, node: Expression, scope: Scope): Value {
  switch (node.kind) {
    case "constant":
      return node.value;
    case "name": {
      run.budget.step();
      const value = scope.get(node.name);
      return value === undefined ? new Undefined(`'${node.name}' is undefined`) : value;
    }
  }
  run.budget.enter();
  const value = evaluateNested(run, node, scope);
  run.budget.leave();
  return value;
}

type Nested = Exclude<Expression, { kind: "constant" | "name" }>;

function evaluateNested(run: Run, node: Nested, scope: Scope): Value {
  switch (node.kind) {
    case "attribute":
      return attribute(run.budget, evaluate(run, node.object, scope), own(node.name));
    case "item":
      return item(run.budget, evaluate(run, node.object, scope), evaluate(run, node.key, scope));
    case "call": {
      const callee = evaluate(run, node.callee, scope);
      return call(callee, evaluateArguments(run, node.call, scope));
    }
    case "filter":
      return applyFilter(run, node, evaluate(run, node.value!, scope), scope);
    case "test": {
      const value = evaluate(run, node.value, scope);
      return run.test(node.name, value, evaluateArguments(run, node.call, scope));
    }
    case "unary": {
      const value = evaluate(run, node.value, scope);
      return node.operator === "not" ? !isTrue(value) : unary(run.budget, node.operator, value);
    }
    case "binary":
      return evaluateBinary(run, node, scope);
    case "compare":
      return compare(run, node.first, node.rest, scope);
    case "and":
    case "or": {
      let value: Value = null;
      for (const part of node.parts) {
        value = evaluate(run, part, scope);
        if (isTrue(value) === (node.kind === "or")) break;
      }
      return value;
    }
    case "concat":
      return append(
        run.budget,
        node.parts.map((part) => textFrom(run.budget, evaluate(run, part, scope))),
      );
    case "if":
      if (isTrue(evaluate(run, node.test, scope))) return evaluate(run, node.then, scope);
      return node.otherwise
        ? evaluate(run, node.otherwise, scope)
        : new Undefined("the inline if-expression evaluated to false and has no else");
    case "list":
    case "tuple":
      run.budget.items(node.items.length);
      return new Items(node.items.map((part) => evaluate(run, part, scope)), node.kind);
    case "dict":
      return dictOf(
        run.budget,
        node.entries.map(([key, value]) =>
          [evaluate(run, key, scope), evaluate(run, value, scope)] as const
        ),
      );
    case "slice": {
      const part = (at: number): Value => {
        const bound = node.parts[at];
        return bound ? evaluate(run, bound, scope) : null;
      };
      return new Slice([part(0), part(1), part(2)]);
    }
  }
}

/** Chains of operators lean to the left, and may be long: a loop, not a recursion. */
function evaluateBinary(
  run: Run,
  node: Extract<Expression, { kind: "binary" }>,
  scope: Scope,
): Value {
  const chain: Extract<Expression, { kind: "binary" }>[] = [];
  let first: Expression = node;
  while (first.kind === "binary") {
    chain.push(first);
    first = first.left;
  }
  let value = evaluate(run, first, scope);
  for (const { operator, right } of chain.reverse()) {
    value = binary(run.budget, operator, value, evaluate(run, right, scope));
  }
  return value;
}

function compare(
  run: Run,
  first: Expression,
  rest: readonly (readonly [string, Expression])[],
  scope: Scope,
): boolean {
  const { budget } = run;
  let left = evaluate(run, first, scope);
  for (const [operator, node] of rest) {
    const right = evaluate(run, node, scope);
    let holds: boolean;
    if (operator === "==") holds = isEqual(budget, left, right);
    else if (operator === "!=") holds = !isEqual(budget, left, right);
    else if (operator === "in") holds = contains(budget, right, left);
    else if (operator === "not in") holds = !contains(budget, right, left);
    else holds = isOrdered(budget, operator, left, right);
    if (!holds) return false;
    left = right;
  }
  return true;
}

/** Calls a value. */
export function call(callee: Value, given: Arguments): Value {
  if (callee instanceof Undefined) callee.fail();
  if (isThing(callee) && callee.call) return callee.call(given);
  throw new TemplateError(`'${typeName(callee)}' object is not callable`);
}

/** The value of a filter's own arguments, applied to a value. */
export function applyFilter(run: Run, node: FilterExpression, value: Value, scope: Scope): Value {
  return run.filter(node.name, value, evaluateArguments(run, node.call, scope));
}

/** The values of arguments. */
export function evaluateArguments(run: Run, node: CallArguments, scope: Scope): Arguments {
  const args = node.args.map((part) => evaluate(run, part, scope));
  const named = new Map<string, Value>();
  for (const [name, part] of node.named) named.set(name, evaluate(run, part, scope));
  if (node.rest) {
    for (const value of listOf(run.budget, evaluate(run, node.rest, scope))) args.push(value);
  }
  if (node.namedRest) {
    const rest = evaluate(run, node.namedRest, scope);
    if (!(rest instanceof Dict)) {
      throw new TemplateError(`argument after ** must be a mapping, not ${typeName(rest)}`);
    }
    run.budget.items(rest.entries.size);
    for (const [key, value] of rest.entries.values()) {
      if (!(key instanceof Text)) throw new TemplateError("keywords must be strings");
      if (named.has(key.value)) {
        throw new TemplateError(`got multiple values for keyword argument '${key.value}'`);
      }
      named.set(key.value, value);
    }
  }
  return { args, named };
}
