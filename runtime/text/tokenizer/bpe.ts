/**
 * Byte-pair encoding: a word to symbols (bytes or characters), the symbols merged, what is left to token
 * ids. Not here: what a word is, special tokens, and the merging itself (merge.ts).
 *
 * @module
 */

import { InputError } from "../../../errors.ts";
import { quote } from "../../../escape.ts";
import { Merger } from "./merge.ts";
import type { MergeRules, Symbols } from "./merge.ts";

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
  /**
   * The id for what cannot be encoded; without it such characters are dropped. {@linkcode MISSING}
   * where the file names a token that is not there: then they are errors.
   */
  readonly unknown?: number | undefined;
  /**
   * Whether words are tokens from the start, as in the Hugging Face library: bytes and unknown tokens
   * stand in for characters before anything merges, and dropped characters do not keep their neighbours
   * apart. Else, as in SentencePiece, they do so after all has merged.
   */
  readonly tokensOnly?: boolean | undefined;
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
  /**
   * The two symbols that a symbol came of, for those that merge and do not stand in the result
   * (unused pieces); undefined for the others. Words are not remembered then.
   */
  readonly parted?: ((symbol: number) => readonly [number, number] | undefined) | undefined;
}

/** See `BpeOptions.unknown`. */
export const MISSING = -1;

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
    if (byteSymbols && !options.tokensOnly) {
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

  /** Symbols that some units of `bytes` bytes each may take, with what is put around them. */
  function seedRoom(units: number, bytes: number): number {
    const around = (options.continuingPrefix?.length ?? 0) + (options.wordSuffix?.length ?? 0);
    const each = byteFallback ? 3 * around + Math.max(2, bytes) : 1;
    return each * units + 2;
  }

  let pending = false; // whether an unknown token waits, which more unknown characters may join

  /** Tokens of the characters or bytes of a word. */
  function seedTokens(word: string): number {
    pending = false;
    let count = 0;
    if (byteSymbols) {
      const encoded = utf8Bytes(word);
      const buffer = merger.reserve(seedRoom(encoded.length, 1));
      for (let i = 0; i < encoded.length; i++) {
        const id = byteSymbols[encoded[i]];
        if (id < symbols.vocabSize && !pending) buffer[count++] = id;
        else count = id < symbols.vocabSize ? put(id, count) : putUnknown(symbols.text(id), count);
      }
      if (pending) merger.symbols[count++] = unknown!;
      return count;
    }
    const buffer = merger.reserve(seedRoom(word.length, 3));
    for (let at = 0; at < word.length;) {
      let text = String.fromCodePoint(word.codePointAt(at)!);
      const isFirst = at === 0;
      at += text.length;
      if (!isFirst && options.continuingPrefix) text = options.continuingPrefix + text;
      if (at === word.length && options.wordSuffix) text += options.wordSuffix;
      const id = symbols.token(text);
      if (id !== undefined && !pending) buffer[count++] = id;
      else count = id !== undefined ? put(id, count) : putUnknown(text, count);
    }
    if (pending) merger.symbols[count++] = unknown!;
    return count;
  }

  function put(id: number, count: number): number {
    if (pending) merger.symbols[count++] = unknown!;
    pending = false;
    merger.symbols[count++] = id;
    return count;
  }

  /** What stands in for a character, or one with a prefix and suffix, that is no token. */
  function putUnknown(text: string, count: number): number {
    if (byteFallback) {
      // As in the original, an unknown token that waits comes after these.
      const encoded = utf8.encode(text);
      if (encoded.every((byte) => byteFallback[byte] >= 0)) {
        for (const byte of encoded) merger.symbols[count++] = byteFallback[byte];
        return count;
      }
    }
    if (unknown === undefined) return count;
    if (unknown === MISSING) {
      throw new InputError(
        `Cannot encode ${quote(text, 20)}: no token covers it and the unknown token that the ` +
          `tokenizer names is not in its vocabulary; leave it out of the text`,
      );
    }
    if (pending && !options.fuseUnknown) merger.symbols[count++] = unknown;
    pending = true;
    return count;
  }

  function emit(symbol: number, out: number[], start: number): void {
    const parts = options.parted?.(symbol);
    if (parts !== undefined) {
      for (const part of parts) emit(part, out, start);
      return;
    }
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
      const count = merger.merge(options.tokensOnly ? seedTokens(word) : seed(word));
      for (let i = 0; i < count; i++) emit(merger.symbols[i], out, start);
    }
    if (word.length <= MAX_CACHED_LENGTH && !options.parted) {
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
