/**
 * Two small data structures that every tokenizer model here is built on: a hash table from pairs
 * of integers, and a trie over UTF-16 units made from it. Flat typed arrays, because a vocabulary
 * has hundreds of thousands of entries and JavaScript maps of maps cost ten times the memory.
 *
 * @module
 */

import { FormatError } from "../../../errors.ts";
import { quote } from "../../../escape.ts";

/** A map from pairs of integers (both at least 0) to integers at least 0. */
export class PairTable {
  #left: Int32Array<ArrayBuffer>;
  #right: Int32Array<ArrayBuffer>;
  #value: Int32Array<ArrayBuffer>; // -1 marks an empty entry
  #size = 0;

  /** A table with room for `expected` pairs before it grows. */
  constructor(expected = 16) {
    let capacity = 32;
    while (capacity < 2 * expected) capacity *= 2;
    this.#left = new Int32Array(capacity);
    this.#right = new Int32Array(capacity);
    this.#value = new Int32Array(capacity).fill(-1);
  }

  /** How many pairs are stored. */
  get size(): number {
    return this.#size;
  }

  /** The value of a pair, or -1. */
  get(left: number, right: number): number {
    return this.#value[this.#entry(left, right)];
  }

  /** Stores a value (at least 0), replacing the one that the pair had. */
  set(left: number, right: number, value: number): void {
    if (2 * (this.#size + 1) > this.#value.length) this.#grow();
    const entry = this.#entry(left, right);
    if (this.#value[entry] < 0) this.#size++;
    this.#left[entry] = left;
    this.#right[entry] = right;
    this.#value[entry] = value;
  }

  /** Forgets every pair and keeps the room. */
  clear(): void {
    this.#value.fill(-1);
    this.#size = 0;
  }

  #entry(left: number, right: number): number {
    const mask = this.#value.length - 1;
    let hash = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
    let entry = (hash ^ (hash >>> 13)) & mask;
    while (
      this.#value[entry] >= 0 && (this.#left[entry] !== left || this.#right[entry] !== right)
    ) entry = (entry + 1) & mask;
    return entry;
  }

  #grow(): void {
    const [left, right, value] = [this.#left, this.#right, this.#value];
    this.#left = new Int32Array(2 * left.length);
    this.#right = new Int32Array(2 * left.length);
    this.#value = new Int32Array(2 * left.length).fill(-1);
    for (let i = 0; i < value.length; i++) {
      if (value[i] < 0) continue;
      const entry = this.#entry(left[i], right[i]);
      this.#left[entry] = left[i];
      this.#right[entry] = right[i];
      this.#value[entry] = value[i];
    }
  }
}

/** UTF-16 units of the longest token; those of published vocabularies have at most a few hundred. */
const MAX_TOKEN = 1024;

/** A set of strings with a number each, walked one UTF-16 unit at a time from node 0. */
export class Trie {
  #children = new PairTable(1024); // (node, unit) → node
  #values = new Int32Array(1024).fill(-1); // [node]
  #nodes = 1;

  /**
   * Adds a string; a string that is there already keeps its first value.
   *
   * @throws FormatError for a string that is too long: at every place of a text the walk may go so far
   */
  add(text: string, value: number): void {
    if (text.length > MAX_TOKEN) {
      throw new FormatError(
        `Cannot read the tokenizer: token ${
          quote(text, 20)
        } has ${text.length} characters, expected ` +
          `at most ${MAX_TOKEN}; the file is damaged`,
      );
    }
    let node = 0;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      let next = this.#children.get(node, unit);
      if (next < 0) {
        next = this.#nodes++;
        this.#children.set(node, unit, next);
        if (next === this.#values.length) {
          const values = new Int32Array(2 * next).fill(-1);
          values.set(this.#values);
          this.#values = values;
        }
      }
      node = next;
    }
    if (this.#values[node] < 0) this.#values[node] = value;
  }

  /** The node that a unit leads to, or -1. */
  child(node: number, unit: number): number {
    return this.#children.get(node, unit);
  }

  /** The value of the string that ends in a node, or -1. */
  value(node: number): number {
    return this.#values[node];
  }

  /** The longest string that starts at `start`: its end (`start` when there is none) and value. */
  longest(text: string, start: number): { end: number; value: number } {
    let found = { end: start, value: -1 };
    for (let node = 0, i = start; i < text.length;) {
      node = this.#children.get(node, text.charCodeAt(i++));
      if (node < 0) break;
      if (this.#values[node] >= 0) found = { end: i, value: this.#values[node] };
    }
    return found;
  }
}
