/**
 * Reading flags: long ones, the short ones of `SHORT`, numbers, choices, and what was meant by those
 * that there are not.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { quote } from "../escape.ts";
import { UsageError } from "./errors.ts";
import { didYouMean, nearest } from "./suggest.ts";

/** Kinds of flags, by name without dashes. */
export interface FlagSpec {
  /** Flags without a value. */
  readonly boolean?: readonly string[];
  /** Flags with a text value. */
  readonly string?: readonly string[];
  /** Flags with a text value that may be given again. */
  readonly collect?: readonly string[];
  /** Flags with a number. */
  readonly number?: readonly string[];
  /** Flags with a whole number, and the least and most that they can be; read with `number`. */
  readonly whole?: Readonly<Record<string, readonly [least: number, most: number]>>;
  /** Flags with one of a few words; read with `text`. */
  readonly choice?: Readonly<Record<string, readonly string[]>>;
}

/** Flags as given. */
export interface Flags {
  /** What is not a flag. */
  readonly rest: readonly string[];
  /** Whether a boolean flag was given. */
  on(name: string): boolean;
  /** Value of a text flag, or of a choice. */
  text(name: string): string | undefined;
  /** Values of a text flag that may be given again. */
  texts(name: string): readonly string[];
  /** Value of a number flag. */
  number(name: string): number | undefined;
}

/** Short forms, those of llama.cpp, for the commands that have the long ones. */
export const SHORT: Readonly<Record<string, string>> = {
  h: "help",
  m: "model",
  n: "max-tokens",
  t: "threads",
  s: "seed",
  c: "context",
  f: "file",
};

/**
 * The flags among the arguments of a command; of a flag that is given again the last value counts,
 * unless the flag collects them.
 *
 * @throws UsageError when a flag is not known, lacks its value or has one that it cannot have
 */
export function readFlags(command: string, args: readonly string[], spec: FlagSpec): Flags {
  const { collect = [], number = [], whole = {}, choice = {} } = spec;
  const boolean = ["help", ...spec.boolean ?? []];
  const numeric = [...number, ...Object.keys(whole)];
  const valued = [...spec.string ?? [], ...collect, ...numeric, ...Object.keys(choice)];
  const known = [...boolean, ...valued];
  const hint = `; "${command} --help" shows the options`;
  const shorts = Object.entries(SHORT).filter(([, name]) => known.includes(name));
  const options = Object.fromEntries(known.map((name) => {
    const short = shorts.find((it) => it[1] === name)?.[0];
    const type = valued.includes(name) ? "string" as const : "boolean" as const;
    return [name, { type, ...(short !== undefined && { short }) }];
  }));
  // Not strict, because its errors are not ours; it takes any word after a flag for its value.
  const { tokens } = parseArgs({ args: [...args], options, strict: false, tokens: true });
  const rest: string[] = [], values = new Map<string, string[]>(), switched = new Set<string>();
  for (const token of tokens) {
    if (token.kind === "positional") rest.push(token.value);
    if (token.kind !== "option") continue;
    const { name, rawName, inlineValue } = token;
    const isShort = !rawName.startsWith("--");
    if (!known.includes(name)) {
      const written = isShort ? args[token.index]!.replace(/^-|=.*$/gs, "") : name;
      throw new UsageError(
        `Cannot read option ${isShort && written.length > 1 ? `-${written}` : rawName}: ` +
          `there is no such option${didYouMean(written, known, "--")}${hint}`,
      );
    }
    if (isShort && inlineValue) {
      refuseOneDash(name, `${rawName.slice(1)}${token.value}`, known, hint);
    }
    if (!valued.includes(name)) {
      if (inlineValue) throw new UsageError(`Cannot read ${rawName}: it takes no value${hint}`);
      switched.add(name);
      continue;
    }
    const value = isShort && inlineValue ? token.value!.replace(/^=/, "") : token.value ?? "";
    // Another flag follows where the value should be; "-1" and "-" are values.
    if (value === "" || !inlineValue && /^--?[A-Za-z]/.test(value)) {
      throw new UsageError(`Cannot read ${rawName}: it has no value${hint}`);
    }
    values.set(name, [...values.get(name) ?? [], value]);
  }
  const numbers = new Map<string, number>();
  for (const [name, all] of values) {
    const value = all.at(-1)!;
    if (numeric.includes(name)) numbers.set(name, toNumber(name, value, hint));
    const range = Object.hasOwn(whole, name) ? whole[name]! : undefined;
    if (range) checkRange(name, numbers.get(name)!, range);
    const words = Object.hasOwn(choice, name) ? choice[name]! : undefined;
    if (words && !words.includes(value)) {
      throw new UsageError(
        `Cannot use --${name} ${quote(value)}: expected ${words.join(", ")}` +
          didYouMean(value, words),
      );
    }
  }
  return {
    rest,
    on: (name) => switched.has(name),
    text: (name) => values.get(name)?.at(-1),
    texts: (name) => values.get(name) ?? [],
    number: (name) => numbers.get(name),
  };
}

function toNumber(name: string, text: string, hint: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) {
    throw new UsageError(`Cannot read --${name}: ${quote(text)} is not a number${hint}`);
  }
  return value;
}

function checkRange(name: string, value: number, [least, most]: readonly [number, number]): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  const upTo = Number.isFinite(most) ? ` to ${most}` : "";
  throw new UsageError(
    `Cannot use --${name} ${value}: expected a whole number from ${least}${upTo}`,
  );
}

/** Refuses `-model x`, which would be `-m odel`, and `-temp 0`, which would be `-t emp`. */
function refuseOneDash(name: string, word: string, known: readonly string[], hint: string): void {
  const written = word.replace(/=.*$/s, "");
  const meant = nearest(written, known);
  const isFlag = known.includes(written) || !/^[\d=.-]/.test(word.slice(1)) && name !== "model";
  if (!meant || !isFlag) return;
  throw new UsageError(
    `Cannot read option -${written}: long options have two dashes (did you mean --${meant}?)${hint}`,
  );
}
