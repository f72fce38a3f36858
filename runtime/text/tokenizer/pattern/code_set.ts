/**
 * Sets of Unicode code points, as sorted ranges, and the operations on them that character classes of
 * regular expressions need.
 *
 * @module
 */

/** Sorted, disjoint, inclusive ranges: [first, last, first, last, …]. */
export type CodeSet = readonly number[];

/** The largest code point. */
export const LAST_CODE_POINT = 0x10ffff;

/** Every code point. */
export const ANY: CodeSet = [0, LAST_CODE_POINT];

/** Brings ranges in any order into the form of a set. `pairs` holds first and last in turn. */
export function codeSet(pairs: readonly number[]): CodeSet {
  const ranges: [number, number][] = [];
  for (let i = 0; i < pairs.length; i += 2) ranges.push([pairs[i], pairs[i + 1]]);
  ranges.sort((a, b) => a[0] - b[0]);
  const out: number[] = [];
  for (const [first, last] of ranges) {
    if (out.length > 0 && first <= out[out.length - 1] + 1) {
      out[out.length - 1] = Math.max(out[out.length - 1], last);
    } else out.push(first, last);
  }
  return out;
}

/** The set of the characters of a text. */
export function setOf(text: string): CodeSet {
  return codeSet([...text].flatMap((c) => [c.codePointAt(0)!, c.codePointAt(0)!]));
}

/** What is in one set or another. */
export function union(...sets: readonly CodeSet[]): CodeSet {
  return sets.length === 1 ? sets[0] : codeSet(sets.flat());
}

/** What is not in a set. */
export function invert(set: CodeSet): CodeSet {
  const out: number[] = [];
  let next = 0;
  for (let i = 0; i < set.length; i += 2) {
    if (set[i] > next) out.push(next, set[i] - 1);
    next = set[i + 1] + 1;
  }
  if (next <= LAST_CODE_POINT) out.push(next, LAST_CODE_POINT);
  return out;
}

/** What is in both sets. */
export function intersect(a: CodeSet, b: CodeSet): CodeSet {
  const out: number[] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    const first = Math.max(a[i], b[j]), last = Math.min(a[i + 1], b[j + 1]);
    if (first <= last) out.push(first, last);
    if (a[i + 1] < b[j + 1]) i += 2;
    else j += 2;
  }
  return out;
}

/** Code points divided into classes that no set of a pattern tells apart. */
export interface CodeClasses {
  /** How many classes there are. */
  readonly count: number;
  /** The class of each UTF-16 unit. [65536], {@linkcode SURROGATE} for the first half of a pair */
  readonly ofUnit: Uint16Array;
  /** The class of a code point beyond the basic plane. */
  ofCodePoint(code: number): number;
  /** Whether a set holds the code points of a class. [sets][classes] */
  readonly members: readonly Uint8Array[];
}

/** Marks in `ofUnit` the units whose code point takes another unit. */
export const SURROGATE = 0xffff;

/** Divides all code points by the sets that they are in. */
export function divide(sets: readonly CodeSet[]): CodeClasses {
  const borders = new Set<number>([0]);
  for (const set of sets) {
    for (let i = 0; i < set.length; i += 2) borders.add(set[i]).add(set[i + 1] + 1);
  }
  borders.delete(LAST_CODE_POINT + 1);
  const starts = Int32Array.from(borders).sort(); // [segments]
  const classes = new Uint16Array(starts.length); // [segments]
  const cursor = new Int32Array(sets.length); // the range of each set that may hold the segment
  const known = new Map<string, number>();
  const members: number[][] = []; // [classes][sets]
  starts.forEach((start, segment) => {
    const inside = sets.map((set, i) => {
      while (cursor[i] < set.length && set[cursor[i] + 1] < start) cursor[i] += 2;
      return cursor[i] < set.length && set[cursor[i]] <= start ? 1 : 0;
    });
    const key = inside.join("");
    let found = known.get(key);
    if (found === undefined) {
      known.set(key, found = members.length);
      members.push(inside);
    }
    classes[segment] = found;
  });
  const ofUnit = new Uint16Array(0x10000);
  starts.forEach((start, segment) => {
    const end = segment + 1 < starts.length ? starts[segment + 1] : LAST_CODE_POINT + 1;
    if (start < 0x10000) ofUnit.fill(classes[segment], start, Math.min(end, 0x10000));
  });
  ofUnit.fill(SURROGATE, 0xd800, 0xdc00);
  return {
    count: members.length,
    ofUnit,
    members: sets.map((_, i) => Uint8Array.from(members, (inside) => inside[i])),
    ofCodePoint(code) {
      let low = 0, high = starts.length;
      while (high - low > 1) {
        const middle = (low + high) >> 1;
        if (starts[middle] <= code) low = middle;
        else high = middle;
      }
      return classes[low];
    },
  };
}
