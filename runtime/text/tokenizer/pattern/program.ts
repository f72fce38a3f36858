/**
 * Regular expressions compiled to steps, which the matchers in automaton.ts and backtrack.ts carry out.
 *
 * @module
 */

import { ANY, type CodeClasses, type CodeSet, divide, invert, setOf } from "./code_set.ts";
import { type Edge, isNullable, type Node, PatternError } from "./tree.ts";

/** Takes a character of set `a`. */
export const SET = 0;
/** Tries step `a`, then step `b`. */
export const SPLIT = 1;
/** As `SPLIT` of a loop whose body can match nothing: the body is not tried twice at one place. */
export const LOOP = 2;
/** Goes to step `a`. */
export const JUMP = 3;
/** The pattern, or the part between two steps, has matched. */
export const MATCH = 4;
/** Asks that the next character be in set `a`, or that it not be so where `b` is 1. */
export const NEXT = 5;
/** Asks for edge `a` of {@linkcode EDGES}. */
export const EDGE = 6;
/** Asks that the part after this step match, or not match where `a` is 1; goes on at `b`. */
export const LOOK = 7;
/** Matches the part after this step once and for all; goes on at `b`. */
export const ATOMIC = 8;
/** Takes a character of set `a` from before the place, going back. */
export const BACK = 9;

/** Edges by their number in programs. */
export const EDGES: readonly Edge[] = [
  "textStart",
  "lineStart",
  "lastLineEnd",
  "word",
  "notWord",
];

/** A compiled pattern. Steps are [op, a, b, c] each. */
export interface Program {
  /** Kinds of the steps. [steps] */
  readonly op: Uint8Array;
  /** First operands. [steps] */
  readonly a: Int32Array;
  /** Second operands. [steps] */
  readonly b: Int32Array;
  /** Of `SPLIT` and `LOOP` their number. [steps] */
  readonly c: Int32Array;
  /** How many `SPLIT` and `LOOP` there are. */
  readonly splits: number;
  /** What the sets make of the code points. */
  readonly classes: CodeClasses;
  /** Whether nothing is asked for but characters, and what the next one is. */
  readonly isPlain: boolean;
}

type Repeat = Node & { kind: "repeat" };

const MAX_STEPS = 1 << 14;
const MAX_SETS = 1024;

/**
 * Compiles a tree.
 *
 * @param wordSet what `\b` takes for parts of words
 * @throws PatternError where it would have too many steps
 */
export function compile(root: Node, wordSet: () => CodeSet): Program {
  const op: number[] = [], a: number[] = [], b: number[] = [], c: number[] = [];
  const sets: CodeSet[] = [], numbers = new Map<string, number>();
  let splits = 0, isPlain = true;

  function step(kind: number, first = 0, second = 0, third = 0): number {
    if (op.length === MAX_STEPS) throw new PatternError(`at most ${MAX_STEPS} steps`);
    op.push(kind);
    a.push(first);
    b.push(second);
    c.push(third);
    return op.length - 1;
  }
  function setNumber(set: CodeSet): number {
    const key = set.join();
    const known = numbers.get(key);
    if (known !== undefined) return known;
    if (sets.length === MAX_SETS) throw new PatternError(`at most ${MAX_SETS} classes`);
    numbers.set(key, sets.length);
    return sets.push(set) - 1;
  }
  function split(kind = SPLIT): number {
    return step(kind, 0, 0, splits++);
  }
  function aim(at: number, body: number, out: number, lazy: boolean): void {
    a[at] = lazy ? out : body;
    b[at] = lazy ? body : out;
  }

  /** Steps that take the characters before a place (`back`) or after it. */
  function emit(node: Node, back: boolean): void {
    switch (node.kind) {
      case "set":
        step(back ? BACK : SET, setNumber(node.set));
        return;
      case "sequence":
        for (const part of back ? node.parts.toReversed() : node.parts) emit(part, back);
        return;
      case "choice":
        choice(node.options, back);
        return;
      case "repeat":
        if (node.mode === "possessive") possessive(node, back);
        else repeat(node, back);
        return;
      case "atomic":
        atomic(node.body, back);
        return;
      case "look":
        if (node.ahead && node.body.kind === "set") next(node.body.set, node.negate);
        else part(LOOK, Number(node.negate), node.body, !node.ahead);
        return;
      case "edge":
        edge(node.edge);
    }
  }

  function choice(options: readonly Node[], back: boolean): void {
    const exits: number[] = [];
    options.forEach((option, i) => {
      const last = i === options.length - 1;
      const at = last ? -1 : split();
      emit(option, back);
      if (last) return;
      exits.push(step(JUMP));
      aim(at, at + 1, op.length, false);
    });
    for (const at of exits) a[at] = op.length;
  }

  function repeat({ body, min, max, mode }: Repeat, back: boolean): void {
    const nullable = isNullable(body);
    const open = max === Infinity;
    const copies = open && min > 0 && !nullable ? min - 1 : min;
    for (let i = 0; i < copies; i++) emit(body, back);
    if (open && copies < min) {
      const start = op.length;
      emit(body, back);
      const at = split();
      aim(at, start, op.length, mode === "lazy");
    } else if (open) {
      if (nullable) isPlain = false;
      const at = split(nullable ? LOOP : SPLIT);
      emit(body, back);
      step(JUMP, at);
      aim(at, at + 1, op.length, mode === "lazy");
    } else {
      const skips: number[] = [];
      for (let i = min; i < max; i++) {
        skips.push(split());
        emit(body, back);
      }
      for (const at of skips) aim(at, at + 1, op.length, mode === "lazy");
    }
  }

  /** A repetition that gives nothing back; of a single set, it is one that no member follows. */
  function possessive(node: Repeat, back: boolean): void {
    const greedy: Repeat = { ...node, mode: "greedy" };
    const { body, min, max } = node;
    if (back || body.kind !== "set" || max !== Infinity && (min > 0 || max > 1)) {
      atomic(greedy, back);
      return;
    }
    const end: Node = { kind: "look", body, ahead: true, negate: true };
    if (max === Infinity) emit({ kind: "sequence", parts: [greedy, end] }, back);
    else choice([body, end], back);
  }

  function atomic(body: Node, back: boolean): void {
    if (back) throw new PatternError("nothing atomic or possessive where it looks back");
    part(ATOMIC, 0, body, false);
  }

  /** A part that is matched by itself. */
  function part(kind: number, operand: number, body: Node, back: boolean): void {
    isPlain = false;
    const at = step(kind, operand);
    emit(body, back);
    step(MATCH);
    b[at] = op.length;
  }

  function next(set: CodeSet, negate: boolean): void {
    step(NEXT, setNumber(set), Number(negate));
  }

  function edge(edge: Edge): void {
    // At an end, no character comes next, or none but a line break.
    if (edge === "textEnd") next(ANY, true);
    else if (edge === "lineEnd") next(invert(setOf("\n")), true);
    else {
      isPlain = false;
      const isWord = edge === "word" || edge === "notWord";
      step(EDGE, EDGES.indexOf(edge), isWord ? setNumber(wordSet()) : 0);
    }
  }

  emit(root, false);
  step(MATCH);
  return {
    op: Uint8Array.from(op),
    a: Int32Array.from(a),
    b: Int32Array.from(b),
    c: Int32Array.from(c),
    splits,
    classes: divide(sets),
    isPlain,
  };
}
