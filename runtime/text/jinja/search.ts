/**
 * Where one text occurs in another, in time that grows with their lengths and no faster. JavaScript's own
 * `indexOf` and `lastIndexOf` compare almost the whole part at every position when a template asks for it
 * ("aaa…b" in "aaa…"), and nothing can end them: they serve where that is little, and the algorithm of
 * Knuth, Morris and Pratt does the rest under the budget.
 *
 * @module
 */

import type { Budget } from "./budget.ts";

/** Most comparisons that the engine's own search may come to; about two milliseconds. */
const QUICK = 1 << 21;

/** Finds one part again and again. */
export interface Finder {
  /** The first occurrence that begins at a position or after it; -1 where there is none. */
  after(position: number): number;
  /** The last occurrence that ends at a position or before it; -1 where there is none. */
  before(position: number): number;
}

/** A finder of a part in a text, both in UTF-16 units. */
export function finder(budget: Budget, text: string, part: string): Finder {
  const { length } = part;
  if (length <= 1 || text.length * length <= QUICK) {
    return {
      after: (position) => text.indexOf(part, position),
      before: (position) => position < length ? -1 : text.lastIndexOf(part, position - length),
    };
  }
  let forward: Int32Array | undefined;
  let backward: Int32Array | undefined;
  return {
    after(position) {
      const unit = (i: number): number => part.charCodeAt(i);
      forward ??= borders(budget, length, unit);
      let matched = 0;
      for (let i = position; i < text.length; i++) {
        if (i % 64 === 0) budget.step();
        const next = text.charCodeAt(i);
        while (matched > 0 && unit(matched) !== next) matched = forward[matched - 1];
        if (unit(matched) === next && ++matched === length) return i + 1 - length;
      }
      return -1;
    },
    before(position) {
      const unit = (i: number): number => part.charCodeAt(length - 1 - i);
      backward ??= borders(budget, length, unit);
      let matched = 0;
      for (let i = Math.min(position, text.length) - 1; i >= 0; i--) {
        if (i % 64 === 0) budget.step();
        const next = text.charCodeAt(i);
        while (matched > 0 && unit(matched) !== next) matched = backward[matched - 1];
        if (unit(matched) === next && ++matched === length) return i;
      }
      return -1;
    },
  };
}

/** For each beginning of the part, how long the longest other beginning is that it ends with. */
function borders(budget: Budget, length: number, unit: (i: number) => number): Int32Array {
  budget.read(4 * length);
  const found = new Int32Array(length);
  for (let i = 1, matched = 0; i < length; i++) {
    while (matched > 0 && unit(matched) !== unit(i)) matched = found[matched - 1];
    if (unit(matched) === unit(i)) matched++;
    found[i] = matched;
  }
  return found;
}
