/**
 * The parser of Jinja's expressions, with the precedences of jinja2: filters and tests bind closest,
 * `**` next, then `* / // %`, then `~`, then `+ -`.
 *
 * @module
 */

import type { CallArguments, Expression, FilterExpression } from "./ast.ts";
import { quote } from "../../../escape.ts";
import type { Reader } from "./reader.ts";
import { own } from "./text.ts";

const COMPARISONS = new Set(["==", "!=", "<", "<=", ">", ">="]);
const CONSTANTS: ReadonlyMap<string, boolean | null> = new Map([
  ["true", true],
  ["True", true],
  ["false", false],
  ["False", false],
  ["none", null],
  ["None", null],
]);
const NO_ARGUMENTS: CallArguments = { args: [], named: [], rest: undefined, namedRest: undefined };

/** Which filters and tests there are. */
export interface Known {
  /** Names of filters. */
  readonly filters: ReadonlySet<string>;
  /** Names of tests. */
  readonly tests: ReadonlySet<string>;
}

/** Reads expressions. */
export class ExpressionParser {
  readonly #in: Reader;
  readonly #known: Known;
  /** Whether an unknown filter fails only when it is reached, as inside of conditions. */
  lenient = false;
  /** Unknown filters and tests that count unless a condition stands behind them. */
  readonly unknown: { readonly message: string; readonly line: number }[] = [];
  /** Names read in each macro that is open, innermost last. */
  readonly reads: Set<string>[] = [new Set()];

  /** A parser of what a reader has next. */
  constructor(reader: Reader, known: Known) {
    this.#in = reader;
    this.#known = known;
  }

  /** An expression; `x if y else z` only `withCondition`. */
  expression(withCondition = true): Expression {
    return this.#in.nested(() => withCondition ? this.#condition() : this.#or());
  }

  #condition(): Expression {
    const known = this.unknown.length;
    let value = this.#or();
    while (this.#in.is("name", "if")) {
      this.unknown.length = known;
      const before = this.lenient;
      this.#in.next();
      this.lenient = true;
      const test = this.#or();
      const otherwise = this.#in.skip("name", "else")
        ? this.#in.nested(() => this.#condition())
        : undefined;
      this.lenient = before;
      value = { kind: "if", test, then: value, otherwise };
    }
    return value;
  }

  #or(): Expression {
    const parts = [this.#and()];
    while (this.#in.skip("name", "or")) parts.push(this.#and());
    return parts.length === 1 ? parts[0] : { kind: "or", parts };
  }

  #and(): Expression {
    const parts = [this.#not()];
    while (this.#in.skip("name", "and")) parts.push(this.#not());
    return parts.length === 1 ? parts[0] : { kind: "and", parts };
  }

  #not(): Expression {
    if (!this.#in.skip("name", "not")) return this.#compare();
    return { kind: "unary", operator: "not", value: this.#in.nested(() => this.#not()) };
  }

  #compare(): Expression {
    const first = this.#sum();
    const rest: [string, Expression][] = [];
    for (;;) {
      if (COMPARISONS.has(this.#in.current.type)) rest.push([this.#in.next().type, this.#sum()]);
      else if (this.#in.skip("name", "in")) rest.push(["in", this.#sum()]);
      else if (this.#in.is("name", "not") && this.#in.peekIs("name", "in")) {
        this.#in.next();
        this.#in.next();
        rest.push(["not in", this.#sum()]);
      } else break;
    }
    return rest.length === 0 ? first : { kind: "compare", first, rest };
  }

  #sum(): Expression {
    return this.#binary(["+", "-"], () => this.#concat());
  }

  #concat(): Expression {
    const parts = [this.#product()];
    while (this.#in.skip("~")) parts.push(this.#product());
    return parts.length === 1 ? parts[0] : { kind: "concat", parts };
  }

  #product(): Expression {
    return this.#binary(["*", "/", "//", "%"], () => this.#binary(["**"], () => this.#unary()));
  }

  #binary(operators: readonly string[], operand: () => Expression): Expression {
    let left = operand();
    while (operators.includes(this.#in.current.type)) {
      const operator = this.#in.next().type;
      left = { kind: "binary", operator, left, right: operand() };
    }
    return left;
  }

  #unary(withFilter = true): Expression {
    let value: Expression;
    if (this.#in.is("-") || this.#in.is("+")) {
      const operator = this.#in.next().type as "+" | "-";
      value = { kind: "unary", operator, value: this.#in.nested(() => this.#unary(false)) };
    } else value = this.primary();
    value = this.#postfix(value);
    return withFilter ? this.#filtersAndTests(value) : value;
  }

  /** A literal, a name, or something in brackets. */
  primary(): Expression {
    const token = this.#in.current;
    switch (token.type) {
      case "name": {
        this.#in.next();
        const name = String(token.value);
        const constant = CONSTANTS.get(name);
        if (constant !== undefined) return { kind: "constant", value: constant };
        this.reads.at(-1)!.add(name);
        return { kind: "name", name };
      }
      case "string": {
        let text = "";
        while (this.#in.is("string")) text += this.#in.next().value;
        return { kind: "constant", value: own(text) };
      }
      case "integer":
      case "float":
        return { kind: "constant", value: this.#in.next().value as bigint | number };
      case "(": {
        this.#in.next();
        const tuple = this.tuple({ mayBeEmpty: true });
        this.#in.expect(")");
        return tuple;
      }
      case "[":
        return { kind: "list", items: this.#between("[", "]", () => this.expression()) };
      case "{":
        return {
          kind: "dict",
          entries: this.#between("{", "}", () => {
            const key = this.expression();
            this.#in.expect(":");
            return [key, this.expression()] as const;
          }),
        };
    }
    return this.#in.fail(`unexpected ${this.#in.shown()}`);
  }

  /** Things with commas between them, perhaps one at the end, in brackets. */
  #between<T>(open: string, close: string, parse: () => T): T[] {
    const items: T[] = [];
    this.#in.expect(open);
    while (!this.#in.is(close)) {
      if (items.length > 0) this.#in.expect(",");
      if (this.#in.is(close)) break;
      items.push(parse());
    }
    this.#in.expect(close);
    return items;
  }

  /** One expression, or several with commas between them as a tuple. */
  tuple(
    { withCondition = true, mayBeEmpty = false, end = "" }: {
      readonly withCondition?: boolean;
      readonly mayBeEmpty?: boolean;
      readonly end?: string;
    } = {},
  ): Expression {
    const items: Expression[] = [];
    let isTuple = false;
    for (;;) {
      if (items.length > 0) this.#in.expect(",");
      if (
        ["}}", "%}", ")"].includes(this.#in.current.type) ||
        (end !== "" && this.#in.is("name", end))
      ) {
        break;
      }
      items.push(this.expression(withCondition));
      if (!this.#in.is(",")) break;
      isTuple = true;
    }
    if (!isTuple && items.length > 0) return items[0];
    if (!isTuple && !mayBeEmpty) this.#in.fail(`found ${this.#in.shown()}, expected an expression`);
    return { kind: "tuple", items };
  }

  #postfix(value: Expression): Expression {
    for (;;) {
      if (this.#in.is(".")) {
        this.#in.next();
        const { type, value: name } = this.#in.next();
        if (type === "name") value = { kind: "attribute", object: value, name: String(name) };
        else if (type === "integer") {
          value = { kind: "item", object: value, key: { kind: "constant", value: name as bigint } };
        } else this.#in.fail("expected a name or a number after the dot");
      } else if (this.#in.is("[")) value = this.#subscript(value);
      else if (this.#in.is("(")) {
        value = { kind: "call", callee: value, call: this.callArguments() };
      } else return value;
    }
  }

  #subscript(object: Expression): Expression {
    this.#in.next();
    const keys: Expression[] = [];
    while (!this.#in.is("]")) {
      if (keys.length > 0) this.#in.expect(",");
      keys.push(this.#subscribed());
    }
    this.#in.expect("]");
    return {
      kind: "item",
      object,
      key: keys.length === 1 ? keys[0] : { kind: "tuple", items: keys },
    };
  }

  #subscribed(): Expression {
    const parts: (Expression | undefined)[] = [];
    if (!this.#in.is(":")) {
      const key = this.expression();
      if (!this.#in.is(":")) return key;
      parts.push(key);
    } else parts.push(undefined);
    while (parts.length < 3 && this.#in.skip(":")) {
      parts.push(
        this.#in.is(":") || this.#in.is("]") || this.#in.is(",") ? undefined : this.expression(),
      );
    }
    return { kind: "slice", parts };
  }

  /** Arguments in parentheses. */
  callArguments(): CallArguments {
    const args: Expression[] = [];
    const named: [string, Expression][] = [];
    let rest: Expression | undefined;
    let namedRest: Expression | undefined;
    const ensure = (right: boolean): void => {
      if (!right) this.#in.fail("these arguments are in a wrong order");
    };
    this.#in.expect("(");
    for (let isFirst = true; !this.#in.is(")"); isFirst = false) {
      if (!isFirst) {
        this.#in.expect(",");
        if (this.#in.is(")")) break;
      }
      if (this.#in.skip("*")) {
        ensure(!rest && !namedRest);
        rest = this.expression();
      } else if (this.#in.skip("**")) {
        ensure(!namedRest);
        namedRest = this.expression();
      } else if (this.#in.is("name") && this.#in.peekIs("=")) {
        ensure(!namedRest);
        const name = this.#in.name();
        if (named.some(([other]) => other === name)) {
          this.#in.fail(`the argument ${name} stands twice`);
        }
        this.#in.next();
        named.push([name, this.expression()]);
      } else {
        ensure(!rest && !namedRest && named.length === 0);
        args.push(this.expression());
      }
    }
    this.#in.expect(")");
    return { args, named, rest, namedRest };
  }

  #filtersAndTests(value: Expression): Expression {
    for (;;) {
      if (this.#in.is("|")) value = this.filters(value)!;
      else if (this.#in.is("name", "is")) value = this.#test(value);
      else if (this.#in.is("(")) {
        value = { kind: "call", callee: value, call: this.callArguments() };
      } else return value;
    }
  }

  #dottedName(): string {
    let name = this.#in.name();
    while (this.#in.skip(".")) name += `.${this.#in.name()}`;
    return name;
  }

  /** `| name(…)` as often as it stands there; `inline` when the first has no bar. */
  filters(value: Expression | undefined, inline = false): FilterExpression | undefined {
    let result = value;
    while (inline || this.#in.skip("|")) {
      inline = false;
      const { line } = this.#in.current;
      const name = this.#dottedName();
      const call = this.#in.is("(") ? this.callArguments() : NO_ARGUMENTS;
      if (!this.#known.filters.has(name) && !this.lenient) {
        this.unknown.push({ message: `there is no filter named ${quote(name)}`, line });
      }
      result = { kind: "filter", value: result, name, call };
    }
    return result as FilterExpression | undefined;
  }

  #test(value: Expression): Expression {
    this.#in.next();
    const isNegated = this.#in.skip("name", "not");
    const { line } = this.#in.current;
    const name = this.#dottedName();
    if (!this.#known.tests.has(name) && !this.lenient) {
      this.unknown.push({ message: `there is no test named ${quote(name)}`, line });
    }
    let call = NO_ARGUMENTS;
    const endsHere = this.#in.is("name") &&
      ["else", "or", "and"].includes(String(this.#in.current.value));
    if (this.#in.is("(")) call = this.callArguments();
    else if (
      ["name", "string", "integer", "float", "[", "{"].includes(this.#in.current.type) && !endsHere
    ) {
      if (this.#in.is("name", "is")) this.#in.fail('tests with "is" cannot be chained');
      call = { ...NO_ARGUMENTS, args: [this.#postfix(this.primary())] };
    }
    const test: Expression = { kind: "test", value, name, call };
    return isNegated ? { kind: "unary", operator: "not", value: test } : test;
  }
}
