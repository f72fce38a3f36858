/**
 * Character classes and escaped characters in Oniguruma's syntax, read into sets.
 *
 * @module
 */

import { type CodeSet, intersect, invert, LAST_CODE_POINT, union } from "./code_set.ts";
import { quote } from "../../../../escape.ts";
import { posixClass, shorthand, unicodeProperty } from "./properties.ts";
import { type Cursor, PatternError } from "./tree.ts";

const MAX_DEPTH = 50;
const SIMPLE: Readonly<Record<string, number>> = {
  n: 10,
  t: 9,
  r: 13,
  f: 12,
  v: 11,
  a: 7,
  e: 27,
};

/** Reads "[…]" at the cursor: its members, and whether "^" says that they are the ones left out. */
export function readClass(cursor: Cursor, depth = 0): { set: CodeSet; negate: boolean } {
  const { source } = cursor;
  if (depth > MAX_DEPTH) throw new PatternError(`classes nested at most ${MAX_DEPTH} deep`);
  cursor.at++; // "["
  const negate = source[cursor.at] === "^";
  if (negate) cursor.at++;
  let whole: CodeSet | undefined; // what stands before "&&"
  let sets: CodeSet[] = [];
  const start = cursor.at;
  while (true) {
    const sign = source[cursor.at];
    if (sign === undefined) throw new PatternError('a class that ends in "]"');
    if (sign === "]" && cursor.at > start) break;
    if (sign === "]" && !source.includes("]", cursor.at + 1)) {
      throw new PatternError("a class with a character in it");
    }
    if (source.startsWith("&&", cursor.at)) {
      cursor.at += 2;
      whole = whole ? intersect(whole, union(...sets)) : union(...sets);
      sets = [];
    } else if (sign === "[") sets.push(readPosix(cursor) ?? readInner(cursor, depth + 1));
    else sets.push(readRange(cursor));
  }
  cursor.at++;
  const set = union(...sets);
  return { set: whole ? intersect(whole, set) : set, negate };
}

function readInner(cursor: Cursor, depth: number): CodeSet {
  const { set, negate } = readClass(cursor, depth);
  return negate ? invert(set) : set;
}

/** "[:alpha:]" or "[:^alpha:]" at the cursor, else undefined. */
function readPosix(cursor: Cursor): CodeSet | undefined {
  const found = /^\[:(\^?)(\w+):\]/.exec(cursor.source.slice(cursor.at, cursor.at + 24));
  if (!found) return undefined;
  const set = posixClass(found[2]);
  if (!set) throw new PatternError(`a POSIX class that there is, not ${quote(found[2])}`);
  cursor.at += found[0].length;
  return found[1] === "" ? set : invert(set);
}

/** One character, a range, or an escape that stands for a set. */
function readRange(cursor: Cursor): CodeSet {
  const { source } = cursor;
  const first = readMember(cursor);
  if (typeof first !== "number") return first;
  if (source[cursor.at] !== "-" || source[cursor.at + 1] === "]") return [first, first];
  if (source[cursor.at + 1] === undefined) throw new PatternError('a class that ends in "]"');
  if (source[cursor.at + 1] === "[" || source.startsWith("&&", cursor.at + 1)) {
    return [first, first]; // the "-" is a character
  }
  cursor.at++;
  const last = readMember(cursor);
  if (typeof last !== "number") throw new PatternError("a range that ends in a character");
  if (last < first) throw new PatternError("a range that ends after its beginning");
  return [first, last];
}

function readMember(cursor: Cursor): number | CodeSet {
  if (cursor.source[cursor.at] === "\\") {
    const letter = cursor.source[cursor.at + 1] ?? "";
    if (letter === "b") {
      cursor.at += 2;
      return 8;
    }
    if (letter !== "" && "wdsh".includes(letter.toLowerCase())) {
      cursor.at += 2;
      const set = shorthand(letter.toLowerCase());
      return letter >= "a" ? set : invert(set);
    }
    return readEscapedCode(cursor);
  }
  const code = cursor.source.codePointAt(cursor.at)!;
  cursor.at += code > 0xffff ? 2 : 1;
  return code;
}

/** Reads an escape that stands for a character, or `\p{…}`, which stands for a set. */
export function readEscapedCode(cursor: Cursor): number | CodeSet {
  const rest = cursor.source.slice(cursor.at + 1, cursor.at + 80);
  const found =
    /^(?:([pP])\{(\^?)([^{}]+)\}|x\{([0-9a-fA-F]{1,8})\}|x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|([0-7]{1,3})|c([ -~])|C-([ -~]))/
      .exec(rest);
  if (!found) {
    const code = rest.codePointAt(0);
    if (code === undefined) throw new PatternError('a pattern that does not end in "\\"');
    cursor.at += code > 0xffff ? 3 : 2;
    const letter = String.fromCodePoint(code);
    return Object.hasOwn(SIMPLE, letter) ? SIMPLE[letter] : code;
  }
  cursor.at += 1 + found[0].length;
  const [, p, hat, name, wide, byte, unit, octal, control, control2] = found;
  if (p !== undefined) {
    const set = unicodeProperty(name);
    if (!set) {
      throw new PatternError(`a Unicode property that there is, not ${quote(name.slice(0, 40))}`);
    }
    return (p === "P") !== (hat === "^") ? invert(set) : set;
  }
  const letter = control ?? control2;
  const code = letter !== undefined
    ? letter.charCodeAt(0) & 0x1f
    : octal !== undefined
    ? parseInt(octal, 8)
    : parseInt(wide ?? byte ?? unit, 16);
  if (code > LAST_CODE_POINT) throw new PatternError("code points up to 10FFFF");
  return code;
}
