/**
 * Regular expressions of tokenizer files: where a pattern matches in a text, in time linear in the text's
 * length, whatever the pattern. JavaScript's own engine can take for ever (`(a|a)*b`) or quadratic time
 * (`\s+$` on blanks), cannot be interrupted, and has another syntax.
 *
 * @module
 */

import { InputError } from "../../../../errors.ts";
import { quote } from "../../../../escape.ts";
import { type Attempt, automaton, FOUND, NONE, TOO_LARGE } from "./automaton.ts";
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
  /**
   * The same for a text that comes in parts; undefined for a pattern that asks for more than the next
   * character, so that what it matches is certain only at the end.
   */
  replacer?(content: string): Replacer;
}

/** Replaces in a text that comes in parts. */
export interface Replacer {
  /** What is certain with one more part. */
  push(part: string): string;
  /** The rest. */
  end(): string;
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
    let start = 0, lastEnd = -1;
    if (fast) {
      // What the automaton reads behind matches is read again; where that is much, the other matcher,
      // which remembers, takes over.
      const attempt: Attempt = { start: 0, end: -1, reached: 0, allowance: 1024 + 8 * length };
      while (fast && start <= length) {
        const outcome = fast.search(text, start, attempt);
        ({ start } = attempt);
        if (outcome === NONE) return found;
        if (outcome === TOO_LARGE) fast = undefined;
        if (outcome !== FOUND) break;
        if (attempt.end === start && start === lastEnd) {
          start += text.codePointAt(start)! > 0xffff ? 2 : 1;
          continue;
        }
        lastEnd = attempt.end;
        found.push(start, lastEnd);
        start = lastEnd;
        if (attempt.allowance < 0) break;
      }
    }
    const slow: Search | undefined = start <= length ? backtracking(program, text) : undefined;
    while (slow && start <= length) {
      const end = slow.matchAt(start);
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
          `${quote(source, 80)} is given up on, since ${cause.message}; ` +
          `encode it in smaller parts`,
        { cause },
      );
    }
  }

  /** A text in parts: what may still become a match, or a longer one, is held back. */
  function replacer(content: string): Replacer {
    const attempt: Attempt = { start: 0, end: -1, reached: 0, allowance: Infinity };
    let held = "";
    let afterMatch = false; // whether `held` begins where a match ended
    let isEmpty = true; // in an empty text nothing is found
    let enough = 1; // how much is held before it is worth looking again
    function take(isEnd: boolean): string {
      const out: string[] = [];
      let at = 0, kept = 0; // `kept`: where text begins that is not given out yet
      while (at <= held.length) {
        const outcome = fast ? fast.search(held, at, attempt, true) : TOO_LARGE;
        if (outcome === TOO_LARGE) {
          // The automaton has grown too large; what is left waits for the end.
          if (!isEnd) break;
          out.push(replace(held.slice(kept), content));
          held = "";
          return out.join("");
        }
        if (attempt.reached === held.length && !isEnd) break;
        const { end } = attempt;
        if (end < 0 || end === at && afterMatch) {
          if (at === held.length) break;
          at += held.codePointAt(at)! > 0xffff ? 2 : 1;
          afterMatch = false;
          continue;
        }
        out.push(held.slice(kept, at), content);
        at = kept = end;
        afterMatch = true;
        if (at === held.length && !isEnd) break;
      }
      out.push(held.slice(kept, at));
      held = held.slice(at);
      // Looking again at every part would take quadratic time where much is held.
      enough = held.length + (held.length >> 3) + 1;
      return out.join("");
    }
    return {
      push(part) {
        if (part === "") return "";
        isEmpty = false;
        held += part;
        return held.length < enough ? "" : take(false);
      },
      end: () => isEmpty ? "" : take(true),
    };
  }

  function replace(text: string, content: string): string {
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
  }

  const pattern: Pattern = { matches: guarded, replace };
  return fast ? { ...pattern, replacer } : pattern;
}
