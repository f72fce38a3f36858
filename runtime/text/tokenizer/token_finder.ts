/**
 * Added tokens in a text: where they are before the text is cut into words, and whether a special one
 * is meant there. A prompt has two writers, the template and the caller; only the template's text
 * can spell special tokens.
 *
 * @module
 */

import type { TextPiece } from "../jinja/text.ts";
import { Trie } from "./tables.ts";

/** A token that is found in a text before the text is cut into words. */
export interface AddedToken {
  /** Number of the token in the vocabulary. */
  readonly id: number;
  /** How it is written. */
  readonly content: string;
  /** Whether it controls rather than spells; such ones are found only where they are meant. */
  readonly special: boolean;
  /** Whether it takes the white space on its left with it. */
  readonly leftStrip: boolean;
  /** Whether it takes the white space on its right with it. */
  readonly rightStrip: boolean;
  /** Whether it counts only where no letter, digit or underscore touches it. */
  readonly singleWord: boolean;
  /** Whether it is looked for in the normalized text rather than in the text as given. */
  readonly normalized: boolean;
}

/** Whether a token is meant at a place of the text, in UTF-16 units. */
export type Meant = (token: AddedToken, start: number, end: number) => boolean;

/** Parts a text at tokens. */
export type TokenFinder = (
  text: string,
  meant: Meant,
  onText: (part: string, start: number) => void,
  onToken: (id: number) => void,
) => void;

// Parts of words, as Rust's expressions see them.
const WORD_CHARACTER = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\u200c\u200d]/u;
const WHITE_SPACE = /\p{White_Space}/u;

/** Parts a text at the longest of some tokens that start at each place and are meant there. */
export function tokenFinder(tokens: readonly AddedToken[]): TokenFinder {
  const trie = new Trie();
  tokens.forEach(({ content }, index) => content !== "" && trie.add(content, index));

  function longest(text: string, start: number, meant: Meant): { end: number; token?: AddedToken } {
    let found: { end: number; token?: AddedToken } = { end: start };
    for (let node = 0, end = start; end < text.length;) {
      node = trie.child(node, text.charCodeAt(end++));
      if (node < 0) break;
      const index = trie.value(node);
      if (index >= 0 && meant(tokens[index], start, end)) found = { end, token: tokens[index] };
    }
    return found;
  }

  return (text, meant, onText, onToken) => {
    let start = 0; // of the text since the last token, and the space that it took
    for (let at = 0; tokens.length > 0 && at < text.length;) {
      const { end, token } = longest(text, at, meant);
      if (token === undefined) {
        at++;
        continue;
      }
      if (token.singleWord && !standsAlone(text, at, end)) {
        at = end; // as in the original, nothing is looked for inside it
        continue;
      }
      let left = at, right = end;
      if (token.leftStrip) { while (left > start && WHITE_SPACE.test(text[left - 1])) left--; }
      if (token.rightStrip) {
        while (right < text.length && WHITE_SPACE.test(text[right])) right++;
      }
      if (left > start) onText(text.slice(start, left), start);
      onToken(token.id);
      // A token may follow inside the space that this one took.
      at = end;
      start = right;
    }
    if (start < text.length) onText(text.slice(start), start);
  };
}

function standsAlone(text: string, start: number, end: number): boolean {
  const isLow = start > 1 && (text.charCodeAt(start - 1) & 0xfc00) === 0xdc00;
  const before = start > 0 ? String.fromCodePoint(text.codePointAt(start - (isLow ? 2 : 1))!) : " ";
  const after = end < text.length ? String.fromCodePoint(text.codePointAt(end)!) : " ";
  return !WORD_CHARACTER.test(before) && !WORD_CHARACTER.test(after);
}

/** Where special tokens are meant in a text: everywhere, nowhere, or where the template wrote. */
export interface Trust {
  /** For tokens that are looked for in the text as given. */
  readonly given: Meant;
  /** For tokens that are looked for in a part after it was normalized; `start` is the part's place. */
  normalized(part: string, start: number, result: string): Meant;
}

/** A text with one writer. */
export function wholeTrust(parseSpecial: boolean): Trust {
  const given: Meant = (token) => parseSpecial || !token.special;
  return { given, normalized: () => given };
}

/**
 * A text of several pieces: control tokens must lie wholly in one stretch that the template wrote.
 *
 * @param isControl which tokens those are
 * @param normalize what makes the normalized text
 */
export function piecesTrust(
  pieces: readonly TextPiece[],
  isControl: (token: AddedToken) => boolean,
  normalize: (text: string) => string,
): Trust {
  // First and last unit of each stretch of the template's, in order.
  const stretches: { start: number; end: number }[] = [];
  let length = 0;
  for (const { text, trusted } of pieces) {
    const last = stretches.at(-1);
    if (trusted && last?.end === length) last.end += text.length;
    else if (trusted && text !== "") stretches.push({ start: length, end: length + text.length });
    length += text.length;
  }

  const given: Meant = (token, start, end) => {
    if (!isControl(token)) return true;
    const stretch = stretches[lastBefore(stretches, start)];
    return stretch !== undefined && end <= stretch.end;
  };

  function normalized(part: string, start: number, result: string): Meant {
    // A place in the part, after normalization; NaN where the text before it does not stay the same.
    const place = (unit: number): number => {
      if (unit <= 0) return 0;
      if (unit >= part.length) return result.length;
      const before = normalize(part.slice(0, unit));
      return result.startsWith(before) ? before.length : NaN;
    };
    let moved: { start: number; end: number }[] | undefined;
    return (token, from, to) => {
      if (!isControl(token)) return true;
      moved ??= stretches.filter((it) => it.end > start && it.start < start + part.length)
        .map((it) => ({ start: place(it.start - start), end: place(it.end - start) }))
        .filter((it) => it.start < it.end);
      const stretch = moved[lastBefore(moved, from)];
      return stretch !== undefined && to <= stretch.end;
    };
  }
  return { given, normalized };
}

/** The last stretch that starts at or before a place, or -1. */
function lastBefore(stretches: readonly { readonly start: number }[], place: number): number {
  let [low, high] = [0, stretches.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (stretches[middle].start <= place) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
