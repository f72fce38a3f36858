/**
 * Regular expressions of tokenizer files: where a pattern matches in a text, in time linear in the text's
 * length, whatever the pattern. JavaScript's own engine can take for ever (`(a|a)*b`) or quadratic time
 * (`\s+$` on blanks), cannot be interrupted, and has another syntax.
 *
 * @module
 */

import { InputError } from "../../../errors.ts";
import { type Attempt, automaton } from "./automaton.ts";
import { backtracking, PatternLimit, type Search } from "./backtrack.ts";
import { shorthand } from "./properties.ts";
import { compile } from "./program.ts";
import { parsePattern } from "./syntax.ts";

/** A compiled pattern. */
export interface Pattern {
  /**
   * Where it matches: start and end of each match in turn, in UTF-16 units, from left to right. As in
   * Oniguruma's iterator, a match of nothing right behind another match does not count.
   *
   * @throws InputError where the pattern takes too long or too much memory on this text
   */
  matches(text: string): readonly number[];
  /** The text with every match replaced. */
  replace(text: string, content: string): string;
}

/**
 * Compiles a pattern.
 *
 * @param source in Oniguruma's syntax
 * @throws PatternError for a pattern that is malformed or asks for what is not supported
 */
export function compilePatternSource(source: string): Pattern {
  const program = compile(parsePattern(source), () => shorthand("w"));
  let fast = program.isPlain ? automaton(program) : undefined;

  function matches(text: string): readonly number[] {
    const found: number[] = [];
    const { length } = text;
    if (length === 0) return found; // as in the original, not even nothing is found in nothing
    // What the automaton reads behind matches is read again; where that is much, the other matcher,
    // which remembers, takes over.
    let allowance = 1024 + 8 * length;
    let slow: Search | undefined;
    const attempt: Attempt = { end: -1, reached: 0 };
    let lastEnd = -1;
    for (let start = 0; start <= length;) {
      let end: number;
      if (fast && !slow && allowance >= 0 && fast.matchAt(text, start, attempt)) {
        ({ end } = attempt);
        allowance -= attempt.reached - Math.max(start, end);
      } else {
        if (!slow && allowance >= 0) fast = undefined; // it has grown too large
        slow ??= backtracking(program, text);
        end = slow.matchAt(start);
      }
      if (end < 0 || end === start && start === lastEnd) {
        start += text.codePointAt(start)! > 0xffff ? 2 : 1;
        continue;
      }
      found.push(start, end);
      start = lastEnd = end;
    }
    return found;
  }

  function guarded(text: string): readonly number[] {
    try {
      return matches(text);
    } catch (cause) {
      if (!(cause instanceof PatternLimit)) throw cause;
      throw new InputError(
        `Cannot encode a text of ${text.length} characters: the tokenizer's pattern ` +
          `${
            JSON.stringify(source.slice(0, 80))
          } is given up on, since ${cause.message}; encode it ` +
          `in smaller parts`,
        { cause },
      );
    }
  }

  return {
    matches: guarded,
    replace(text, content) {
      const found = guarded(text);
      if (found.length === 0) return text;
      const parts: string[] = [];
      let last = 0;
      for (let i = 0; i < found.length; i += 2) {
        parts.push(text.slice(last, found[i]), content);
        last = found[i + 1];
      }
      parts.push(text.slice(last));
      return parts.join("");
    },
  };
}
