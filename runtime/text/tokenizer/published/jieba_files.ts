/**
 * The files of the program jieba, as data: its dictionary (`dict.txt`, a word and a count in each line), and
 * the numbers of its model of characters (`prob_start.py`, `prob_trans.py`, `prob_emit.py`, each a table in
 * Python's notation). Nothing is run.
 *
 * Source: jieba 0.42.1.
 *
 * @module
 */

import { FormatError } from "../../../../errors.ts";
import { quote } from "../../../../escape.ts";
import type { CharacterModel, WordCounts } from "./chinese_words.ts";

/** More words than any dictionary has, and more characters than any word. */
const MOST_WORDS = 1 << 22, LONGEST_WORD = 100;

/**
 * Reads a dictionary: a word, its count and maybe its kind in each line, with blanks between.
 *
 * @throws FormatError naming the line that is none
 */
export function readWordCounts(text: string, name: string): WordCounts {
  const fail = (what: string): FormatError =>
    new FormatError(
      `Cannot read the dictionary ${quote(name)}: ${what}, expected a word of at most ` +
        `${LONGEST_WORD} characters and how often it occurs in each line, as in "\u9ebb\u96c0 12 n"; ` +
        `take dict.txt of the program jieba`,
    );
  const counts = new Map<string, number>();
  let total = 0, line = 0;
  for (let at = 0; at < text.length;) {
    const end = text.indexOf("\n", at), stop = end < 0 ? text.length : end;
    const entry = text.slice(at, stop).trim(), [word = "", digits = ""] = entry.split(" ", 2);
    at = stop + 1;
    line++;
    if (entry === "" && at >= text.length) break;
    if (!/^\d{1,12}$/.test(digits) || word.length > LONGEST_WORD || line > MOST_WORDS) {
      throw fail(`line ${line} is ${quote(entry, 40)}`);
    }
    const count = Number(digits);
    total += count;
    if (count > 0) counts.set(word, count);
    else counts.delete(word);
  }
  if (counts.size === 0) throw fail("it has no words");
  return { counts, total };
}

/** What such a table has under a name: a number, or another table. */
type Table = Map<string, number | Table>;

/** Names, numbers and signs. */
const TOKEN =
  /\s*(?:'((?:[^'\\\n]|\\u[0-9a-fA-F]{4}){0,40})'|(-?\d{1,20}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,3})?)|([{}:,]))/y;

/**
 * Reads a table in Python's notation, `P={'B': {'\\u4e00': -3.65, …}, …}`, or one without inner tables.
 *
 * @throws FormatError naming the file and the place
 */
function readTable(text: string, name: string): Table {
  const begin = text.indexOf("P={");
  let at = begin + 2;
  const next = (): RegExpExecArray => {
    TOKEN.lastIndex = at;
    const found = begin < 0 ? null : TOKEN.exec(text);
    if (!found) {
      throw new FormatError(
        `Cannot read ${quote(name)}: at character ${
          Math.max(at, 0)
        } it is no table of numbers as ` +
          `P={'B': -0.26, 'E': -3.14e+100}; take the file of the same name of the program jieba`,
      );
    }
    at = TOKEN.lastIndex;
    return found;
  };
  const fail = (): never => {
    at = text.length;
    throw next();
  };
  const table = (depth: number): Table => {
    const rows: Table = new Map();
    for (;;) {
      const [, key, , end] = next();
      if (end === "}") return rows;
      if (key === undefined || next()[3] !== ":") return fail();
      const [, , value, sign] = next();
      if (value === undefined && (sign !== "{" || depth > 0)) return fail();
      const name = key.replaceAll(/\\u(.{4})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
      rows.set(name, value === undefined ? table(depth + 1) : Number(value));
      const after = next()[3];
      if (after === "}") return rows;
      if (after !== ",") return fail();
    }
  };
  return next()[3] === "{" ? table(0) : fail();
}

/**
 * Reads the model of characters.
 *
 * @param textOf the text of a file
 * @throws FormatError when a file is no such table
 */
export function readCharacterModel(textOf: (file: string) => string): CharacterModel {
  const start = numbers(readTable(textOf("prob_start.py"), "prob_start.py"), "prob_start.py");
  const steps = new Map<string, number>();
  for (const [before, row] of readTable(textOf("prob_trans.py"), "prob_trans.py")) {
    for (const [place, value] of numbers(row, "prob_trans.py")) steps.set(before + place, value);
  }
  const emitted = readTable(textOf("prob_emit.py"), "prob_emit.py");
  const of = (place: string) => numbers(emitted.get(place), "prob_emit.py");
  return { start, steps, characters: { B: of("B"), M: of("M"), E: of("E"), S: of("S") } };
}

function numbers(table: number | Table | undefined, name: string): ReadonlyMap<string, number> {
  const isFlat = table instanceof Map && [...table.values()].every((it) => typeof it === "number");
  if (isFlat) return table as Map<string, number>;
  throw new FormatError(
    `Cannot read ${
      quote(name)
    }: expected a table of numbers for B, M, E and S; take the file of the ` +
      `same name of the program jieba`,
  );
}
