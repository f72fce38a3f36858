/**
 * Byte-pair encoding: the merge loop and the two rule books it runs on. A rule book says which
 * neighbours may merge, how urgently, and into what: a ranked list of pairs (GPT-2 and its heirs,
 * Sennrich et al. 2016), or the scores of the pieces themselves (SentencePiece, Kudo and Richardson
 * 2018). Not here: what a word is, and special tokens.
 *
 * Why not `BPE` of `@huggingface/tokenizers`: it has no merging by score, it copies and joins strings in
 * every step (100 000 letters in one word take 0.7 s against 40 ms here), and `output.push(...)`
 * of a long result overflows the stack.
 *
 * @module
 */

import { PairTable } from "./tokenizer_tables.ts";

/** Turns one word into token ids, appended to `out`. */
export interface WordModel {
  /** Appends the ids of `word`. */
  encode(word: string, out: number[]): void;
}

/** Token texts by id, and past the vocabulary the texts that only merging needs. */
export class Symbols {
  /** How many of the ids are tokens; the ids above exist only while a word is merged. */
  readonly vocabSize: number;
  readonly #tokens: readonly (string | undefined)[];
  readonly #ids: ReadonlyMap<string, number>;
  readonly #extraTexts: string[] = [];
  readonly #extraIds = new Map<string, number>();

  /** Starts from a vocabulary, which is read and never written. */
  constructor(tokens: readonly (string | undefined)[], ids: ReadonlyMap<string, number>) {
    this.vocabSize = tokens.length;
    this.#tokens = tokens;
    this.#ids = ids;
  }

  /** The text of an id that exists. */
  text(id: number): string {
    return id < this.vocabSize ? this.#tokens[id] ?? "" : this.#extraTexts[id - this.vocabSize];
  }

  /** The id of a token, or undefined. */
  token(text: string): number | undefined {
    return this.#ids.get(text);
  }

  /** The id of a text; a text that is not a token gets an id above the vocabulary. */
  intern(text: string): number {
    let id = this.#ids.get(text) ?? this.#extraIds.get(text);
    if (id === undefined) {
      id = this.vocabSize + this.#extraTexts.push(text) - 1;
      this.#extraIds.set(text, id);
    }
    return id;
  }
}

/** Which neighbours merge. A rule is a number that indexes `priority` and `result`. */
export interface MergeRules {
  /** The rule for two neighbours, or -1. */
  find(left: number, right: number): number;
  /** Smaller merges first; equal ones from left to right. [rules], each below 2^22 */
  readonly priority: ArrayLike<number>;
  /** The id that replaces the pair. [rules] */
  readonly result: ArrayLike<number>;
}

/** Rules from pairs in order of rank; `pairs` holds left and right ids in turn. */
export function rankedRules(
  pairs: readonly number[],
  result: readonly number[],
): MergeRules {
  const table = new PairTable(result.length);
  for (let rank = 0; rank < result.length; rank++) {
    const [left, right] = [pairs[2 * rank], pairs[2 * rank + 1]];
    if (table.get(left, right) < 0) table.set(left, right, rank);
  }
  return {
    find: (left, right) => table.get(left, right),
    priority: Int32Array.from(result, (_, rank) => rank),
    result: Int32Array.from(result),
  };
}

const ABSENT = 0x7fffffff;
const MAX_CACHED_PAIRS = 1 << 20;

/**
 * SentencePiece rules: two neighbours merge when together they spell a piece, the piece with the
 * highest score first. Deriving all pairs at load would take a second for 256 000 pieces, so a pair
 * is looked up by its spelling once and remembered.
 *
 * @param scores one per token, finite
 * @param mergeable whether a token may come out of a merge (control and byte tokens may not:
 * otherwise plain text could spell them)
 */
export function scoredRules(
  symbols: Symbols,
  scores: ArrayLike<number>,
  mergeable: (id: number) => boolean,
): MergeRules {
  const order = [...new Set(Array.from(scores, (score) => score + 0))].sort((a, b) => b - a);
  const rank = new Map(order.map((score, index) => [score, index]));
  const table = new PairTable(1024);
  return {
    find(left, right) {
      let rule = table.get(left, right);
      if (rule < 0) {
        if (table.size >= MAX_CACHED_PAIRS) table.clear();
        const id = symbols.token(symbols.text(left) + symbols.text(right));
        rule = id !== undefined && mergeable(id) ? id : ABSENT;
        table.set(left, right, rule);
      }
      return rule === ABSENT ? -1 : rule;
    },
    priority: Int32Array.from(scores, (score) => rank.get(score + 0)!),
    result: Int32Array.from(scores, (_, id) => id),
  };
}

// A heap key is priority * 2^30 + position: one float64 that orders by both and stays exact.
const POSITIONS = 2 ** 30;

/** Merges the symbols of one word; keeps its buffers between words. */
export class Merger {
  /** The symbols of the word. [count], then what `merge` left of them */
  symbols: Int32Array<ArrayBuffer> = new Int32Array(256);
  #next = new Int32Array(256);
  #previous = new Int32Array(256);
  #heap = new Float64Array(256);
  #heapSize = 0;
  readonly #rules: MergeRules;

  /** A merger for one rule book. */
  constructor(rules: MergeRules) {
    this.#rules = rules;
  }

  /** Makes room for `count` symbols and gives the buffer to put them in. */
  reserve(count: number): Int32Array<ArrayBuffer> {
    if (count > this.symbols.length) {
      const size = 2 ** Math.ceil(Math.log2(count));
      this.symbols = new Int32Array(size);
      this.#next = new Int32Array(size);
      this.#previous = new Int32Array(size);
    }
    return this.symbols;
  }

  /** Merges `symbols[0..count)` in place as far as the rules go; the count that is left. */
  merge(count: number): number {
    const { symbols } = this;
    const [next, previous, rules] = [this.#next, this.#previous, this.#rules];
    this.#heapSize = 0;
    for (let i = 0; i < count; i++) {
      next[i] = i + 1 < count ? i + 1 : -1;
      previous[i] = i - 1;
    }
    for (let i = 0; i + 1 < count; i++) this.#offer(i, i + 1);
    while (this.#heapSize > 0) {
      const key = this.#pop();
      const left = key % POSITIONS;
      const right = next[left];
      if (symbols[left] < 0 || right < 0) continue;
      // The entry may be older than the symbols: it counts only if the pair that stands
      // there now is as urgent as the one that was offered.
      const rule = rules.find(symbols[left], symbols[right]);
      if (rule < 0 || rules.priority[rule] !== (key - left) / POSITIONS) continue;
      symbols[left] = rules.result[rule];
      symbols[right] = -1;
      next[left] = next[right];
      if (next[right] >= 0) previous[next[right]] = left;
      if (previous[left] >= 0) this.#offer(previous[left], left);
      if (next[left] >= 0) this.#offer(left, next[left]);
    }
    let kept = 0;
    for (let i = 0; i >= 0 && kept < count; i = next[i]) symbols[kept++] = symbols[i];
    return kept;
  }

  #offer(left: number, right: number): void {
    const rule = this.#rules.find(this.symbols[left], this.symbols[right]);
    if (rule < 0) return;
    if (this.#heapSize === this.#heap.length) {
      const heap = new Float64Array(2 * this.#heap.length);
      heap.set(this.#heap);
      this.#heap = heap;
    }
    const heap = this.#heap;
    const key = this.#rules.priority[rule] * POSITIONS + left;
    let at = this.#heapSize++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (heap[parent] <= key) break;
      heap[at] = heap[parent];
      at = parent;
    }
    heap[at] = key;
  }

  #pop(): number {
    const heap = this.#heap;
    const top = heap[0];
    const key = heap[--this.#heapSize];
    const size = this.#heapSize;
    let at = 0;
    for (let child = 1; child < size; child = 2 * at + 1) {
      if (child + 1 < size && heap[child + 1] < heap[child]) child++;
      if (heap[child] >= key) break;
      heap[at] = heap[child];
      at = child;
    }
    if (size > 0) heap[at] = key;
    return top;
  }
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
