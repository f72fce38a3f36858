/**
 * The merge loop of byte-pair encoding and the two rule books it runs on. A rule book says which
 * neighbours may merge, how urgently, and into what: a ranked list of pairs (GPT-2 and its heirs,
 * Sennrich et al. 2016), or the scores of the pieces themselves (SentencePiece, Kudo and Richardson
 * 2018). Not here: how a word becomes symbols, and symbols become tokens.
 *
 * Why not `BPE` of `@huggingface/tokenizers`: it has no merging by score, and it makes a string key for
 * every pair that it looks up (a word of a million letters takes it 6 s, against 0.4 s here).
 *
 * @module
 */

import { PairTable } from "./tables.ts";

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
  /** Is told of every pair that may merge, when it comes about. */
  offered?(left: number, right: number, rule: number): void;
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
  const sorted = Float64Array.from(scores).sort();
  /** How many scores are greater. */
  const rank = (score: number): number => {
    let low = 0, high = sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle]! > score) high = middle;
      else low = middle + 1;
    }
    return sorted.length - low;
  };
  const priority = new Int32Array(scores.length), result = new Int32Array(scores.length);
  for (let id = 0; id < scores.length; id++) {
    priority[id] = rank(scores[id]!);
    result[id] = id;
  }
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
    priority,
    result,
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
    this.#rules.offered?.(this.symbols[left], this.symbols[right], rule);
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
