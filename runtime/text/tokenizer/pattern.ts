/**
 * Patterns of tokenizer files, as their fields name them, compiled once each.
 *
 * @module
 */

import { quote } from "../../../escape.ts";
import { FormatError } from "../../../errors.ts";
import { finder } from "../search.ts";
import { compilePatternSource, type Pattern } from "./pattern/pattern.ts";
import { PatternError } from "./pattern/tree.ts";
import { objectField, textField, wrongField } from "./fields.ts";

export type { Pattern } from "./pattern/pattern.ts";

const MAX_PATTERN = 1 << 14; // UTF-16 units
const MAX_KEPT = 64;
const kept = new Map<string, Pattern>();

/** Compiles a pattern, or takes it from the last ones that were compiled. */
export function cachedPattern(source: string): Pattern {
  let pattern = kept.get(source);
  if (!pattern) {
    pattern = compilePatternSource(source);
    if (kept.size === MAX_KEPT) kept.delete(kept.keys().next().value!);
    kept.set(source, pattern);
  }
  return pattern;
}

/** A pattern that matches a text as it is written. */
export function literalPattern(text: string): Pattern {
  const pattern = cachedPattern(text.replace(/[\\^$.*+?()[\]{}|#&~-]/g, "\\$&"));
  if (text === "") return pattern;
  // The engine's own search is faster where there is nothing but characters.
  return {
    ...pattern,
    matches(within) {
      const found: number[] = [];
      const { after } = finder(within, text);
      for (let at = after(0); at >= 0; at = after(at + text.length)) {
        found.push(at, at + text.length);
      }
      return found;
    },
    replace(within, content) {
      const { after } = finder(within, text);
      const parts: string[] = [];
      let start = 0;
      for (let at = after(0); at >= 0; at = after(start)) {
        parts.push(within.slice(start, at), content);
        start = at + text.length;
      }
      return start === 0 ? within : parts.join("") + within.slice(start);
    },
  };
}

/**
 * Compiles `{ "Regex": … }` or `{ "String": … }` of tokenizer.json.
 *
 * @throws FormatError for anything else, and for a pattern that is malformed or not supported
 */
export function compilePattern(value: unknown, field: string): Pattern {
  const fields = objectField(value, field);
  const isRegex = fields.Regex !== undefined;
  const source = textField(isRegex ? fields.Regex : fields.String, `${field} (Regex or String)`);
  if (source.length > MAX_PATTERN) {
    throw wrongField(field, source, `a pattern of at most ${MAX_PATTERN} characters`);
  }
  try {
    return isRegex ? cachedPattern(source) : literalPattern(source);
  } catch (cause) {
    if (!(cause instanceof PatternError)) throw cause;
    throw new FormatError(
      `Cannot read the tokenizer: ${field} is ${quote(source, 60)}, expected a regular ` +
        `expression: ${cause.message}; the file is damaged or of a form that is not supported`,
      { cause },
    );
  }
}
