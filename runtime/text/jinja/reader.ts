/**
 * Reading tokens one after another, with errors that name the line.
 *
 * @module
 */

import { type Budget, TemplateError } from "./budget.ts";
import type { Token } from "./lexer.ts";

/** Deepest nesting of a template's source; Python's own compiler ends near it. */
const MAX_NESTING = 100;

/** Tokens, and where the reading is. */
export class Reader {
  readonly #tokens: readonly Token[];
  readonly #budget: Budget;
  #at = 0;
  #depth = 0;

  /** A reader at the first token. */
  constructor(tokens: readonly Token[], budget: Budget) {
    this.#tokens = tokens;
    this.#budget = budget;
  }

  /** The token that is read next. */
  get current(): Token {
    return this.#tokens[this.#at];
  }

  /** Takes a token. */
  next(): Token {
    this.#budget.step();
    const token = this.current;
    if (this.#at < this.#tokens.length - 1) this.#at++;
    return token;
  }

  /** Whether the next token is of this type, and a name of this value. */
  is(type: string, value?: string): boolean {
    return this.current.type === type && (value === undefined || this.current.value === value);
  }

  /** Takes the next token if it is of this kind. */
  skip(type: string, value?: string): boolean {
    const found = this.is(type, value);
    if (found) this.next();
    return found;
  }

  /** Takes a token of this kind or fails. */
  expect(type: string, value?: string): Token {
    if (!this.is(type, value)) this.fail(`found ${this.shown()}, expected ${value ?? type}`);
    return this.next();
  }

  /** A name that is read as text. */
  name(): string {
    return String(this.expect("name").value);
  }

  /** Ends the parsing. */
  fail(message: string, line = this.current.line): never {
    throw new TemplateError(`line ${line}: ${message}`);
  }

  /** The next token as messages show it. */
  shown(): string {
    const { type, value } = this.current;
    if (type === "eof") return "the end";
    return type === "name" || type === "string" ? `${type} ${JSON.stringify(value)}` : type;
  }

  /** Whether the token after the next one is of this kind. */
  peekIs(type: string, value?: string): boolean {
    const token = this.#tokens[Math.min(this.#at + 1, this.#tokens.length - 1)];
    return token.type === type && (value === undefined || token.value === value);
  }

  /** Parses something one level deeper. */
  nested<T>(parse: () => T): T {
    if (++this.#depth > MAX_NESTING) this.fail(`nested deeper than ${MAX_NESTING} levels`);
    const result = parse();
    this.#depth--;
    return result;
  }
}
