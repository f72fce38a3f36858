/**
 * Classes of characters as the Moses tokenizer has them, as parts of regular expressions with the flag
 * `v`: those of Perl with an old version of Unicode, of the first plane alone and without the characters
 * of Han and Hangul, each of which is a word there; and what Python calls white space.
 *
 * Source: the lists of characters of https://github.com/alvations/sacremoses, which are compared with these
 * by tests/golden/make_moses.py.
 *
 * @module
 */

const FIRST_PLANE = "[\\u{0}-\\u{ffff}]";

/** Letters that the lists do not have: later ones, Han and Hangul. */
const NO_LETTERS =
  "363-36f 560 588 5ef 860-86a 870-887 889-88e 897 8b3-8c9 8d4-8df 8e3 9fc af9-afc c04 c5a c5d c80 cdd " +
  "cf3 d00 d04 d54-d56 d5f d81 e86 e89 e8c e8e-e93 e98 ea0 ea8-ea9 eac f82-f83 1063-1064 1069-106d " +
  "1087-108d 108f 109a-109b 13f5 13f8-13fd 170d 171f 1878 1abf-1ac0 1acc-1ace 1b4c 1c36 1c80-1c8a " +
  "1c90-1cba 1cbd-1cbf 1cfa 1dd3-1de6 2c2f 2c5f 3005 3007 3021-3029 3038-303b 312e-312f 31bb-31bf " +
  "3400-4dbf 4e00-9fff a69e a78f a7ae-a7af a7b2-a7dc a7f1-a7f6 a802 a80b a8c5 a8fd-a8ff a9e5 aa7b-aa7d " +
  "ab60-ab63 ab66-ab69 ab70-abbf ac00-d7a3 f900-fa6d fa70-fad9";
/** Signs that count as letters besides: viramas and nuktas of Indian scripts, and two strays. */
const SIGNS =
  "93c 94d 9bc 9cd a3c a4d abc acd afd-aff b3c b4d bcd c4d cbc ccd d3b-d3c d4d dca eba " +
  "1039 135f 1714 1bab 1c37 25cc a8c4 a8f3-a8f4 a953 aaf6 10a3f 11046 110b9-110ba 11133 11173 111c0 " +
  "111ca 11235-11236 112e9-112ea 1133c 1134d 11442 11446 114c2-114c3 115bf-115c0 1163f 116b6-116b7 " +
  "11839-1183a 119e0 11a34 11c3f 11d42 11d45 11d97 1e94a";
const NO_NUMBERS = "d58-d5e d76-d78 3007 3021-3029 3038-303a";
const NO_CURRENCIES = "7fe-7ff 20be-20cf";
/** Small letters that the list does not have: later ones, and those of Georgian. */
const NO_SMALL =
  "560 588 10d0-10fa 10fc-10ff 1c8a 2c5f a7af a7b9 a7bb a7bd a7bf a7c1 a7c3 a7c8 a7ca " +
  "a7cd a7d1 a7d3 a7d5 a7d7 a7d9 a7db a7f1-a7f4 a7f6 ab66-ab69 10597-105a1 105a3-105b1 105b3-105b9 " +
  "105bb-105bc 10780 10783-10785 10787-107b0 107b2-107ba 10d70-10d85 16e60-16e7f 1df00-1df09 " +
  "1df0b-1df1e 1df25-1df2a 1e030-1e06d";

/** Characters of ranges in hexadecimal, as `30-39 41`. */
function listed(ranges: string): string {
  return ranges.replace(/[0-9a-f]+/g, (code) => `\\u{${code}}`).replaceAll(" ", "");
}

/** Characters of the first plane with a property, without some. */
function withProperty(property: string, without: string): string {
  return `[[\\p{${property}}&&${FIRST_PLANE}]--[${listed(without)}]]`;
}

/** Letters. */
export const LETTER: string = `[${withProperty("Alphabetic", NO_LETTERS)}${listed(SIGNS)}]`;
/** Letters and digits. */
export const LETTER_OR_DIGIT: string = `[${LETTER}[\\p{Nd}&&${FIRST_PLANE}]]`;
/** Digits, fractions and whatever else is a number. */
export const NUMBER: string = withProperty("N", NO_NUMBERS);
/** Signs of currencies. */
export const CURRENCY: string = withProperty("Sc", NO_CURRENCIES);
/** Small letters. */
export const SMALL_LETTER: string = `[[\\p{Lowercase}--[${listed(NO_SMALL)}]]\\u{25cc}]`;
/** White space. */
export const SPACE: string =
  "[\\t-\\r\\u{1c}-\\u{20}\\u{85}\\u{a0}\\u{1680}\\u{2000}-\\u{200a}\\u{2028}\\u{2029}\\u{202f}\\u{205f}\\u{3000}]";

/** A regular expression over these classes, for all matches. */
export function everywhere(pattern: string, flags = ""): RegExp {
  return new RegExp(pattern, `gv${flags}`);
}

const SPACES = everywhere(`${SPACE}+`);
const AROUND = everywhere(`^${SPACE}+|${SPACE}+$`);

/** A text whose white space is one blank each. */
export function singleSpaced(text: string): string {
  return text.replace(SPACES, " ");
}

/** A text without white space around it. */
export function stripped(text: string): string {
  return text.replace(AROUND, "");
}

/** What stands between white space. */
export function wordsOf(text: string): string[] {
  return text.split(SPACES).filter((it) => it !== "");
}

/** Blocks of characters of which each is a word, as the detokenizer counts them. */
const IDEOGRAPHS: readonly (readonly [first: number, last: number])[] = [
  ...[[0x1100, 0x11ff], [0x2e80, 0xa4cf], [0xa840, 0xa87f], [0xac00, 0xd7af]] as const,
  ...[[0xf900, 0xfaff], [0xfe30, 0xfe4f], [0xff65, 0xffdc], [0x17000, 0x18aff]] as const,
  ...[[0x1b000, 0x1b12f], [0x1b170, 0x1b2ff], [0x20000, 0x2ffff]] as const,
];

/** Whether a character is Chinese, Japanese or Korean, or of the like. */
export function isIdeograph(character: string): boolean {
  const code = character.codePointAt(0) ?? 0;
  return IDEOGRAPHS.some(([first, last]) => first <= code && code <= last);
}
