/**
 * A matcher that tries alternatives in order, as Oniguruma does, and remembers at which step and place it
 * failed, so that it never tries the same twice: time is linear in the length of the text, over all
 * starts together. (The technique is that of Norvig 1991 and Davis, Servant and Lee 2021; without
 * captures and back references, what a step leads to depends on nothing but the place.)
 *
 * @module
 */

import { SURROGATE } from "./code_set.ts";
import {
  ATOMIC,
  BACK,
  EDGE,
  EDGES,
  JUMP,
  LOOK,
  LOOP,
  MATCH,
  NEXT,
  type Program,
  SET,
  SPLIT,
} from "./program.ts";

/** A pattern takes more time or memory than it may. */
export class PatternLimit extends Error {}

const FAILED = -1;
const ACTIVE = -2; // in a loop that has not taken anything since it was entered
const PAGE = 1 << 14; // entries
const MAX_PAGES = 1 << 12; // 256 MiB
const STEPS_PER_CHARACTER = 150;
const MIN_STEPS = 10_000_000;

/** A search through one text. */
export interface Search {
  /** Where the pattern matches at `start`: the end, or -1. Starts must not go down. */
  matchAt(start: number): number;
}

/** Begins a search through a text. */
export function backtracking(program: Program, text: string): Search {
  const { op, a, b, c, splits, classes } = program;
  const { ofUnit, ofCodePoint, members } = classes;
  const { length } = text;
  let steps = MIN_STEPS + STEPS_PER_CHARACTER * length;

  // What is known of split s at place p: 0 nothing, FAILED, ACTIVE, or 1 + the end that it leads to.
  const perPage = Math.max(1, 2 ** Math.floor(Math.log2(PAGE / Math.max(1, splits))));
  const pages: (Int32Array | undefined)[] = [];
  let firstPage = 0, pageCount = 0;
  function page(at: number): Int32Array {
    const index = Math.floor(at / perPage);
    let found = pages[index];
    if (!found) {
      steps -= 1000;
      if (++pageCount > MAX_PAGES) throw new PatternLimit("it needs too much memory");
      pages[index] = found = new Int32Array(perPage * splits);
    }
    return found;
  }
  const entry = (split: number, at: number): number => (at % perPage) * splits + split;

  let stack = new Int32Array(3 * 256); // [step, place, 0 while the first way is tried and 1 after]
  let top = 0;

  const classAt = (at: number): number => {
    const known = ofUnit[text.charCodeAt(at)];
    return known === SURROGATE ? ofCodePoint(text.codePointAt(at)!) : known;
  };
  const isIn = (set: number, at: number): boolean => members[set][classAt(at)] === 1;
  const isLow = (at: number): boolean => (text.charCodeAt(at) & 0xfc00) === 0xdc00;

  function holds(step: number, at: number): boolean {
    switch (EDGES[a[step]]) {
      case "textStart":
        return at === 0;
      case "lineStart":
        return at === 0 || at < length && text[at - 1] === "\n";
      case "lastLineEnd":
        return at === length || at === length - 1 && text[at] === "\n";
      default: {
        const left = at > 0 && isIn(b[step], before(at));
        const right = at < length && isIn(b[step], at);
        return (left !== right) === (EDGES[a[step]] === "word");
      }
    }
  }

  /** The start of the character before a place. */
  const before = (at: number): number => at >= 2 && isLow(at - 1) ? at - 2 : at - 1;

  /** Runs from a step until `MATCH`: the place of the end, or -1. `isPart` where it is asked for again. */
  function run(step: number, at: number, isPart: boolean): number {
    const base = top;
    let end = -1;
    running: while (true) {
      if (--steps < 0) throw new PatternLimit("it takes too long");
      let failed = false;
      switch (op[step]) {
        case SET:
          if (at < length && isIn(a[step], at)) {
            at += ofUnit[text.charCodeAt(at)] === SURROGATE ? 2 : 1;
            step++;
          } else failed = true;
          break;
        case BACK:
          failed = at === 0 || !isIn(a[step], before(at));
          at = before(at);
          step++;
          break;
        case SPLIT:
        case LOOP: {
          const cells = page(at), cell = entry(c[step], at);
          const known = cells[cell];
          if (known > 0) {
            end = known - 1;
            break running;
          }
          if (known === FAILED) {
            failed = true;
            break;
          }
          if (op[step] === LOOP) {
            if (known === ACTIVE) {
              step = Math.max(a[step], b[step]); // the way out lies behind the body
              break;
            }
            cells[cell] = ACTIVE;
          }
          if (top + 3 > stack.length) {
            const larger = new Int32Array(2 * stack.length);
            larger.set(stack);
            stack = larger;
          }
          stack[top] = step;
          stack[top + 1] = at;
          stack[top + 2] = 0;
          top += 3;
          step = a[step];
          break;
        }
        case JUMP:
          step = a[step];
          break;
        case MATCH:
          end = at;
          break running;
        case NEXT:
          failed = (at < length && isIn(a[step], at)) === (b[step] === 1);
          step++;
          break;
        case EDGE:
          failed = !holds(step, at);
          step++;
          break;
        case LOOK: {
          const found = run(step + 1, at, true) >= 0;
          failed = found === (a[step] === 1);
          step = b[step];
          break;
        }
        case ATOMIC: {
          const next = run(step + 1, at, true);
          failed = next < 0;
          at = next;
          step = b[step];
          break;
        }
      }
      if (!failed) continue;
      while (top > base && stack[top - 1] === 1) {
        top -= 3;
        page(stack[top + 1])[entry(c[stack[top]], stack[top + 1])] = FAILED;
      }
      if (top === base) return -1;
      stack[top - 1] = 1;
      step = b[stack[top - 3]];
      at = stack[top - 2];
    }
    for (; top > base; top -= 3) {
      const [split, place] = [stack[top - 3], stack[top - 2]];
      if (isPart) page(place)[entry(c[split], place)] = end + 1;
      else if (op[split] === LOOP) page(place)[entry(c[split], place)] = 0;
    }
    return end;
  }

  return {
    matchAt(start) {
      // Nothing before a start is asked for again, unless the pattern looks back.
      for (const last = Math.floor(start / perPage) - 1; firstPage < last; firstPage++) {
        if (pages[firstPage]) pageCount--;
        pages[firstPage] = undefined;
      }
      return run(0, start, false);
    },
  };
}
