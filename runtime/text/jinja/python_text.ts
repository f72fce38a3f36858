/**
 * What Python's `str` can do, on texts that know their writers: pure functions, built from slices and
 * joins, so that every character keeps who wrote it.
 *
 * @module
 */

import { type Budget, TemplateError } from "./budget.ts";
import { SPACE } from "./lexer.ts";
import { finder } from "../search.ts";
import { EMPTY, joinTexts, own, type Text } from "./text.ts";

const IS_SPACE = new RegExp(`[${SPACE}]`);
// deno-lint-ignore no-control-regex -- Python ends lines at them
const LINE_END = /\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/g;
export const CASED = /[\p{Lu}\p{Ll}\p{Lt}]/u;

/** Texts one after another, counted before they are joined. */
export function join(budget: Budget, texts: readonly Text[], safe = false): Text {
  let length = 0;
  for (const text of texts) length += text.value.length;
  budget.text(length);
  return joinTexts(texts, safe);
}

/** As `join`, where few texts are joined to a longer one, again and again. */
export function append(budget: Budget, texts: readonly Text[], safe = false): Text {
  let length = 0;
  for (const text of texts) length += text.value.length + text.cuts.length;
  budget.joined(length);
  return joinTexts(texts, safe);
}

/** A text several times. */
export function repeat(budget: Budget, text: Text, times: number): Text {
  if (times <= 0 || text.value === "") return EMPTY.marked(text.safe);
  budget.text(text.value.length * times + text.cuts.length * times);
  if (text.cuts.length === 0) return own(text.value.repeat(times)).marked(text.safe);
  return joinTexts(Array.from({ length: times }, () => text), text.safe);
}

/** Without white space, or the given characters, at its ends. */
export function strip(
  budget: Budget,
  text: Text,
  characters: Text | null,
  sides: "l" | "r" | "lr",
): Text {
  const { value } = text;
  budget.read(value.length);
  const set = characters === null ? undefined : new Set(characters.value);
  const goes = (character: string): boolean => set ? set.has(character) : IS_SPACE.test(character);
  let [start, end] = [0, value.length];
  while (sides !== "r" && start < end) {
    const character = String.fromCodePoint(value.codePointAt(start)!);
    if (!goes(character)) break;
    start += character.length;
  }
  while (sides !== "l" && end > start) {
    const isPair = end - start > 1 &&
      /[\ud800-\udbff][\udc00-\udfff]/.test(value.slice(end - 2, end));
    const character = value.slice(end - (isPair ? 2 : 1), end);
    if (!goes(character)) break;
    end -= character.length;
  }
  return text.slice(start, end);
}

/** Where a text occurs, without overlaps. In UTF-16 units. */
function* occurrences(budget: Budget, text: string, part: string): Generator<number> {
  const { after } = finder(text, part, () => budget.step());
  for (let at = after(0); at >= 0; at = after(at + part.length)) yield at;
}

/** How often a text occurs in another. */
export function count(budget: Budget, text: Text, part: Text): number {
  budget.read(text.value.length);
  if (part.value === "") return text.length + 1;
  let found = 0;
  for (const _ of occurrences(budget, text.value, part.value)) found++;
  return found;
}

/** With one text put in the place of another, `most` times. */
export function replace(budget: Budget, text: Text, from: Text, to: Text, most = Infinity): Text {
  budget.read(text.value.length);
  const places: number[] = [];
  if (from.value === "") {
    for (const at of [...text.starts(), text.value.length]) {
      if (places.length >= most) break;
      places.push(at);
    }
  } else {
    for (const at of occurrences(budget, text.value, from.value)) {
      if (places.length >= most) break;
      places.push(at);
    }
  }
  if (places.length === 0) return text;
  budget.text(
    text.value.length + places.length * (to.value.length - from.value.length + to.cuts.length),
  );
  const parts: Text[] = [];
  let start = 0;
  for (const at of places) {
    parts.push(text.slice(start, at), to);
    start = at + from.value.length;
  }
  parts.push(text.slice(start));
  return joinTexts(parts, text.safe);
}

/** Parts between white space. */
function splitSpace(text: Text, most: number): Text[] {
  const parts: Text[] = [];
  const { value } = text;
  const skip = (at: number): number => {
    while (at < value.length && IS_SPACE.test(value[at])) at++;
    return at;
  };
  for (let at = skip(0); at < value.length;) {
    let end = at;
    if (parts.length >= most) {
      parts.push(text.slice(at));
      break;
    }
    while (end < value.length && !IS_SPACE.test(value[end])) end++;
    parts.push(text.slice(at, end));
    at = skip(end);
  }
  return parts;
}

/** As `splitSpace`, from the end. */
function splitSpaceFromEnd(text: Text, most: number): Text[] {
  const parts: Text[] = [];
  const { value } = text;
  const skip = (at: number): number => {
    while (at > 0 && IS_SPACE.test(value[at - 1])) at--;
    return at;
  };
  for (let end = skip(value.length); end > 0;) {
    let start = end;
    if (parts.length >= most) {
      parts.push(text.slice(0, end));
      break;
    }
    while (start > 0 && !IS_SPACE.test(value[start - 1])) start--;
    parts.push(text.slice(start, end));
    end = skip(start);
  }
  return parts.reverse();
}

/** `split` and `rsplit`. */
export function split(
  budget: Budget,
  text: Text,
  separator: Text | null,
  most: number,
  fromEnd: boolean,
): Text[] {
  budget.read(text.value.length);
  const limit = most < 0 ? Infinity : most;
  let parts: Text[] = [];
  if (separator === null) {
    parts = fromEnd ? splitSpaceFromEnd(text, limit) : splitSpace(text, limit);
  } else {
    const part = separator.value;
    if (part === "") throw new TemplateError("empty separator");
    if (fromEnd && limit !== Infinity) {
      const { before } = finder(text.value, part, () => budget.step());
      let end = text.value.length;
      while (parts.length < limit && end >= part.length) {
        const at = before(end);
        if (at < 0) break;
        parts.push(text.slice(at + part.length, end));
        end = at;
      }
      parts.push(text.slice(0, end));
      parts.reverse();
    } else {
      let start = 0;
      for (const at of occurrences(budget, text.value, part)) {
        if (parts.length >= limit) break;
        parts.push(text.slice(start, at));
        start = at + part.length;
      }
      parts.push(text.slice(start));
    }
  }
  budget.items(parts.length);
  return parts;
}

/** Lines; their ends stay where asked for. */
export function lines(budget: Budget, text: Text, keepEnds: boolean): Text[] {
  budget.read(text.value.length);
  const parts: Text[] = [];
  let start = 0;
  for (const { 0: end, index } of text.value.matchAll(LINE_END)) {
    budget.items(1);
    parts.push(text.slice(start, keepEnds ? index + end.length : index));
    start = index + end.length;
  }
  if (start < text.value.length) parts.push(text.slice(start));
  return parts;
}

/** With blanks, or another character, up to a width; the side is where the text goes. */
export function pad(
  budget: Budget,
  text: Text,
  width: number,
  fill: Text,
  side: "left" | "right" | "center",
): Text {
  if (fill.length !== 1) {
    throw new TemplateError("The fill character must be exactly one character long");
  }
  const missing = width - text.length;
  if (!(missing > 0)) return text;
  // As CPython does it: the odd one goes left where both are odd.
  const left = side === "left"
    ? 0
    : side === "right"
    ? missing
    : Math.floor(missing / 2) + (missing & width & 1);
  return join(
    budget,
    [repeat(budget, fill, left), text, repeat(budget, fill, missing - left)],
    text.safe,
  );
}

/** `expandtabs`. */
export function expandTabs(budget: Budget, text: Text, size: number): Text {
  const parts: Text[] = [];
  let column = 0;
  let start = 0;
  let made = 0;
  let at = 0;
  for (const character of text.value) {
    if (character === "\t") {
      const blanks = size > 0 ? size - column % size : 0;
      made += blanks;
      if (made > text.value.length) budget.text(made);
      parts.push(text.slice(start, at), repeat(budget, own(" "), blanks));
      column += blanks;
      start = at + 1;
    } else if (character === "\n" || character === "\r") column = 0;
    else column++;
    at += character.length;
  }
  parts.push(text.slice(start));
  return join(budget, parts, text.safe);
}

/** The tests `isdigit`, `isalpha` and so on: whether all characters of a text that has some are so. */
export const TEXT_TESTS: Readonly<Record<string, (text: string) => boolean>> = {
  isdigit: (text) =>
    /^[\p{Nd}\u00b2\u00b3\u00b9\u2070-\u2079\u2080-\u2089\u2460-\u2468]+$/u.test(text),
  isdecimal: (text) => /^\p{Nd}+$/u.test(text),
  isnumeric: (text) => /^\p{N}+$/u.test(text),
  isalpha: (text) => /^\p{L}+$/u.test(text),
  isalnum: (text) => /^[\p{L}\p{N}]+$/u.test(text),
  isspace: (text) => new RegExp(`^[${SPACE}]+$`).test(text),
  isascii: (text) => !/[^\0-\x7f]/.test(text),
  isidentifier: (text) => /^[\p{L}\p{Nl}_][\p{L}\p{N}\p{Mn}\p{Mc}_]*$/u.test(text),
  isprintable: (text) => !/(?! )[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Z}]/u.test(text),
  isupper: (text) => /\p{Lu}/u.test(text) && !/[\p{Ll}\p{Lt}]/u.test(text),
  islower: (text) => /\p{Ll}/u.test(text) && !/[\p{Lu}\p{Lt}]/u.test(text),
  istitle: (text) => {
    let afterLetter = false;
    let found = false;
    for (const character of text) {
      const isLarge = /[\p{Lu}\p{Lt}]/u.test(character);
      const isSmall = /\p{Ll}/u.test(character);
      if ((isLarge && afterLetter) || (isSmall && !afterLetter)) return false;
      afterLetter = isLarge || isSmall;
      found ||= afterLetter;
    }
    return found;
  },
};
