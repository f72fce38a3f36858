/**
 * The punctuation of English texts in the forms that the Moses tokenizer knows: quotes of all kinds
 * become straight ones, dashes hyphens, and spaces stand where English has them.
 *
 * Source: `normalize-punctuation.perl` of https://github.com/moses-smt/mosesdecoder, in the form of
 * https://github.com/alvations/sacremoses (0.0.45).
 *
 * @module
 */

import { everywhere, stripped } from "./characters.ts";

const HARD = "\\u{a0}"; // a space at which no line breaks

/** What is replaced by what, one after the other. */
const STEPS: readonly (readonly [from: RegExp, to: string])[] = ([
  ["\\r", ""],
  // Brackets have spaces outside of them alone.
  ["\\(", " ("],
  ["\\)", ") "],
  [" +", " "],
  ["\\) ([.!:?;,])", ")$1"],
  ["\\( ", "("],
  [" \\)", ")"],
  ["(\\p{Nd}) %", "$1%"],
  [" ([:;])", "$1"],
  // Quotes, dashes and dots.
  ["`", "'"],
  ["''", ' " '],
  ["[„“”]", '"'],
  ["–", "-"],
  ["—", " - "],
  [" +", " "],
  ["[´‘‚’]", "'"],
  ["''", '"'],
  ["…", "..."],
  [`${HARD}«${HARD}|«${HARD}|«`, '"'],
  [`${HARD}»${HARD}|${HARD}»|»`, '"'],
  // Spaces before signs and units.
  [`${HARD}%`, "%"],
  [`nº${HARD}`, "nº "],
  [`${HARD}:`, ":"],
  [`${HARD}ºC`, " ºC"],
  [`${HARD}cm`, " cm"],
  [`${HARD}([?!;])`, "$1"],
  [`,${HARD}`, ", "],
  [" +", " "],
  // American order of a quote's end and the comma or full stop behind it.
  ['"([,.]+)', '$1"'],
  [`(\\p{Nd})${HARD}(\\p{Nd})`, "$1.$2"],
] as const).map(([from, to]) => [everywhere(from), to]);

/**
 * A text with such punctuation.
 *
 * @example
 * ```ts
 * import { normalizePunctuation } from "./normalize.ts";
 *
 * console.log(normalizePunctuation("“Yes” — he said…")); // "Yes" - he said...
 * ```
 */
export function normalizePunctuation(text: string): string {
  return stripped(STEPS.reduce((it, [from, to]) => it.replace(from, to), text));
}
