/**
 * The one check of what callers pass: option objects with their names, types and ranges. A name that
 * is not known is refused, because a mistyped `temprature` would otherwise change the answer in
 * silence, and so is a value of the wrong type; both with an `InputError` that says what was found
 * and what was expected.
 *
 * @module
 */

import { InputError, SparrowError } from "./errors.ts";
import { quote } from "./escape.ts";

/** What an option may be. */
export interface Rule {
  /** In words, after "expected". */
  readonly expected: string;
  /** Whether a value is that. */
  accepts(value: unknown): boolean;
  /** Rules for its own fields, where it is an object of options. */
  readonly fields?: Readonly<Record<string, Rule>>;
}

/** A rule for every option of `T`: a forgotten one is a type error. */
export type Rules<T> = { readonly [K in keyof Required<T>]: Rule };

/** `true` or `false`. */
export const FLAG: Rule = {
  expected: "true or false",
  accepts: (value) => typeof value === "boolean",
};

/** Any string. */
export const TEXT: Rule = { expected: "a text", accepts: (value) => typeof value === "string" };

/** A list of strings. */
export const TEXTS: Rule = {
  expected: "a list of texts",
  accepts: (value) => isListOf(value, (it) => typeof it === "string"),
};

/** Whether a value is a list of such items; places without one do not count as such, as in `every`. */
export function isListOf(value: unknown, isItem: (item: unknown) => boolean): boolean {
  if (!Array.isArray(value)) return false;
  for (let i = 0; i < value.length; i++) if (!isItem(value[i])) return false;
  return true;
}

/** Any list. */
export const LIST: Rule = { expected: "a list", accepts: (value) => Array.isArray(value) };

/** A list of numbers, of which nothing is checked yet. */
export const NUMBERS: Rule = {
  expected: "a list of numbers",
  accepts: (value) =>
    Array.isArray(value) || ArrayBuffer.isView(value) && !(value instanceof DataView),
};

/** An object with fields. */
export const OBJECT: Rule = {
  expected: "an object",
  accepts: (value) => typeof value === "object" && value !== null && !Array.isArray(value),
};

/** Options within options. */
export function optionsOf<T>(rules: Rules<T>): Rule {
  return { ...OBJECT, fields: rules };
}

/** Something to call. */
export const CALLBACK: Rule = {
  expected: "a function",
  accepts: (value) =>
    typeof value === "function" && !/^class\b/.test(Function.prototype.toString.call(value)),
};

/** What ends a call early. */
export const SIGNAL: Rule = {
  expected: "an AbortSignal",
  accepts: (value) => value instanceof AbortSignal,
};

/** One of some names. */
export function oneOf(names: readonly string[]): Rule {
  return {
    expected: names.join(names.length > 2 ? ", " : " or "),
    accepts: (value) => names.includes(value as string),
  };
}

/** A number within bounds, both included. */
export function numberIn(least: number, most: number): Rule {
  return {
    expected: `a number from ${least} to ${most}`,
    accepts: (value) => typeof value === "number" && value >= least && value <= most,
  };
}

/** A whole number within bounds, both included. */
export function wholeNumberIn(least: number, most: number): Rule {
  const upTo = most >= Number.MAX_SAFE_INTEGER ? "" : ` to ${most}`;
  return {
    expected: `a whole number from ${least}${upTo}`,
    accepts: (value) =>
      Number.isInteger(value) && (value as number) >= least &&
      (value as number) <= most,
  };
}

/** A rule that also takes what is in a list. */
export function either(rule: Rule, ...others: readonly unknown[]): Rule {
  return {
    expected: `${rule.expected}, or ${others.join(" or ")}`,
    accepts: (value) => others.includes(value) || rule.accepts(value),
  };
}

/**
 * A copy of an options object whose names and values follow the rules. `undefined` counts as absent.
 *
 * @param action what the caller does, as in "load" or "generate": for messages
 * @throws InputError when it is no object, has a name that no rule has, or a value of another kind
 */
export function readOptions<T extends object>(
  action: string,
  options: T | undefined,
  rules: Rules<T>,
): T {
  if (options === undefined) return {} as T;
  if (!accepts(OBJECT, options)) {
    throw new InputError(
      `Cannot ${action} with options ${quote(options)}: expected an object with ` +
        Object.keys(rules).join(", "),
    );
  }
  const copy: Record<string, unknown> = {};
  let name = "";
  try {
    for (name of Object.keys(options)) {
      if (Object.hasOwn(rules, name) || (options as Record<string, unknown>)[name] === undefined) {
        continue;
      }
      throw new InputError(
        `Cannot ${action} with ${quote(name)}: there is no such option${
          didYouMean(name, Object.keys(rules))
        }`,
      );
    }
    for (name of Object.keys(rules)) {
      const value = (options as Record<string, unknown>)[name]; // its own, or its class's
      if (value === undefined) continue;
      checkValue(action, name, value, (rules as Record<string, Rule>)[name]!);
      const { fields } = (rules as Record<string, Rule>)[name]!;
      copy[name] = fields ? readOptions(`use ${name}`, value as object, fields as never) : value;
    }
  } catch (cause) {
    if (cause instanceof SparrowError) throw cause;
    throw new InputError(`Cannot ${action} with these options: ${quote(name)} cannot be read`, {
      cause,
    });
  }
  return copy as T;
}

/**
 * Throws unless a value follows a rule.
 *
 * @throws InputError when it does not
 */
export function checkValue(action: string, name: string, value: unknown, rule: Rule): void {
  if (accepts(rule, value)) return;
  throw new InputError(`Cannot ${action} with ${name} ${quote(value)}: expected ${rule.expected}`);
}

/** Whether a value is of a class; a proxy of an array or buffer is not, since it has no memory. */
export function isA<T>(
  value: unknown,
  type: abstract new (...args: never[]) => T,
): value is T {
  try {
    const isArray = Object.getPrototypeOf(type) === Object.getPrototypeOf(Uint8Array);
    return value instanceof type && (!isArray || ArrayBuffer.isView(value));
  } catch {
    return false; // a proxy that was revoked, or throws
  }
}

/** Whether a value follows a rule; one that throws when it is looked at does not. */
export function accepts(rule: Rule, value: unknown): boolean {
  try {
    return rule.accepts(value);
  } catch {
    return false;
  }
}

/**
 * A copy of a list of token ids.
 *
 * @throws InputError when it is no list, is empty, or an id is not of the vocabulary
 */
export function readIds(value: unknown, vocabSize: number, least: number = 1): number[] {
  if (!accepts(NUMBERS, value)) {
    throw new InputError(`Cannot process a prompt ${quote(value)}: expected token ids`);
  }
  const list = value as ArrayLike<unknown>;
  const ids: number[] = [];
  try {
    // One by one: a list may be long and have nothing in it.
    for (let i = 0; i < list.length; i++) {
      const id = list[i];
      if (Number.isInteger(id) && (id as number) >= 0 && (id as number) < vocabSize) {
        ids.push(id as number);
        continue;
      }
      throw new InputError(
        `Cannot process token id ${quote(id)} at index ${i}: expected a whole number from 0 to ` +
          `${vocabSize - 1}`,
      );
    }
  } catch (cause) {
    if (cause instanceof InputError) throw cause;
    throw new InputError("Cannot process a prompt: its token ids cannot be read", { cause });
  }
  if (ids.length < least) {
    throw new InputError("Cannot process a prompt of no tokens: give at least one");
  }
  return ids;
}

/** `; did you mean "x"?`, or the names where none is near. */
export function didYouMean(name: string, names: readonly string[]): string {
  const near = closest(name, names);
  return near === undefined ? `, expected ${names.join(", ")}` : `; did you mean "${near}"?`;
}

/** The name that a mistyped one most likely means, if any: case, `_` and `-` do not count. */
export function closest(name: string, names: readonly string[]): string | undefined {
  const plain = (text: string): string => text.toLowerCase().replaceAll(/[_-]/g, "");
  const typed = plain(name);
  let best: string | undefined, least = Math.max(1, Math.floor(typed.length / 3)) + 1;
  for (const it of names) {
    const away = editDistance(typed, plain(it));
    if (away < least) [best, least] = [it, away];
  }
  return best;
}

/**
 * Fewest letters to insert, delete, replace or swap with their neighbour (optimal string alignment,
 * a restricted Damerau–Levenshtein distance).
 */
export function editDistance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 8) return Infinity; // far enough, and long words cost nothing
  let before: number[] = [], last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      row[j] = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (same ? 0 : 1));
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) row[j] = Math.min(row[j]!, before[j - 2]! + 1);
    }
    [before, last] = [last, row];
  }
  return last[b.length]!;
}
