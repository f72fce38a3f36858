/**
 * The parser of Jinja's statements.
 *
 * @module
 */

import type { Callable, Statement, Target } from "./ast.ts";
import { quote } from "../../../escape.ts";
import type { Expression } from "./ast.ts";
import type { Budget } from "./budget.ts";
import { ExpressionParser, type Known } from "./expressions.ts";
import { tokenize } from "./lexer.ts";
import { Reader } from "./reader.ts";
import { own } from "./text.ts";

/** Names that are set by the call itself. */
const SPECIAL = ["caller", "kwargs", "varargs"];

/**
 * The tree of a template.
 *
 * @throws TemplateError where the source is wrong; the message begins with the line
 */
export function parseTemplate(source: string, known: Known, budget: Budget): readonly Statement[] {
  return new StatementParser(new Reader(tokenize(source, budget), budget), known).all();
}

class StatementParser {
  readonly #in: Reader;
  readonly #expressions: ExpressionParser;
  /** How many loops are open in this function; `break` needs one. */
  #loops = 0;
  /** How many loops are open in all; inside of one `loop` cannot be set. */
  #anyLoops = 0;

  constructor(reader: Reader, known: Known) {
    this.#in = reader;
    this.#expressions = new ExpressionParser(reader, known);
  }

  all(): readonly Statement[] {
    const body = this.#statements([]);
    const [unknown] = this.#expressions.unknown;
    if (unknown) this.#in.fail(unknown.message, unknown.line);
    return body;
  }

  /** Statements up to a tag with one of these names, which stays, or to the end. */
  #statements(ends: readonly string[]): Statement[] {
    const body: Statement[] = [];
    for (;;) {
      const { type, value, line } = this.#in.current;
      if (type === "data") {
        this.#in.next();
        body.push({ kind: "data", text: own(String(value)), line });
      } else if (type === "{{") {
        this.#in.next();
        body.push({ kind: "output", value: this.#expressions.tuple(), line });
        this.#in.expect("}}");
      } else if (type === "{%") {
        this.#in.next();
        if (this.#in.is("name") && ends.includes(String(this.#in.current.value))) return body;
        this.#in.nested(() => this.#statement(body));
        this.#in.expect("%}");
      } else {
        if (ends.length > 0) this.#in.fail(`the template ends, expected ${ends.join(" or ")}`);
        return body;
      }
    }
  }

  /** The inside of a block, and the name of the tag that ends it. */
  #block(ends: readonly string[]): [Statement[], string] {
    this.#in.skip(":");
    this.#in.expect("%}");
    const body = this.#statements(ends);
    return [body, String(this.#in.next().value)];
  }

  /** A block that has a frame of its own, where unknown filters count at once. */
  #framed(ends: readonly string[]): [Statement[], string] {
    const before = this.#expressions.lenient;
    this.#expressions.lenient = false;
    const result = this.#block(ends);
    this.#expressions.lenient = before;
    return result;
  }

  #statement(body: Statement[]): void {
    const { line } = this.#in.current;
    const tag = this.#in.name();
    const add = (statement: StatementParts): void => {
      body.push({ ...statement, line });
    };
    switch (tag) {
      case "if":
        return add(this.#if());
      case "for":
        return add(this.#for());
      case "set":
        return add(this.#set());
      case "with":
        return add(this.#with());
      case "macro":
        return add({ kind: "macro", macro: this.#macro(this.#in.name(), true, "endmacro") });
      case "call":
        return add(this.#call());
      case "generation":
        return add({
          kind: "generation",
          body: this.#callable(undefined, [], "endgeneration").body,
        });
      case "filter": {
        const filter = this.#expressions.filters(undefined, true)!;
        return add({ kind: "filterBlock", filter, body: this.#framed(["endfilter"])[0] });
      }
      case "autoescape": {
        const value = this.#expressions.expression();
        const off = value.kind === "constant" && !value.value;
        const [inside] = this.#framed(["endautoescape"]);
        return add(off ? { kind: "scope", body: inside } : refused("autoescape"));
      }
      case "block":
        return add(this.#namedBlock());
      case "print":
        while (!this.#in.is("%}")) {
          add({ kind: "output", value: this.#expressions.expression() });
          if (!this.#in.is("%}")) this.#in.expect(",");
        }
        return;
      case "break":
      case "continue":
        if (this.#loops === 0) this.#in.fail(`${quote(tag)} stands outside of a loop`, line);
        return add({ kind: tag });
      case "include":
      case "import":
      case "from":
      case "extends":
        this.#passOver();
        return add(refused(tag));
    }
    this.#in.fail(`there is no tag named ${quote(tag)}`, line);
  }

  /** The rest of a tag that is refused when it is reached. */
  #passOver(): void {
    this.#expressions.expression();
    while (!this.#in.is("%}")) {
      if (this.#in.is("eof")) this.#in.fail("a tag has no end");
      this.#in.next();
    }
  }

  #if(): StatementParts {
    const before = this.#expressions.lenient;
    this.#expressions.lenient = true;
    const branches: [Expression, Statement[]][] = [];
    let otherwise: Statement[] = [];
    for (let end = "elif"; end !== "endif";) {
      if (end === "else") [otherwise, end] = this.#block(["endif"]);
      else {
        const test = this.#expressions.tuple({ withCondition: false });
        const [body, next] = this.#block(["elif", "else", "endif"]);
        branches.push([test, body]);
        end = next;
      }
    }
    this.#expressions.lenient = before;
    return { kind: "if", branches, otherwise };
  }

  #for(): StatementParts {
    this.#anyLoops++;
    const target = this.#target({ end: "in" });
    this.#in.expect("name", "in");
    const iterable = this.#expressions.tuple({ withCondition: false, end: "recursive" });
    const test = this.#in.skip("name", "if") ? this.#expressions.expression() : undefined;
    const recursive = this.#in.skip("name", "recursive");
    this.#loops++;
    const [body, end] = this.#framed(["endfor", "else"]);
    this.#loops--;
    const otherwise = end === "else" ? this.#framed(["endfor"])[0] : [];
    this.#anyLoops--;
    return { kind: "for", target, iterable, test, recursive, body, otherwise };
  }

  #set(): StatementParts {
    const target = this.#target({ withField: true });
    if (this.#in.skip("=")) return { kind: "set", target, value: this.#expressions.tuple() };
    const filter = this.#expressions.filters(undefined);
    return { kind: "setBlock", target, filter, body: this.#framed(["endset"])[0] };
  }

  #with(): StatementParts {
    const values: [Target, Expression][] = [];
    while (!this.#in.is("%}")) {
      if (values.length > 0) this.#in.expect(",");
      const target = this.#target({});
      this.#in.expect("=");
      values.push([target, this.#expressions.expression()]);
    }
    return { kind: "with", values, body: this.#framed(["endwith"])[0] };
  }

  #call(): StatementParts {
    const parameters = this.#in.is("(") ? this.#parameters() : [];
    const call = this.#expressions.expression();
    if (call.kind !== "call") this.#in.fail('"call" needs a call of a macro');
    return { kind: "call", call, macro: this.#callable(undefined, parameters, "endcall") };
  }

  #namedBlock(): StatementParts {
    const name = this.#in.name();
    while (this.#in.skip("name", "scoped") || this.#in.skip("name", "required"));
    const loops = this.#loops;
    this.#loops = 0;
    const [body] = this.#framed(["endblock"]);
    this.#loops = loops;
    this.#in.skip("name", name);
    return { kind: "block", body };
  }

  #macro(name: string, withParameters: boolean, end: string): Callable {
    return this.#callable(name, withParameters ? this.#parameters() : [], end);
  }

  #parameters(): Callable["parameters"] {
    const parameters: { name: string; value: Expression | undefined }[] = [];
    this.#in.expect("(");
    this.#expressions.reads.push(new Set());
    while (!this.#in.is(")")) {
      if (parameters.length > 0) this.#in.expect(",");
      const name = this.#in.name();
      const value = this.#in.skip("=") ? this.#expressions.expression() : undefined;
      if (value === undefined && parameters.at(-1)?.value !== undefined) {
        this.#in.fail(`the parameter ${name} needs a default, since the one before has one`);
      }
      parameters.push({ name, value });
    }
    this.#expressions.reads.pop();
    this.#in.expect(")");
    return parameters;
  }

  #callable(
    name: string | undefined,
    parameters: Callable["parameters"],
    end: string,
  ): Callable {
    const loops = this.#loops;
    this.#loops = 0;
    this.#expressions.reads.push(new Set());
    const [body] = this.#framed([end]);
    const read = this.#expressions.reads.pop()!;
    for (const name of read) this.#expressions.reads.at(-1)!.add(name);
    this.#loops = loops;
    const reads = new Set(SPECIAL.filter((special) => read.has(special)));
    const caller = parameters.find((parameter) => parameter.name === "caller");
    if (reads.has("caller") && caller && caller.value === undefined) {
      this.#in.fail('the parameter "caller" needs a default');
    }
    return { name, parameters, body, reads };
  }

  /** Names, fields of namespaces, or several of them with commas. */
  #target({ withField = false, end = "" }: { withField?: boolean; end?: string }): Target {
    const items: Target[] = [];
    let isTuple = false;
    for (;;) {
      if (items.length > 0) this.#in.expect(",");
      if (
        ["%}", ")"].includes(this.#in.current.type) || (end !== "" && this.#in.is("name", end))
      ) {
        break;
      }
      items.push(this.#oneTarget(withField));
      if (!this.#in.is(",")) break;
      isTuple = true;
    }
    if (!isTuple && items.length > 0) return items[0];
    if (!isTuple) this.#in.fail("expected a name to set");
    return { kind: "tuple", items };
  }

  #oneTarget(withField: boolean): Target {
    if (this.#in.skip("(")) {
      const target = this.#in.nested(() => this.#target({}));
      this.#in.expect(")");
      return target;
    }
    const value = this.#expressions.primary();
    if (value.kind !== "name") this.#in.fail("only names can be set");
    if (withField && this.#in.skip(".")) {
      return { kind: "field", name: value.name, field: this.#in.name() };
    }
    if (this.#anyLoops > 0 && value.name === "loop") {
      this.#in.fail('"loop" cannot be set in a loop');
    }
    return { kind: "name", name: value.name };
  }
}

type StatementParts = Statement extends infer S ? S extends Statement ? Omit<S, "line"> : never
  : never;

function refused(what: string): StatementParts {
  return { kind: "refused", what };
}
