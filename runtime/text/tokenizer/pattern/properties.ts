/**
 * Named sets of code points: Unicode properties and POSIX classes as Oniguruma names them, and letters
 * that differ only in case. The data are the JavaScript engine's own.
 *
 * @module
 */

import { type CodeSet, codeSet, intersect, invert, LAST_CODE_POINT, union } from "./code_set.ts";

// All assigned code points but private ones lie below the first border or between the other two.
const TABLES: readonly [first: number, end: number][] = [[0, 0x34000], [0xe0000, 0xe1000]];
const sets = new Map<string, CodeSet>();
let texts: readonly string[] | undefined;

/** The code points that a JavaScript property escape holds, as "L" or "Script=Han". */
function property(name: string): CodeSet | undefined {
  const known = sets.get(name);
  if (known) return known;
  let single: RegExp, runs: RegExp;
  try {
    single = new RegExp(`^\\p{${name}}$`, "u");
    runs = new RegExp(`\\p{${name}}+`, "gu");
  } catch {
    return undefined;
  }
  texts ??= TABLES.map(([first, end]) => {
    const units = new Uint16Array(2 * (end - first));
    let count = 0;
    for (let code = first; code < end; code++) {
      if (code > 0xffff) {
        units[count++] = 0xd7c0 + (code >> 10);
        units[count++] = 0xdc00 + (code & 0x3ff);
      } else units[count++] = code >= 0xd800 && code < 0xe000 ? 0 : code; // no lone surrogates
    }
    return new TextDecoder("utf-16le", { ignoreBOM: true }).decode(units.subarray(0, count));
  });
  const pairs: number[] = [];
  TABLES.forEach(([first], i) => {
    const supplementary = first === 0 ? 0x10000 : 0; // the index where pairs begin
    const codeAt = (index: number): number =>
      first === 0 && index <= supplementary
        ? index
        : first + supplementary + (index - supplementary) / 2;
    for (const { 0: run, index } of texts![i].matchAll(runs)) {
      pairs.push(codeAt(index), codeAt(index + run.length) - 1);
    }
  });
  // What the tables leave out is of one kind from border to border.
  let found = codeSet(pairs);
  const surrogates: CodeSet = [0xd800, 0xdfff];
  found = single.test("\ud800") ? union(found, surrogates) : intersect(found, invert(surrogates));
  const rest: number[] = [];
  const planes = [[0x34000, 0xdffff], [0xe1000, 0xeffff], [0xf0000, 0xffffd], [0xffffe, 0xfffff]];
  for (const [first, last] of [...planes, [0x100000, 0x10fffd], [0x10fffe, LAST_CODE_POINT]]) {
    if (single.test(String.fromCodePoint(first))) rest.push(first, last);
  }
  found = codeSet([...found, ...rest]);
  sets.set(name, found);
  return found;
}

const must = (name: string): CodeSet => property(name)!;
const without = (set: CodeSet, ...others: CodeSet[]): CodeSet =>
  intersect(set, invert(union(...others)));

const ASCII_SYMBOLS: CodeSet = codeSet([..."$+<=>^`|~"].flatMap((c) => {
  const code = c.charCodeAt(0);
  return [code, code];
}));

/** POSIX classes with their Unicode meaning in Oniguruma; also the names that only it has. */
const POSIX: Readonly<Record<string, () => CodeSet>> = {
  alnum: () => union(must("Alphabetic"), must("Nd")),
  alpha: () => must("Alphabetic"),
  ascii: () => [0, 0x7f],
  blank: () => union(must("Zs"), [9, 9]),
  cntrl: () => must("Cc"),
  digit: () => must("Nd"),
  graph: () => without(invert(must("White_Space")), must("Cc"), must("Cn"), must("Cs")),
  lower: () => must("Lowercase"),
  print: () =>
    union(without(invert(must("White_Space")), must("Cc"), must("Cn"), must("Cs")), must("Zs")),
  punct: () => union(must("P"), ASCII_SYMBOLS),
  space: () => must("White_Space"),
  upper: () => must("Uppercase"),
  xdigit: () => [0x30, 0x39, 0x41, 0x46, 0x61, 0x66],
  word: () => union(must("Alphabetic"), must("M"), must("Nd"), must("Pc")),
  any: () => [0, LAST_CODE_POINT],
  assigned: () => invert(must("Cn")),
};

/** A POSIX class, as in `[[:alpha:]]`; undefined for a name that there is not. */
export function posixClass(name: string): CodeSet | undefined {
  return Object.hasOwn(POSIX, name) && name !== "any" && name !== "assigned"
    ? POSIX[name]()
    : undefined;
}

/** The set of `\w`, `\d`, `\s` or `\h` (a hexadecimal digit, in Oniguruma). */
export function shorthand(letter: string): CodeSet {
  return POSIX[{ w: "word", d: "digit", s: "space", h: "xdigit" }[letter]!]();
}

/** The set of `\p{name}`, names as Oniguruma takes them; undefined for one that there is not. */
export function unicodeProperty(name: string): CodeSet | undefined {
  const plain = name.toLowerCase().replace(/[\s_-]/g, "");
  if (Object.hasOwn(POSIX, plain)) return POSIX[plain]();
  const words = name.trim().split(/[\s_-]+/);
  const titled = words.map((word) => word.slice(0, 1).toUpperCase() + word.slice(1).toLowerCase())
    .join("_");
  const candidates = [name.trim(), titled, titled.toUpperCase()];
  for (const candidate of candidates) {
    if (!/^\w+$/.test(candidate)) continue;
    const found = property(candidate) ?? property(`Script=${candidate}`);
    if (found) return found;
  }
  return undefined;
}

let folds: Map<number, readonly number[]> | undefined;

/** A set together with every code point that differs from one in it only by case. */
export function ignoringCase(set: CodeSet): CodeSet {
  folds ??= caseGroups();
  const pairs = [...set];
  for (const [code, group] of folds) {
    if (intersect(set, [code, code]).length > 0) { for (const it of group) pairs.push(it, it); }
  }
  return codeSet(pairs);
}

/** Code points by those that they are equal to when case is ignored. */
function caseGroups(): Map<number, readonly number[]> {
  const groups = new Map<string, number[]>();
  const cased = union(must("Changes_When_Casemapped"), must("Changes_When_Casefolded"));
  for (let i = 0; i < cased.length; i += 2) {
    for (let code = cased[i]; code <= cased[i + 1]; code++) {
      const text = String.fromCodePoint(code);
      const upper = text.toUpperCase();
      const key = ([...upper].length === 1 ? upper : text).toLowerCase();
      const group = groups.get(key);
      if (group) group.push(code);
      else groups.set(key, [code]);
    }
  }
  const byCode = new Map<number, readonly number[]>();
  for (const group of groups.values()) {
    if (group.length > 1) { for (const code of group) byCode.set(code, group); }
  }
  return byCode;
}
