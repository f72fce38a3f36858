/**
 * Where one text occurs in another, in time that grows with their lengths and no faster. JavaScript's own
 * `indexOf` and `lastIndexOf` may compare almost the whole part at every position ("aaa…b" in "aaa…"), and
 * nothing can end them: they serve where that is little, and the algorithm of Knuth, Morris and Pratt
 * does the rest.
 *
 * @module
 */

/** Most comparisons that the engine's own search may come to; about two milliseconds. */
const QUICK = 1 << 21;
/** Parts that cost it little in a text of any length. */
const SHORT = 16;

/** Finds one part again and again. */
export interface Finder {
  /** The first occurrence that begins at a position or after it; -1 where there is none. */
  after(position: number): number;
  /** The last occurrence that ends at a position or before it; -1 where there is none. */
  before(position: number): number;
}

/**
 * A finder of a part in a text, both in UTF-16 units.
 *
 * @param step called again and again, about once for 64 units, by searches that may take long
 */
export function finder(text: string, part: string, step: () => void = () => {}): Finder {
  const { length } = part;
  if (length <= SHORT || text.length * length <= QUICK) {
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
      forward ??= borders(length, unit, step);
      let matched = 0;
      for (let i = position; i < text.length; i++) {
        if (i % 64 === 0) step();
        const next = text.charCodeAt(i);
        while (matched > 0 && unit(matched) !== next) matched = forward[matched - 1];
        if (unit(matched) === next && ++matched === length) return i + 1 - length;
      }
      return -1;
    },
    before(position) {
      const unit = (i: number): number => part.charCodeAt(length - 1 - i);
      backward ??= borders(length, unit, step);
      let matched = 0;
      for (let i = Math.min(position, text.length) - 1; i >= 0; i--) {
        if (i % 64 === 0) step();
        const next = text.charCodeAt(i);
        while (matched > 0 && unit(matched) !== next) matched = backward[matched - 1];
        if (unit(matched) === next && ++matched === length) return i;
      }
      return -1;
    },
  };
}

/** For each beginning of the part, how long the longest other beginning is that it ends with. */
function borders(length: number, unit: (i: number) => number, step: () => void): Int32Array {
  const found = new Int32Array(length);
  for (let i = 1, matched = 0; i < length; i++) {
    if (i % 64 === 0) step();
    while (matched > 0 && unit(matched) !== unit(i)) matched = found[matched - 1];
    if (unit(matched) === unit(i)) matched++;
    found[i] = matched;
  }
  return found;
}
