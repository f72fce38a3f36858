/**
 * The word models that are not byte-pair encoding: WordPiece (BERT), unigram (T5, mT5, XLM-R) and
 * plain word lists. Not here: what a word is, and special tokens.
 *
 * Why not those of `@huggingface/tokenizers`: its WordPiece tries every substring of a word, of which
 * GGUF leaves the length open, and its unigram lattice overflows the stack on a text of 200 000
 * tokens. Where it gets through, the results are the same, which the tests check.
 *
 * @module
 */

import { InputError } from "../../../errors.ts";
import { quote } from "../../../escape.ts";
import type { WordModel } from "./bpe.ts";
import { Trie } from "./tables.ts";

/** What a WordPiece model is made of. */
export interface WordPieceOptions {
  /** Token ids by text. */
  readonly ids: ReadonlyMap<string, number>;
  /** The id of a word that cannot be spelled. */
  readonly unknown: number;
  /** Marks a piece that continues a word: "##" in BERT, "" where tokens are stored without it. */
  readonly continuingPrefix: string;
  /** Put before every word: "" in BERT, "▁" where it marks a word's first piece. */
  readonly wordPrefix?: string | undefined;
  /** Words with more characters are unknown; no limit when absent. */
  readonly maxCharacters?: number | undefined;
}

/** Greedy longest match from the left (Wu et al. 2016); one unspellable rest spoils the word. */
export function wordPieceModel(options: WordPieceOptions): WordModel {
  const { ids, unknown, continuingPrefix, wordPrefix = "", maxCharacters } = options;
  const first = new Trie();
  const rest = continuingPrefix === "" ? first : new Trie();
  for (const [text, id] of ids) {
    first.add(text, id);
    if (rest !== first && text.startsWith(continuingPrefix)) {
      rest.add(text.slice(continuingPrefix.length), id);
    }
  }
  return {
    encode(text, out) {
      const word = wordPrefix + text;
      const start = out.length;
      let at = 0;
      // A character is one or two units, so the exact count is needed only near the limit.
      const tooLong = maxCharacters !== undefined && text.length > maxCharacters &&
        (text.length > 2 * maxCharacters || [...text].length > maxCharacters);
      while (!tooLong && at < word.length) {
        const { end, value } = (at === 0 ? first : rest).longest(word, at);
        if (value < 0 || end === at) break;
        out.push(value);
        at = end;
      }
      if (at < word.length) {
        out.length = start;
        out.push(unknown);
      }
    },
  };
}

/** One token per word, whatever it is (the `WordLevel` model). */
export function wordListModel(
  ids: ReadonlyMap<string, number>,
  unknown: number | undefined,
): WordModel {
  return {
    encode(word, out) {
      const id = ids.get(word) ?? unknown;
      if (id === undefined) throw unencodable(word);
      out.push(id);
    },
  };
}

/** What a unigram model is made of. */
export interface UnigramOptions {
  /** Token texts by id. */
  readonly tokens: readonly (string | undefined)[];
  /** Log-probabilities by id, finite. */
  readonly scores: ArrayLike<number>;
  /** The id for characters that no token covers. */
  readonly unknown?: number | undefined;
  /** Whether a token may be matched in text (control and byte tokens may not). */
  readonly matchable?: ((id: number) => boolean) | undefined;
  /** Tokens `<0x00>` … `<0xFF>` used in place of the unknown token [256], -1 where missing. */
  readonly byteFallback?: readonly number[] | undefined;
  /**
   * The score of a character that no token covers, where it is not what the tokens say, and with it
   * sums in single precision, as in the SentencePiece library: they decide near ties.
   */
  readonly unknownScore?: number | undefined;
}

/** What an uncovered character costs beyond the least likely token, as in SentencePiece. */
export const UNKNOWN_PENALTY = 10;

/** The most likely segmentation (Kudo 2018), found by the Viterbi recursion over positions. */
export function unigramModel(options: UnigramOptions): WordModel {
  const { tokens, scores, unknown, matchable = () => true, byteFallback } = options;
  const trie = new Trie();
  let least = Infinity;
  for (let id = 0; id < tokens.length; id++) {
    const text = tokens[id];
    if (!text || !matchable(id)) continue;
    trie.add(text, id);
    if (scores[id] < least) least = scores[id];
  }
  const unknownScore = options.unknownScore ?? (least === Infinity ? 0 : least) - UNKNOWN_PENALTY;
  const Sums = options.unknownScore === undefined ? Float64Array : Float32Array;
  const sum = (a: number, b: number): number => Sums === Float32Array ? Math.fround(a + b) : a + b;
  const UNCOVERED = -2;

  return {
    encode(word, out) {
      const length = word.length;
      const best = new Sums(length + 1).fill(-Infinity);
      const from = new Int32Array(length + 1);
      const token = new Int32Array(length + 1).fill(-1);
      best[0] = 0;
      for (let at = 0; at < length;) {
        const width = word.codePointAt(at)! > 0xffff ? 2 : 1;
        let covered = false;
        for (let node = 0, end = at; end < length;) {
          node = trie.child(node, word.charCodeAt(end++));
          if (node < 0) break;
          const id = trie.value(node);
          if (id < 0) continue;
          if (end - at === width) covered = true;
          if (best[at] + scores[id] > best[end]) {
            best[end] = best[at] + scores[id];
            from[end] = at;
            token[end] = id;
          }
        }
        const uncovered = covered ? -Infinity : sum(best[at], unknownScore);
        if (uncovered > best[at + width]) {
          if (unknown === undefined) throw unencodable(word.slice(at, at + width));
          best[at + width] = uncovered;
          from[at + width] = at;
          token[at + width] = UNCOVERED;
        }
        at += width;
      }
      const ends: number[] = [];
      for (let end = length; end > 0; end = from[end]) ends.push(end);
      for (let i = ends.length - 1; i >= 0; i--) {
        if (token[ends[i]] !== UNCOVERED) {
          out.push(token[ends[i]]);
          continue;
        }
        const first = from[ends[i]]; // neighbouring uncovered characters are one unknown
        while (i > 0 && token[ends[i - 1]] === UNCOVERED) i--;
        emitUncovered(word.slice(first, ends[i]), out);
      }
    },
  };

  function emitUncovered(text: string, out: number[]): void {
    if (byteFallback) {
      const ids = Array.from(new TextEncoder().encode(text), (byte) => byteFallback[byte]);
      if (ids.every((id) => id >= 0)) {
        for (const id of ids) out.push(id);
        return;
      }
    }
    if (unknown === undefined) throw unencodable(text);
    out.push(unknown);
  }
}

function unencodable(text: string): InputError {
  return new InputError(
    `Cannot encode ${quote(text, 20)}: no token covers it ` +
      `and the vocabulary has no unknown token; leave it out of the text`,
  );
}
