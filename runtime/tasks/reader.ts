/**
 * What every task does first: texts become prompts that fit, and the model is asked whether it has what
 * the task needs.
 *
 * @module
 */

import { InputError, ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { accepts, TEXT } from "../../options.ts";
import type { Engine } from "../engine/engine.ts";
import type { Prompt } from "../models/prompt.ts";
import type { Tokenizer } from "../text/tokenizer/tokenizer.ts";
import type { TaskFacts } from "./facts.ts";

/** A model as tasks see it. */
export interface TaskModel {
  /** What runs it. */
  readonly engine: Engine;
  /** Text to tokens and back. */
  readonly tokenizer: Tokenizer;
  /** Path or URL. */
  readonly name: string;
  /** What its files say of tasks. */
  readonly facts: TaskFacts;
}

/** A text, or a pair of texts. */
export type TextOrPair = string | readonly [first: string, second: string];

/** How a text is read. */
export interface ReadingOptions {
  /** What is done, as in "embed". */
  readonly action: string;
  /** What the text is called in messages, as in "text 3". */
  readonly what: string;
  /** Most tokens; those of the context where absent. */
  readonly most?: number | undefined;
  /** Whether what does not fit is cut at its end. */
  readonly truncate?: boolean | undefined;
}

/**
 * The prompt of a text or a pair, with what the model expects around it.
 *
 * @throws InputError when it does not fit, and is not to be cut
 */
export function promptOf(model: TaskModel, input: TextOrPair, options: ReadingOptions): Prompt {
  const { engine, tokenizer, facts } = model, { action, what, truncate = false } = options;
  const texts = typeof input === "string" ? [input] : input;
  const encode = (text: string): number[] => tokenizer.encode(text, { addSpecial: false });
  let first = encode(texts[0]!), second = texts[1] === undefined ? undefined : encode(texts[1]);
  const most = Math.min(options.most ?? Infinity, engine.options.contextLength);
  let whole = tokenizer.surround(first, second);
  if (whole.ids.length > most) {
    const own = whole.ids.length - first.length - (second?.length ?? 0);
    if (!truncate || own > most) {
      throw new InputError(
        `Cannot ${action} ${what}: it has ${whole.ids.length} tokens, and the model reads ` +
          `${most}; shorten it, or use truncate true to read its beginning alone`,
      );
    }
    [first, second] = cut(first, second, most - own);
    whole = tokenizer.surround(first, second);
  }
  const { ids, tokenTypeIds } = whole;
  const segments = engine.programs.prompts?.fields?.tokenTypeIds ?? 0;
  return { ids, ...(facts.usesSegments && segments > 1 && { tokenTypeIds }) };
}

/**
 * Texts that have `room` tokens together: of a pair, the longer one is cut first, as the Hugging Face
 * library does it ("longest_first").
 */
function cut(
  first: number[],
  second: number[] | undefined,
  room: number,
): [first: number[], second: number[] | undefined] {
  if (!second) return [first.slice(0, room), undefined];
  const swaps = first.length > second.length;
  const [short, long] = swaps ? [second.length, first.length] : [first.length, second.length];
  let a = short, b = short > room ? short : Math.max(short, room - short);
  if (a + b > room) [a, b] = [Math.floor(room / 2), Math.ceil(room / 2)];
  b = Math.min(b, long);
  return swaps ? [first.slice(0, b), second.slice(0, a)] : [first.slice(0, a), second.slice(0, b)];
}

/**
 * Refuses what is no text.
 *
 * @throws InputError
 */
export function checkText(action: string, value: unknown): asserts value is string {
  if (accepts(TEXT, value)) return;
  throw new InputError(`Cannot ${action} ${quote(value)}: expected a text`);
}

/** What a model has instead of what a task needs, in words. */
export function headsOf({ engine }: TaskModel): string {
  const { programs } = engine, has: string[] = [];
  if (programs.decode) has.push("logits of the next word");
  else if (engine.gives("encode", "logits")) has.push("a head for masked words");
  if (programs.encode && engine.gives("encode", "scores")) has.push("a classifier");
  if (programs.encode && engine.gives("encode", "pooled")) has.push("a pooled first token");
  return [...has, "hidden states"].join(", ");
}

/**
 * Refuses a task that the model has no head for.
 *
 * @throws ModelError naming what it has
 */
export function needs(
  model: TaskModel,
  action: string,
  output: "logits" | "scores",
  missing: string,
): void {
  const { engine, name } = model, { decode, encode } = engine.programs;
  if (encode && !(decode && output === "logits") && engine.gives("encode", output)) return;
  throw new ModelError(
    `Cannot ${action} with ${quote(name)}: it has ${headsOf(model)}, and not ${missing}; use a ` +
      `model that was trained for it`,
  );
}

/** Works on items, at most so many at the same time; the first failure ends it. */
export async function inTurn<T, R>(
  items: readonly T[],
  most: number,
  work: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results = new Array<R>(items.length);
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length) {
      const index = next++;
      try {
        results[index] = await work(items[index]!, index);
      } catch (error) {
        next = items.length;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(most, items.length) }, worker));
  return results;
}

/** Texts of which an encoder has the ids at hand, so that it can read several in one run. */
export const TEXTS_AT_ONCE = 64;

/** Probabilities of logits, in float64: their exponentials, which add up to 1. */
export function softmax(logits: Float32Array): Float64Array {
  const most = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const weights = Float64Array.from(logits, (it) => Math.exp(it - most));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((it) => it / sum);
}

/** `1 / (1 + e^-x)`. */
export function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}
