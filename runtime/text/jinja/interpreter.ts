/**
 * Statements to text: jinja2's scopes, loops and macros.
 *
 * @module
 */

import type { Callable, Statement, Target } from "./ast.ts";
import { quote } from "../../../escape.ts";
import { TemplateError } from "./budget.ts";
import { applyFilter, call, evaluate, evaluateArguments, Scope } from "./evaluate.ts";
import { Namespace } from "./globals.ts";
import { Loop } from "./loop.ts";
import { textFrom } from "./printing.ts";
import { join } from "./python_text.ts";
import type { Run } from "./run.ts";
import { own, type Text } from "./text.ts";
import {
  type Arguments,
  dictOf,
  generator,
  isTrue,
  Items,
  iterate,
  type Thing,
  Undefined,
  type Value,
} from "./values.ts";

/** How a list of statements ended. */
type Ending = "break" | "continue" | undefined;

/** A text in the making. */
class Output {
  readonly #run: Run;
  readonly #parts: Text[] = [];
  #length = 0;

  constructor(run: Run) {
    this.#run = run;
  }

  add(text: Text): void {
    if (text.value === "") return;
    const { budget } = this.#run;
    this.#length += text.value.length;
    budget.items(1);
    budget.fits(this.#length);
    this.#parts.push(text);
  }

  text(): Text {
    return join(this.#run.budget, this.#parts);
  }
}

/** Runs a template, and knows the line where it is. */
export class Interpreter {
  /** The line of the statement that runs. */
  line = 1;
  readonly #run: Run;
  readonly #root: Scope;

  /** An interpreter with the variables of `root`. */
  constructor(run: Run, root: Scope) {
    this.#run = run;
    this.#root = root;
  }

  /** The text of a whole template. */
  render(body: readonly Statement[]): Text {
    return this.#textOf(body, this.#root);
  }

  #textOf(body: readonly Statement[], scope: Scope): Text {
    const output = new Output(this.#run);
    this.#all(body, scope, output);
    return output.text();
  }

  #all(body: readonly Statement[], scope: Scope, output: Output): Ending {
    this.#run.budget.enter();
    let ending: Ending;
    for (const statement of body) {
      ending = this.#one(statement, scope, output);
      if (ending) break;
    }
    this.#run.budget.leave();
    return ending;
  }

  #one(statement: Statement, scope: Scope, output: Output): Ending {
    const run = this.#run;
    run.budget.step();
    this.line = statement.line;
    switch (statement.kind) {
      case "data":
        output.add(statement.text);
        return;
      case "output":
        output.add(textFrom(run.budget, evaluate(run, statement.value, scope)));
        return;
      case "if":
        for (const [test, body] of statement.branches) {
          if (isTrue(evaluate(run, test, scope))) return this.#all(body, scope, output);
        }
        return this.#all(statement.otherwise, scope, output);
      case "for":
        this.#for(statement, scope, output, evaluate(run, statement.iterable, scope), 0);
        return;
      case "set":
        this.#assign(statement.target, evaluate(run, statement.value, scope), scope);
        return;
      case "setBlock": {
        let value: Value = this.#textOf(statement.body, new Scope(scope));
        if (statement.filter) value = this.#filtered(statement.filter, value, scope);
        this.#assign(statement.target, value, scope);
        return;
      }
      case "with": {
        const inner = new Scope(scope);
        for (const [target, value] of statement.values) {
          this.#assign(target, evaluate(run, value, scope), inner);
        }
        return this.#all(statement.body, inner, output);
      }
      case "filterBlock": {
        const text = this.#textOf(statement.body, new Scope(scope));
        output.add(textFrom(run.budget, this.#filtered(statement.filter, text, scope)));
        return;
      }
      case "macro":
        scope.set(statement.macro.name!, this.#macro(statement.macro, scope));
        return;
      case "call":
        output.add(textFrom(run.budget, this.#call(statement, scope)));
        return;
      case "generation":
        output.add(this.#textOf(statement.body, new Scope(scope)));
        return;
      case "scope":
        return this.#all(statement.body, new Scope(scope), output);
      case "block":
        this.#all(statement.body, new Scope(this.#root), output);
        return;
      case "break":
      case "continue":
        return statement.kind;
      case "refused":
        throw new TemplateError(
          `${quote(statement.what)} is refused: a chat template is one file without others`,
        );
    }
  }

  /** A block's text through filters: the innermost takes it. */
  #filtered(
    filter: Extract<Statement, { kind: "filterBlock" }>["filter"],
    text: Value,
    scope: Scope,
  ): Value {
    const chain = [filter];
    for (let inner = filter.value; inner?.kind === "filter"; inner = inner.value) chain.push(inner);
    let value = text;
    for (const one of chain.reverse()) value = applyFilter(this.#run, one, value, scope);
    return value;
  }

  #assign(target: Target, value: Value, scope: Scope): void {
    if (target.kind === "name") scope.set(target.name, value);
    else if (target.kind === "field") {
      const namespace = scope.get(target.name);
      if (!(namespace instanceof Namespace)) {
        throw new TemplateError("cannot assign attribute on non-namespace object");
      }
      namespace.fields.set(target.field, value);
    } else {
      const wanted = target.items.length;
      const items = iterate(value);
      const values: Value[] = [];
      for (let next = items.next(); !next.done; next = items.next()) {
        if (values.length === wanted) {
          throw new TemplateError(`too many values to unpack (expected ${wanted})`);
        }
        values.push(next.value);
      }
      if (values.length < wanted) {
        throw new TemplateError(
          `not enough values to unpack (expected ${wanted}, got ${values.length})`,
        );
      }
      target.items.forEach((part, i) => this.#assign(part, values[i], scope));
    }
  }

  #for(
    statement: Extract<Statement, { kind: "for" }>,
    scope: Scope,
    output: Output,
    iterable: Value,
    depth: number,
  ): void {
    const run = this.#run;
    const recurse = (inner: Value, innerDepth: number): Value => {
      const text = new Output(run);
      run.budget.enter();
      this.#for(statement, scope, text, inner, innerDepth);
      run.budget.leave();
      return text.text();
    };
    const source = statement.test ? this.#chosen(statement, scope, iterable) : iterable;
    const loop = new Loop(run.budget, source, depth, statement.recursive ? recurse : undefined);
    // As in jinja2, "else" runs unless an item got to the end of the body.
    let isEmpty = true;
    for (let item = loop.next(); item !== undefined; item = loop.next()) {
      run.budget.step();
      const inner = new Scope(scope);
      inner.set("loop", loop);
      this.#assign(statement.target, item, inner);
      const ending = this.#all(statement.body, inner, output);
      if (ending === "break") break;
      if (ending === undefined) isEmpty = false;
    }
    if (isEmpty) this.#all(statement.otherwise, new Scope(scope), output);
  }

  /** The items that a loop's `if` lets through, one at a time. */
  #chosen(
    { target, test }: Extract<Statement, { kind: "for" }>,
    scope: Scope,
    iterable: Value,
  ): Thing {
    const items = iterate(iterable);
    const choose = function* (interpreter: Interpreter): Iterator<Value> {
      for (let next = items.next(); !next.done; next = items.next()) {
        const inner = new Scope(scope);
        interpreter.#assign(target, next.value, inner);
        if (isTrue(evaluate(interpreter.#run, test!, inner))) yield next.value;
      }
    };
    return generator(this.#run.budget, "generator", choose(this));
  }

  #call(statement: Extract<Statement, { kind: "call" }>, scope: Scope): Value {
    const node = statement.call;
    if (node.kind !== "call") throw new TemplateError('"call" needs a call of a macro');
    const callee = evaluate(this.#run, node.callee, scope);
    const { args, named } = evaluateArguments(this.#run, node.call, scope);
    const caller = this.#macro(statement.macro, scope);
    return call(callee, { args, named: new Map([...named, ["caller", caller]]) });
  }

  #macro(macro: Callable, scope: Scope): Thing {
    const { name, parameters, reads } = macro;
    const attributes = new Map<string, Value>([
      ["name", name === undefined ? null : own(name)],
      ["arguments", new Items(parameters.map((parameter) => own(parameter.name)), "tuple")],
      ["catch_kwargs", reads.has("kwargs")],
      ["catch_varargs", reads.has("varargs")],
      ["caller", reads.has("caller")],
    ]);
    return {
      type: "Macro",
      attribute: (attribute) => attributes.get(attribute),
      shown: () => own(name === undefined ? "<Macro anonymous>" : `<Macro '${name}'>`),
      call: (given) => this.#invoke(macro, scope, given),
    };
  }

  #invoke(macro: Callable, outside: Scope, { args, named }: Arguments): Value {
    const { parameters, reads } = macro;
    const name = macro.name === undefined ? "None" : `'${macro.name}'`;
    const run = this.#run;
    const { line } = this;
    run.budget.enter();
    const scope = new Scope(outside);
    const rest = new Map(named);
    parameters.forEach(({ name: parameter, value: fallback }, i) => {
      let value = i < args.length ? args[i] : rest.get(parameter);
      if (i >= args.length) rest.delete(parameter);
      if (value === undefined) {
        value = fallback
          ? evaluate(run, fallback, scope)
          : new Undefined(`parameter '${parameter}' was not provided`);
      }
      scope.set(parameter, value);
    });
    const isParameter = (special: string): boolean =>
      parameters.some((parameter) => parameter.name === special);
    if (reads.has("caller") && !isParameter("caller")) {
      const caller = rest.get("caller");
      const isMissing = caller === undefined || caller === null;
      scope.set("caller", isMissing ? new Undefined("No caller defined") : caller);
      rest.delete("caller");
    }
    if (reads.has("kwargs") && !isParameter("kwargs")) {
      const pairs = Array.from(rest, ([key, value]) => [own(key), value] as const);
      scope.set("kwargs", dictOf(run.budget, pairs));
    } else if (rest.size > 0) {
      const [first] = rest.keys();
      throw new TemplateError(
        first === "caller"
          ? `macro ${name} was invoked with a caller that it has no use for`
          : `macro ${name} takes no keyword argument '${first}'`,
      );
    }
    if (reads.has("varargs") && !isParameter("varargs")) {
      scope.set("varargs", new Items(args.slice(parameters.length), "tuple"));
    } else if (args.length > parameters.length) {
      throw new TemplateError(`macro ${name} takes not more than ${parameters.length} argument(s)`);
    }
    const text = this.#textOf(macro.body, scope);
    run.budget.leave();
    this.line = line;
    return text;
  }
}
