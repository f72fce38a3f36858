/**
 * The syntax of regular expressions in tokenizer.json, which is Oniguruma's, read into a tree. What takes more
 * than linear time to match, or is not regular (back references, recursion, absent operators), is
 * refused. Groups capture nothing: only where a match begins and ends is ever asked.
 *
 * Reference: https://github.com/kkos/oniguruma/blob/master/doc/RE
 *
 * @module
 */

import { readClass, readEscapedCode } from "./classes.ts";
import { quote } from "../../../../escape.ts";
import { ANY, invert, setOf } from "./code_set.ts";
import { foldedClass, foldedLiteral, foldSequences } from "./fold.ts";
import { shorthand } from "./properties.ts";
import { type Cursor, type Edge, type Node, PatternError } from "./tree.ts";

interface Flags {
  readonly ignoreCase: boolean;
  readonly dotAll: boolean;
  readonly extended: boolean;
}

const MAX_DEPTH = 200;
const MAX_COUNT = 100_000; // Oniguruma's own
const LINE_BREAK = setOf("\n");
const EDGES: Readonly<Record<string, Edge>> = {
  A: "textStart",
  z: "textEnd",
  Z: "lastLineEnd",
  b: "word",
  B: "notWord",
};

/**
 * Reads a pattern.
 *
 * @throws PatternError for a pattern that is malformed or asks for what is not supported
 */
export function parsePattern(source: string): Node {
  const cursor: Cursor = { source, at: 0 };
  const node = readChoice(
    cursor,
    { ignoreCase: false, dotAll: false, extended: false },
    0,
  );
  if (cursor.at < source.length) throw new PatternError("a pattern whose parentheses match");
  return node;
}

function readChoice(cursor: Cursor, flags: Flags, depth: number): Node {
  if (depth > MAX_DEPTH) throw new PatternError(`groups nested at most ${MAX_DEPTH} deep`);
  const options = [readSequence(cursor, flags, depth)];
  while (cursor.source[cursor.at] === "|") {
    cursor.at++;
    options.push(readSequence(cursor, flags, depth));
  }
  return options.length === 1 ? options[0] : { kind: "choice", options };
}

function readSequence(cursor: Cursor, flags: Flags, depth: number): Node {
  const { source } = cursor;
  const parts: Node[] = [];
  while (cursor.at < source.length && source[cursor.at] !== "|" && source[cursor.at] !== ")") {
    if (flags.extended && skipBlank(cursor)) continue;
    if (source.startsWith("(?#", cursor.at)) {
      const end = source.indexOf(")", cursor.at);
      if (end < 0) throw new PatternError("a comment that ends");
      cursor.at = end + 1;
      continue;
    }
    const options = /^\(\?([a-zA-Z]*)(-[a-zA-Z]+)?\)/.exec(source.slice(cursor.at, cursor.at + 16));
    if (options) {
      // Options without a colon hold to the end of the group, alternatives included.
      cursor.at += options[0].length;
      parts.push(readChoice(cursor, withOptions(flags, options[1], options[2]), depth + 1));
      break;
    }
    parts.push(readRepeated(cursor, readAtom(cursor, flags, depth)));
  }
  const joined = flags.ignoreCase ? foldSequences(parts) : parts;
  return joined.length === 1 ? joined[0] : { kind: "sequence", parts: joined };
}

function skipBlank(cursor: Cursor): boolean {
  const skipped = /^(?:\s+|#[^\n]*)/.exec(cursor.source.slice(cursor.at));
  cursor.at += skipped?.[0].length ?? 0;
  return skipped !== null;
}

function withOptions(flags: Flags, on: string, off = ""): Flags {
  const value = (letter: string, now: boolean): boolean =>
    on.includes(letter) ? !off.includes(letter) : now && !off.includes(letter);
  if (!/^[imx]*$/.test(on) || !/^-?[imx]*$/.test(off)) {
    throw new PatternError('a pattern without options other than "i", "m" and "x"');
  }
  return {
    ignoreCase: value("i", flags.ignoreCase),
    dotAll: value("m", flags.dotAll),
    extended: value("x", flags.extended),
  };
}

function readAtom(cursor: Cursor, flags: Flags, depth: number): Node {
  const { source } = cursor;
  const character = String.fromCodePoint(source.codePointAt(cursor.at)!);
  switch (character) {
    case "(":
      return readGroup(cursor, flags, depth);
    case "[": {
      const { set, negate } = readClass(cursor);
      if (flags.ignoreCase) return foldedClass(set, negate);
      return { kind: "set", set: negate ? invert(set) : set };
    }
    case ".":
      cursor.at++;
      return { kind: "set", set: flags.dotAll ? ANY : invert(LINE_BREAK) };
    case "^":
      cursor.at++;
      return { kind: "edge", edge: "lineStart" };
    case "$":
      cursor.at++;
      return { kind: "edge", edge: "lineEnd" };
    case "\\":
      return readEscape(cursor, flags);
    case "*":
    case "+":
    case "?":
      throw new PatternError(`something for ${quote(character)} to repeat`);
    case "{":
      if (readCount(source, cursor.at)) throw new PatternError(`something for "{" to repeat`);
  }
  cursor.at += character.length;
  return literal(character, flags);
}

function literal(character: string, flags: Flags): Node {
  return flags.ignoreCase
    ? foldedLiteral(character)
    : { kind: "set", set: setOf(character), literal: character };
}

function readGroup(cursor: Cursor, flags: Flags, depth: number): Node {
  const rest = cursor.source.slice(cursor.at, cursor.at + 80);
  const close = (node: Node): Node => {
    if (cursor.source[cursor.at] !== ")") {
      throw new PatternError("a pattern whose parentheses match");
    }
    cursor.at++;
    return node;
  };
  const inside = (skipped: number, inner = flags): Node => {
    cursor.at += skipped;
    return close(readChoice(cursor, inner, depth + 1));
  };
  const look = /^\(\?(<?)([=!])/.exec(rest);
  if (look) {
    const ahead = look[1] === "", negate = look[2] === "!";
    return { kind: "look", body: inside(look[0].length), ahead, negate };
  }
  if (rest.startsWith("(?>")) return { kind: "atomic", body: inside(3) };
  if (!rest.startsWith("(?")) return inside(1);
  const named = /^\(\?<[^\W\d]\w*>/u.exec(rest);
  if (named) return inside(named[0].length);
  const options = /^\(\?([a-zA-Z]*)(-[a-zA-Z]+)?:/.exec(rest);
  if (options) return inside(options[0].length, withOptions(flags, options[1], options[2]));
  throw new PatternError(`a pattern without the group ${quote(rest.slice(0, 3))}`);
}

function readEscape(cursor: Cursor, flags: Flags): Node {
  const letter = cursor.source[cursor.at + 1];
  if (letter === undefined) throw new PatternError('a pattern that does not end in "\\"');
  if (letter in EDGES) {
    cursor.at += 2;
    return { kind: "edge", edge: EDGES[letter] };
  }
  if ("wdsh".includes(letter.toLowerCase())) {
    cursor.at += 2;
    const set = shorthand(letter.toLowerCase());
    return { kind: "set", set: letter >= "a" ? set : invert(set) };
  }
  if (/^\\[pP]\{/.test(cursor.source.slice(cursor.at, cursor.at + 3))) {
    const set = readEscapedCode(cursor);
    if (typeof set === "number") throw new PatternError("a property in braces");
    return { kind: "set", set };
  }
  switch (letter) {
    case "N":
    case "O":
      cursor.at += 2;
      return { kind: "set", set: letter === "N" ? invert(LINE_BREAK) : ANY };
    case "R": {
      cursor.at += 2;
      const set = (text: string): Node => ({ kind: "set", set: setOf(text) });
      const pair: Node = { kind: "sequence", parts: [set("\r"), set("\n")] };
      const single = set("\n\v\f\r\x85\u2028\u2029");
      return { kind: "atomic", body: { kind: "choice", options: [pair, single] } };
    }
    case "G":
    case "K":
    case "X":
    case "k":
    case "g":
    case "y":
    case "Y":
      throw new PatternError(`a pattern without "\\${letter}"`);
  }
  if (letter >= "1" && letter <= "9" && !/^[0-7]{2,3}/.test(cursor.source.slice(cursor.at + 1))) {
    throw new PatternError("a pattern without back references");
  }
  const code = readEscapedCode(cursor);
  if (typeof code !== "number") throw new PatternError("a character");
  return literal(String.fromCodePoint(code), flags);
}

/** A count in braces: its bounds and its length, or undefined where the braces are literal. */
function readCount(
  source: string,
  at: number,
): { min: number; max: number; isSingle: boolean; length: number } | undefined {
  const found = /^\{(\d*)(,?)(\d*)\}/.exec(source.slice(at, at + 24));
  if (!found || found[1] + found[3] === "") return undefined;
  const [all, first, comma, last] = found;
  const min = Number(first || 0);
  const max = comma === "" ? min : last === "" ? Infinity : Number(last);
  if (min > MAX_COUNT || (max !== Infinity && max > MAX_COUNT)) {
    throw new PatternError(`counts of at most ${MAX_COUNT}`);
  }
  return { min, max, isSingle: comma === "", length: all.length };
}

/** Reads what follows an atom: "*", "+", "?", counts, and how eager they are. */
function readRepeated(cursor: Cursor, atom: Node): Node {
  const { source } = cursor;
  const SIGNS: Readonly<Record<string, [number, number]>> = {
    "*": [0, Infinity],
    "+": [1, Infinity],
    "?": [0, 1],
  };
  let node = atom;
  for (let depth = 0;; depth++) {
    const sign = source[cursor.at];
    const count = sign === "{" ? readCount(source, cursor.at) : undefined;
    if (!(sign in SIGNS) && !count) return node;
    if (node.kind === "edge" || node.kind === "look") {
      if (count) {
        // It takes no characters: once is as good as often.
        cursor.at += count.length;
        const min = Math.min(count.min, 1), max = Math.min(count.max, 1);
        node = { kind: "repeat", body: node, min, max, mode: "greedy" };
        continue;
      }
      throw new PatternError(`something for ${quote(sign)} to repeat that has a length`);
    }
    if (depth >= 16) throw new PatternError("at most 16 repetitions of one part");
    if (!count) {
      const [min, max] = SIGNS[sign];
      cursor.at++;
      const mode = source[cursor.at];
      if (mode === "?" || mode === "+") cursor.at++;
      node = {
        kind: "repeat",
        body: node,
        min,
        max,
        mode: mode === "?" ? "lazy" : mode === "+" ? "possessive" : "greedy",
      };
      continue;
    }
    cursor.at += count.length;
    const { min, max, isSingle } = count;
    if (min > max) {
      // A count written backwards is possessive.
      node = { kind: "repeat", body: node, min: max, max: min, mode: "possessive" };
      continue;
    }
    const lazy = source[cursor.at] === "?" && !isSingle;
    if (lazy) cursor.at++;
    node = { kind: "repeat", body: node, min, max, mode: lazy ? "lazy" : "greedy" };
    // "a{2}?" is "(?:a{2})?" and "a{2,3}+" is "(?:a{2,3})+": the next round reads it so.
  }
}
