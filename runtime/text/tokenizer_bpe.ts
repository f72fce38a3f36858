/**
 * Byte-pair encoding: a word to symbols (bytes or characters), the symbols merged, what is left to token
 * ids. Not here: what a word is, special tokens, and the merging itself (tokenizer_merge.ts).
 *
 * @module
 */

import { Merger } from "./tokenizer_merge.ts";
import type { MergeRules, Symbols } from "./tokenizer_merge.ts";

/** Turns one word into token ids, appended to `out`. */
export interface WordModel {
  /** Appends the ids of `word`. */
  encode(word: string, out: number[]): void;
}

/** What a byte-pair model is made of, beside its rules. */
export interface BpeOptions {
  /** The vocabulary. */
  readonly symbols: Symbols;
  /** The rule book. */
  readonly rules: MergeRules;
  /** For byte-level models the symbol of every byte [256]; without it symbols start as characters. */
  readonly byteSymbols?: readonly number[] | undefined;
  /** Tokens `<0x00>` … `<0xFF>` for characters that are no token [256], -1 where missing. */
  readonly byteFallback?: readonly number[] | undefined;
  /** The id for what cannot be encoded; without it such characters are dropped. */
  readonly unknown?: number | undefined;
  /** Whether neighbouring unknown characters become one unknown token. */
  readonly fuseUnknown?: boolean | undefined;
  /** A word that is a token is that token, whatever the rules say: the word's token or undefined. */
  readonly wholeWord?: ((word: string) => number | undefined) | undefined;
  /** Put before every character but a word's first. */
  readonly continuingPrefix?: string | undefined;
  /** Put after a word's last character. */
  readonly wordSuffix?: string | undefined;
  /** Whether no merge reaches across the start of a run of "▁", so that such runs start new words. */
  readonly cutAtSpaces?: boolean | undefined;
}

const MAX_CACHED_WORDS = 1 << 14;
const MAX_CACHED_LENGTH = 48;
const SPACED_WORD = /\u2581*[^\u2581]+|\u2581+/g;

/** A byte-pair model. */
export function bpeModel(options: BpeOptions): WordModel {
  const { symbols, byteSymbols, byteFallback, unknown, wholeWord } = options;
  const merger = new Merger(options.rules);
  const utf8 = new TextEncoder();
  let bytes = new Uint8Array(1024);
  let cache = new Map<string, readonly number[]>();

  function utf8Bytes(text: string): Uint8Array {
    if (3 * text.length > bytes.length) bytes = new Uint8Array(4 * text.length);
    return bytes.subarray(0, utf8.encodeInto(text, bytes).written);
  }

  function seed(word: string): number {
    if (byteSymbols) {
      const encoded = utf8Bytes(word);
      const buffer = merger.reserve(encoded.length);
      for (let i = 0; i < encoded.length; i++) buffer[i] = byteSymbols[encoded[i]];
      return encoded.length;
    }
    const buffer = merger.reserve(word.length);
    let count = 0;
    for (let at = 0; at < word.length; count++) {
      let text = String.fromCodePoint(word.codePointAt(at)!);
      at += text.length;
      if (count > 0 && options.continuingPrefix) text = options.continuingPrefix + text;
      if (at === word.length && options.wordSuffix) text += options.wordSuffix;
      buffer[count] = symbols.intern(text);
    }
    return count;
  }

  function emit(symbol: number, out: number[], start: number): void {
    if (symbol < symbols.vocabSize) {
      out.push(symbol);
      return;
    }
    if (byteFallback) {
      const ids = Array.from(utf8Bytes(symbols.text(symbol)), (byte) => byteFallback[byte]);
      if (ids.every((id) => id >= 0)) {
        for (const id of ids) out.push(id);
        return;
      }
    }
    if (byteSymbols && symbols.text(symbol).length > 1) {
      // A merge whose result is no token (some converted files have them): its bytes one by one.
      for (const unit of symbols.text(symbol)) emit(symbols.intern(unit), out, start);
      return;
    }
    if (unknown === undefined) return;
    if (options.fuseUnknown && out.length > start && out[out.length - 1] === unknown) return;
    out.push(unknown);
  }

  function encodeWord(word: string, out: number[]): void {
    const known = cache.get(word);
    if (known !== undefined) {
      for (const id of known) out.push(id);
      return;
    }
    const start = out.length;
    const whole = wholeWord?.(word);
    if (whole !== undefined) out.push(whole);
    else {
      const count = merger.merge(seed(word));
      for (let i = 0; i < count; i++) emit(merger.symbols[i], out, start);
    }
    if (word.length <= MAX_CACHED_LENGTH) {
      if (cache.size >= MAX_CACHED_WORDS) cache = new Map();
      cache.set(word, out.slice(start));
    }
  }

  return {
    encode(word, out) {
      if (!options.cutAtSpaces) encodeWord(word, out);
      else for (const [part] of word.matchAll(SPACED_WORD)) encodeWord(part, out);
    },
  };
}
