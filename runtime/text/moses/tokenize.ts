/**
 * The Moses tokenizer for English, which takes words and punctuation apart, with every hyphen inside of a
 * word by itself (`@-@`).
 *
 * Source: `tokenizer.perl` of https://github.com/moses-smt/mosesdecoder, in the form of
 * https://github.com/alvations/sacremoses (0.0.45), without its escapes of XML.
 *
 * @module
 */

import {
  everywhere,
  LETTER,
  LETTER_OR_DIGIT,
  NUMBER,
  singleSpaced,
  SMALL_LETTER,
  SPACE,
  stripped,
  wordsOf,
} from "./characters.ts";

type Steps = readonly (readonly [from: RegExp, to: string])[];

/** Stands for a dot that has another one beside it; the text has no such character by then. */
const DOT = "\u{1}";

const CONTROLS = everywhere("[\\u{0}-\\u{1f}]");
const APART: Steps = [
  [everywhere(`([^${LETTER_OR_DIGIT}${SPACE}.'\`,\\-])`), " $1 "],
  [everywhere(`(${LETTER_OR_DIGIT})-(?=${LETTER_OR_DIGIT})`), "$1 @-@ "],
];
const DOTS = everywhere("\\.{2,}");
/** Commas, but for those between digits, then apostrophes. */
const COMMAS_AND_APOSTROPHES: Steps = [
  [everywhere(`([^${NUMBER}]),`), "$1 , "],
  [everywhere(`,([^${NUMBER}])`), " , $1"],
  [everywhere(`(${NUMBER}),$`), "$1 , "],
  [everywhere(`([^${LETTER}])'([^${LETTER}])`), "$1 ' $2"],
  [everywhere(`([^${LETTER}${NUMBER}])'(${LETTER})`), "$1 ' $2"],
  [everywhere(`(${LETTER})'([^${LETTER}])`), "$1 ' $2"],
  [everywhere(`(${LETTER})'(${LETTER})`), "$1 '$2"],
  [everywhere(`(${NUMBER})'(s)`), "$1 '$2"],
];

const HAS_LETTER = new RegExp(LETTER, "v");
const BEGINS_SMALL = new RegExp(`^${SMALL_LETTER}`, "v");

/** Abbreviations behind which a dot stays: initials, titles, and what stands before names. */
const ABBREVIATIONS: ReadonlySet<string> = new Set([
  ..."ABCDEFGHIJKLMNOPQRSTUVWXYZ",
  ...("Mr Mrs Ms MR MRS MS MM Mlle Mme Messrs Dr DR Drs Prof Hon Rev Rt Sr St Bros Hr Ph " +
    "Gov Sen Sens Rep Reps Supt Insp Asst Con Pvt Pfc Cpl Sgt Sfc Ens Lt Capt Maj Col Cmdr Comdr " +
    "Brig Gen Adm Msgr Op Res Surg Bart Adj Adv Ord Bldg Hosp Corp Rs Nos Nr v vs rev i.e e.g " +
    "Jan Feb Mar Apr Jun Jul Aug Sep Oct Nov Dec").split(" "),
]);
/** Those that are such before a number alone. */
const BEFORE_NUMBERS: ReadonlySet<string> = new Set(["No", "Art", "pp"]);

/** Puts a dot that ends a sentence apart from its word. */
function dotsApart(words: readonly string[]): string {
  return words.map((word, i) => {
    const before = word.slice(0, -1), next = words[i + 1];
    const stays = !word.endsWith(".") || before === "" ||
      before.includes(".") && HAS_LETTER.test(before) || ABBREVIATIONS.has(before) ||
      next !== undefined && BEGINS_SMALL.test(next) ||
      BEFORE_NUMBERS.has(before) && next !== undefined && /^[0-9]/.test(next);
    return stays ? word : `${before} .`;
  }).join(" ");
}

const replaced = (text: string, steps: Steps): string =>
  steps.reduce((it, [from, to]) => it.replace(from, to), text);

/**
 * The words of a text. What `whole` matches stays in one piece, as if it were a word of letters.
 *
 * @example
 * ```ts
 * import { mosesWords } from "./tokenize.ts";
 *
 * console.log(mosesWords("It's well-known, isn't it?"));
 * // ["It", "'s", "well", "@-@", "known", ",", "isn", "'t", "it", "?"]
 * ```
 */
export function mosesWords(given: string, whole?: RegExp): string[] {
  let text = singleSpaced(given).replace(CONTROLS, "");
  const kept = whole ? [...new Set(Array.from(text.matchAll(whole), ([it]) => it))] : [];
  const nameOf = (i: number): string => `THISISPROTECTED${`${i}`.padStart(3, "0")}`;
  kept.forEach((it, i) => text = text.replaceAll(it, nameOf(i)));
  text = replaced(stripped(text), APART);
  text = text.replace(DOTS, (dots) => ` ${DOT.repeat(dots.length)} `);
  text = dotsApart(wordsOf(replaced(text, COMMAS_AND_APOSTROPHES)));
  text = stripped(singleSpaced(text)).replace(/\.' ?$/, " . ' ");
  kept.forEach((it, i) => text = text.replaceAll(nameOf(i), it));
  return wordsOf(text.replaceAll(DOT, "."));
}
