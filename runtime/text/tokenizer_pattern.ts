/**
 * Patterns of tokenizer.json: Oniguruma's syntax, translated to JavaScript's by
 * `@huggingface/tokenizers`, and refused where they could run for ever.
 *
 * @module
 */

import type { TokenizersLibrary } from "../deps.ts";
import { objectField, textField, wrongField } from "./tokenizer_fields.ts";

const MAX_PATTERN = 1 << 14; // UTF-16 units

/**
 * Compiles `{ "Regex": … }` or `{ "String": … }` of tokenizer.json to a global Unicode pattern.
 *
 * A pattern in which a repetition repeats a repetition, as in `(a+)+`, is refused: it can take
 * longer than any patience on a text chosen for it, and no tokenizer of the supported models has one.
 *
 * @throws FormatError for anything else, and for syntax that JavaScript cannot express
 */
export function compilePattern(library: TokenizersLibrary, value: unknown, field: string): RegExp {
  const fields = objectField(value, field);
  const isRegex = fields.Regex !== undefined;
  const source = textField(isRegex ? fields.Regex : fields.String, `${field} (Regex or String)`);
  if (source.length > MAX_PATTERN) {
    throw wrongField(field, source, `a pattern of at most ${MAX_PATTERN} characters`);
  }
  if (isRegex && repeatsRepetition(source)) {
    throw wrongField(field, source, "a pattern without repetitions inside a repetition");
  }
  try {
    const pattern = isRegex ? { Regex: source } : { String: source };
    const { pattern: compiled } = new library.SplitPreTokenizer({
      type: "Split",
      pattern,
      behavior: "Isolated",
      invert: true,
    });
    if (compiled !== null) {
      "a1 ".search(compiled); // the engine refuses some patterns only when it first runs them
      return compiled;
    }
  } catch {
    // Falls through to the error below: the library's own messages quote the rewritten pattern.
  }
  throw wrongField(field, source, "a regular expression that JavaScript can express");
}

// "*", "+", "{3,}", and counts of ten or more, which are as bad.
const REPETITION = /^(?:[*+]|\{\d+,\}|\{\d{2,}\}|\{\d*,\d{2,}\})/;

/** Whether a repetition stands on a group that holds another one. */
function repeatsRepetition(source: string): boolean {
  const groups: boolean[] = [false]; // whether each open group holds a repetition
  for (let i = 0; i < source.length; i++) {
    let holds = false; // whether the atom that ends here holds a repetition
    if (source[i] === "\\") i++;
    else if (source[i] === "[") i = classEnd(source, i);
    else if (source[i] === "(") {
      groups.push(false);
      continue;
    } else if (source[i] === ")") holds = groups.length > 1 ? groups.pop()! : false;
    const repeated = REPETITION.test(source.slice(i + 1, i + 24));
    if (repeated && holds) return true;
    if (repeated || holds) groups[groups.length - 1] = true;
  }
  return false;
}

function classEnd(source: string, start: number): number {
  let depth = 0;
  for (let i = start; i < source.length; i++) {
    if (source[i] === "\\") i++;
    else if (source[i] === "[") depth++;
    else if (source[i] === "]" && --depth === 0) return i;
  }
  return source.length;
}
