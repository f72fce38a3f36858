/**
 * Jinja's source as tokens: text, tags, and the words inside tags. White space around tags is dealt
 * with here, as jinja2 does with `trim_blocks` and `lstrip_blocks`. One pass, linear in the source.
 *
 * @module
 */

import { type Budget, MAX_DIGITS, TemplateError } from "./budget.ts";
import { unescapeString } from "./escapes.ts";

/** A word of the source. */
export interface Token {
  /** `data`, `name`, `string`, `integer`, `float`, `{{`, `}}`, `{%`, `%}`, `eof`, or an operator itself. */
  readonly type: string;
  /** The text, or the number. */
  readonly value: string | bigint | number;
  /** Counted from 1. */
  readonly line: number;
}

/** Python's white space, which differs from JavaScript's. */
export const SPACE =
  "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";

const BLANKS = new RegExp(`[${SPACE}]*`, "y");
const ALL_BLANK = new RegExp(`^[${SPACE}]+$`);
const RAW_BEGIN = new RegExp(`\\{%[-+]?[${SPACE}]*raw[${SPACE}]*(?:-%\\}[${SPACE}]*|%\\})`, "y");
const RAW_END = new RegExp(
  `\\{%([-+]?)[${SPACE}]*endraw[${SPACE}]*(?:\\+%\\}|-%\\}[${SPACE}]*|%\\}\\n?)`,
  "y",
);
const VARIABLE_END = new RegExp(`-\\}\\}[${SPACE}]*|\\}\\}`, "y");
const BLOCK_END = new RegExp(`\\+%\\}|-%\\}[${SPACE}]*|%\\}\\n?`, "y");
const FLOAT = /(?<!\.)(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?e[+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)/iy;
const INTEGER = /0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*/iy;
const NAME = /[\p{L}\p{Nl}_][\p{L}\p{N}\p{Mn}\p{Mc}_]*/uy;
const OPERATOR = /\/\/|\*\*|==|!=|>=|<=|[-+/*%~[\](){}><=.:|,;]/y;
const CLOSING: Readonly<Record<string, string>> = { "{": "}", "(": ")", "[": "]" };

/**
 * Cuts a template into tokens; the last is `eof`.
 *
 * @throws TemplateError when a tag, string or bracket is not closed
 */
export function tokenize(template: string, budget: Budget): Token[] {
  const source = template.replace(/\r\n?/g, "\n").replace(/\n$/, "");
  const tokens: Token[] = [];
  let at = 0;
  let line = 1;
  let counted = 0; // newlines before here are in `line`
  let startsLine = true;

  function lineAt(position: number): number {
    for (; counted < position; counted++) if (source.charCodeAt(counted) === 10) line++;
    return line;
  }

  function fail(message: string): never {
    throw new TemplateError(`line ${lineAt(Math.min(at, source.length))}: ${message}`);
  }

  function add(type: string, value: Token["value"]): void {
    budget.step();
    tokens.push({ type, value, line: lineAt(at) });
  }

  function match(pattern: RegExp): string | undefined {
    pattern.lastIndex = at;
    return pattern.exec(source)?.[0];
  }

  function advance(to: number): void {
    at = to;
    startsLine = source[to - 1] === "\n";
  }

  /** The text before a tag, without the white space that the tag takes. */
  function addData(end: number, sign: string, isBlock: boolean): void {
    let text = source.slice(at, end);
    if (sign === "-") text = trimBlanksEnd(text);
    else if (sign !== "+" && isBlock) {
      const start = text.lastIndexOf("\n") + 1;
      if ((start > 0 || startsLine) && ALL_BLANK.test(text.slice(start))) {
        text = text.slice(0, start);
      }
    }
    if (text !== "") add("data", text);
  }

  function comment(start: number): void {
    // As in jinja2, one that the template ends with needs no end.
    if (start >= source.length) return advance(start);
    const end = source.indexOf("#}", start);
    if (end < 0) fail("a comment has no end");
    const sign = end > start ? source[end - 1] : "";
    at = end + 2;
    if (sign === "-") advance(at + match(BLANKS)!.length);
    else advance(sign !== "+" && source[at] === "\n" ? at + 1 : at);
  }

  function raw(start: number): void {
    at = start;
    if (start >= source.length) return;
    for (let end = source.indexOf("{%", at); end >= 0; end = source.indexOf("{%", end + 2)) {
      budget.step();
      RAW_END.lastIndex = end;
      const found = RAW_END.exec(source);
      if (!found) continue;
      addData(end, found[1], true);
      advance(end + found[0].length);
      return;
    }
    fail('"raw" has no "endraw"');
  }

  function string(quote: string): void {
    let end = at + 1;
    while (end < source.length && source[end] !== quote) end += source[end] === "\\" ? 2 : 1;
    if (end >= source.length) fail("a string has no end");
    try {
      add("string", unescapeString(source.slice(at + 1, end)));
    } catch (error) {
      if (error instanceof TemplateError) fail(error.message);
      throw error;
    }
    advance(end + 1);
  }

  function number(): boolean {
    const decimal = match(FLOAT);
    const digits = decimal ?? match(INTEGER);
    if (digits === undefined) return false;
    const text = digits.replaceAll("_", "");
    if (decimal === undefined && text.length > MAX_DIGITS) {
      fail(`a number has ${text.length} digits, expected at most ${MAX_DIGITS}`);
    }
    if (decimal !== undefined) add("float", Number(text));
    else add("integer", BigInt(/^0+$/.test(text) ? 0 : text));
    advance(at + digits.length);
    return true;
  }

  /** The words of a tag, up to and with its end. */
  function tag(ending: RegExp, endType: string): void {
    const open: string[] = []; // brackets that wait for their partners
    for (;;) {
      advance(at + match(BLANKS)!.length);
      budget.step();
      const end = open.length === 0 ? match(ending) : undefined;
      if (end !== undefined) {
        add(endType, "");
        return advance(at + end.length);
      }
      if (at >= source.length) fail("a tag has no end");
      if (number()) continue;
      const name = match(NAME);
      if (name !== undefined) {
        add("name", name);
        advance(at + name.length);
        continue;
      }
      if (source[at] === "'" || source[at] === '"') {
        string(source[at]);
        continue;
      }
      const operator = match(OPERATOR);
      if (operator === undefined) {
        fail(
          `unexpected character ${JSON.stringify(String.fromCodePoint(source.codePointAt(at)!))}`,
        );
      }
      if (CLOSING[operator] !== undefined) open.push(CLOSING[operator]);
      else if (operator === "}" || operator === ")" || operator === "]") {
        const expected = open.pop();
        if (expected !== operator) {
          fail(`unexpected '${operator}'${expected ? `, expected '${expected}'` : ""}`);
        }
      }
      add(operator, operator);
      advance(at + operator.length);
    }
  }

  for (let next = 0;;) {
    next = source.indexOf("{", next);
    budget.step();
    if (next < 0) break;
    const kind = source[next + 1];
    if (kind !== "{" && kind !== "%" && kind !== "#") {
      next++;
      continue;
    }
    const sign = source[next + 2] === "-" || source[next + 2] === "+" ? source[next + 2] : "";
    addData(next, sign, kind !== "{");
    at = next;
    const rawBegin = kind === "%" ? match(RAW_BEGIN) : undefined;
    const start = next + 2 + sign.length;
    if (rawBegin !== undefined) {
      startsLine = rawBegin.endsWith("\n");
      raw(next + rawBegin.length);
    } else if (kind === "#") comment(start);
    else {
      add(kind === "{" ? "{{" : "{%", "");
      advance(start);
      if (kind === "{") tag(VARIABLE_END, "}}");
      else tag(BLOCK_END, "%}");
    }
    next = at;
  }
  if (at < source.length) add("data", source.slice(at));
  at = source.length;
  add("eof", "");
  return tokens;
}

const IS_BLANK = new RegExp(`[${SPACE}]`);

/** A text without Python's white space at its end. */
function trimBlanksEnd(text: string): string {
  let end = text.length;
  while (end > 0 && IS_BLANK.test(text[end - 1])) end--;
  return text.slice(0, end);
}
