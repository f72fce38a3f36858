/**
 * Python's spellings of characters: what backslashes mean in string literals, and how `repr` writes
 * a text.
 *
 * @module
 */

import { TemplateError } from "./budget.ts";

const SIMPLE: Readonly<Record<string, string>> = {
  "\n": "",
  "\\": "\\",
  "'": "'",
  '"': '"',
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};
const ESCAPE =
  /\\(?:([0-7]{1,3})|x([\da-fA-F]{0,2})|u([\da-fA-F]{0,4})|U([\da-fA-F]{0,8})|([\s\S]|$))/g;

/** The inside of a string literal with its backslashes read. */
export function unescapeString(text: string): string {
  if (!text.includes("\\")) return text;
  return text.replace(ESCAPE, (whole, octal, x, u, long, other: string) => {
    if (octal !== undefined) return String.fromCodePoint(parseInt(octal, 8));
    const wanted = x !== undefined ? 2 : u !== undefined ? 4 : 8;
    const hex: string | undefined = x ?? u ?? long;
    if (hex !== undefined) {
      const code = parseInt(hex, 16);
      if (hex.length !== wanted || code > 0x10ffff) {
        throw new TemplateError(`a string has the broken escape ${whole}`);
      }
      return String.fromCodePoint(code);
    }
    if (other === "N") {
      throw new TemplateError("a string names a character with \\N, write it itself");
    }
    return SIMPLE[other] ?? whole;
  });
}

const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{Zs}]/u;
const UNPRINTABLE_OR_ESCAPED = /[\\'\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{Zs}]/gu;

/** The quote that Python's `repr` puts around a text. */
export function quoteFor(text: string): string {
  return text.includes("'") && !text.includes('"') ? '"' : "'";
}

/** A part of a text as Python's `repr` spells it inside quotes; `asciiOnly` as `ascii()` does. */
export function escapeForRepr(text: string, quote: string, asciiOnly = false): string {
  const pattern = asciiOnly ? /[^ -~]|[\\']/gu : UNPRINTABLE_OR_ESCAPED;
  return text.replace(pattern, (character) => {
    switch (character) {
      case " ":
        return character;
      case "\\":
        return "\\\\";
      case "'":
        return quote === "'" ? "\\'" : character;
      case "\n":
        return "\\n";
      case "\r":
        return "\\r";
      case "\t":
        return "\\t";
    }
    const code = character.codePointAt(0)!;
    if (!asciiOnly && !UNPRINTABLE.test(character)) return character;
    if (code <= 0xff) return "\\x" + code.toString(16).padStart(2, "0");
    if (code <= 0xffff) return "\\u" + code.toString(16).padStart(4, "0");
    return "\\U" + code.toString(16).padStart(8, "0");
  });
}
