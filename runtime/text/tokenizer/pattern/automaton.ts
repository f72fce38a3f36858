/**
 * The fast matcher: a deterministic automaton, built while it runs, one table look-up per character. Its
 * states are lists of steps in order of preference, so that it finds the match that trying
 * alternatives in order would find. Assertions about the next character are decided when that character
 * is read.
 *
 * @module
 */

import { SURROGATE } from "./code_set.ts";
import { JUMP, MATCH, NEXT, type Program, SET, SPLIT } from "./program.ts";

const MAX_STATES = 2048;
const MAX_WORK = 4_000_000; // steps visited while states are made
const DEAD = 0;
const START = 1;

/** A search, and what it found. */
export interface Attempt {
  /** Where the match begins; of a search that was given up, where to go on. */
  start: number;
  /** Where it ends. */
  end: number;
  /** How far the text was read. */
  reached: number;
  /** How many characters may still be read in vain, over all searches through a text. */
  allowance: number;
}

/** What a search came to. */
export const FOUND = 0;
/** Nothing matches. */
export const NONE = 1;
/** The allowance is spent. */
const SPENT = 2;
/** The automaton has grown too large, and is of no more use. */
export const TOO_LARGE = 3;

/** An automaton; one for all texts. */
export interface Automaton {
  /** Looks for the first match from `from` on; with `only`, just for one that begins there. */
  search(text: string, from: number, attempt: Attempt, only?: boolean): number;
}

/** The automaton of a plain program. */
export function automaton(program: Program): Automaton {
  const { op, a, b, classes } = program;
  const { ofUnit, ofCodePoint, members, count } = classes;
  const stride = count + 1; // the last class is the end of the text
  let table = new Int32Array(16 * stride).fill(-1); // [states][classes]: 2 * state + whether it matched before
  const lists: (readonly number[])[] = [[], [0]]; // steps in order of preference. [states]
  const numbers = new Map<string, number>([["", DEAD], ["0", START]]);
  const seen = new Int32Array(op.length);
  let round = 0, work = 0;

  /** Where a state goes with a class; -1 where there are too many states. */
  function advance(state: number, cls: number): number {
    const atEnd = cls === count;
    round++;
    const next: number[] = [];
    let matched = false;
    const pending: number[] = []; // steps yet to visit, the preferred one last
    visiting: for (const first of lists[state]) {
      pending.push(first);
      while (pending.length > 0) {
        const step = pending.pop()!;
        if (seen[step] === round) continue;
        seen[step] = round;
        work++;
        switch (op[step]) {
          case SET:
            if (!atEnd && members[a[step]][cls]) next.push(step + 1);
            break;
          case SPLIT:
            pending.push(b[step], a[step]);
            break;
          case JUMP:
            pending.push(a[step]);
            break;
          case NEXT:
            if ((!atEnd && members[a[step]][cls] === 1) !== (b[step] === 1)) pending.push(step + 1);
            break;
          case MATCH:
            matched = true;
            break visiting; // what is left is less preferred
        }
      }
    }
    const key = next.join();
    let target = numbers.get(key);
    if (target === undefined) {
      if (lists.length === MAX_STATES || work > MAX_WORK) return -1;
      target = lists.push(next) - 1;
      numbers.set(key, target);
      if ((target + 1) * stride > table.length) {
        const larger = new Int32Array(2 * table.length).fill(-1);
        larger.set(table);
        table = larger;
      }
    }
    return table[state * stride + cls] = 2 * target + Number(matched);
  }

  return {
    search(text, from, attempt, only = false) {
      const { length } = text;
      for (let start = from; start <= length;) {
        let state = START, at = start, end = -1, step = 1;
        while (true) {
          let cls = count, width = 1;
          if (at < length) {
            cls = ofUnit[text.charCodeAt(at)];
            if (cls === SURROGATE) {
              cls = ofCodePoint(text.codePointAt(at)!);
              width = 2;
              if (at === start) step = 2;
            }
          }
          let target = table[state * stride + cls];
          if (target < 0) {
            target = advance(state, cls);
            if (target < 0) {
              attempt.start = start;
              return TOO_LARGE;
            }
          }
          if (target & 1) end = at;
          state = target >> 1;
          if (state === DEAD) break;
          at += width;
        }
        if (end >= 0 || only) {
          attempt.allowance -= at - end;
          attempt.start = start;
          attempt.end = end;
          attempt.reached = at;
          return end >= 0 ? FOUND : NONE;
        }
        attempt.allowance -= at - start;
        start += step;
        if (attempt.allowance < 0) {
          attempt.start = start;
          return SPENT;
        }
      }
      return NONE;
    },
  };
}
