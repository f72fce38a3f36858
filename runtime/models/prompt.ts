/**
 * Prompts as callers give them, and the sequences that a model's programs take: which fields a model
 * has a use for, and what is wrong with one.
 *
 * @module
 */

import { InputError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { Sequence } from "./program.ts";

/**
 * A prompt as token ids, with what else a model may want to know of it. A field that a model has no
 * use for is an error; `Model.accepts` lists those that it takes.
 */
export interface Prompt {
  /** Token ids; for an encoder–decoder those of the source, which the encoder reads. */
  readonly ids: readonly number[];
  /** Tokens at the start that see each other in both directions: the prefix of a prefix or UniLM model. */
  readonly prefixLength?: number;
  /** Segment of each token, as BERT numbers the sentences of a pair. Default zeros. */
  readonly tokenTypeIds?: readonly number[];
  /** Task of each token, as ERNIE numbers them. Default zeros. */
  readonly taskTypeIds?: readonly number[];
  /** The target so far, for an encoder–decoder. Default the token that its decoder begins with. */
  readonly decoderIds?: readonly number[];
}

/** A field of a prompt beside the ids. */
export type PromptField = Exclude<keyof Prompt, "ids">;

/** What a model makes of prompts. */
export interface PromptRules {
  /** Fields that it takes, each with the number of values that there are, where they are numbered. */
  readonly fields?: Readonly<Partial<Record<PromptField, number>>>;
  /** What a decoder begins with, where an encoder reads the prompt. */
  readonly decoderStart?: readonly number[];
}

/** What prompts are checked against. */
export interface PromptLimits extends PromptRules {
  /** Words, that is, ids from 0 up to this. */
  readonly vocabSize: number;
  /** Most tokens of a sequence. */
  readonly contextLength: number;
}

const FIELDS: readonly PromptField[] = [
  "prefixLength",
  "tokenTypeIds",
  "taskTypeIds",
  "decoderIds",
];

/**
 * The sequence that a prompt means. Nothing is cut: what does not fit is an error.
 *
 * @throws InputError naming the field that is wrong, missing or of no use to the model
 */
export function toSequence(
  given: readonly number[] | Prompt,
  limits: PromptLimits,
): Sequence {
  const prompt = isIds(given) ? { ids: given } : given;
  if (typeof prompt !== "object" || prompt === null) {
    throw new InputError(
      `Cannot process a prompt of type ${typeof given}: expected token ids, or an object with ids`,
    );
  }
  const { fields = {}, decoderStart, vocabSize, contextLength } = limits;
  for (const name of Object.keys(prompt)) {
    const value = prompt[name as keyof Prompt];
    if (name === "ids" || value === undefined || name in fields) continue;
    const known = ["ids", ...FIELDS.filter((it) => it in fields)].join(", ");
    throw new InputError(
      `Cannot process a prompt with ${quote(name)}: this model takes ${known}`,
    );
  }
  const { ids, prefixLength, tokenTypeIds, taskTypeIds, decoderIds } = prompt;
  checkIds(ids, vocabSize);
  checkLength(ids, contextLength);
  const own: Sequence = {
    ids,
    ...(tokenTypeIds && { tokenTypeIds: checkAlong("tokenTypeIds", tokenTypeIds, ids, fields) }),
    ...(taskTypeIds && { taskTypeIds: checkAlong("taskTypeIds", taskTypeIds, ids, fields) }),
    ...(prefixLength !== undefined && { prefixLength: checkPrefix(prefixLength, ids) }),
  };
  if (!decoderStart) return own;
  const target = decoderIds ?? decoderStart;
  checkIds(target, vocabSize, "decoderIds");
  checkLength(target, contextLength, "decoderIds");
  return { ids: target, source: own };
}

/** Whether a prompt is nothing but ids. */
export function isIds(prompt: unknown): prompt is readonly number[] {
  return Array.isArray(prompt) || ArrayBuffer.isView(prompt);
}

/** Whether two sequences differ in nothing but their ids, so that a cache of one serves the other. */
export function sharesSetting(a: Sequence, b: Sequence): boolean {
  const same = (x: readonly number[] = [], y: readonly number[] = []): boolean =>
    x.length === y.length && x.every((it, i) => it === y[i]);
  return (a.prefixLength ?? 0) === (b.prefixLength ?? 0) &&
    same(a.tokenTypeIds, b.tokenTypeIds) && same(a.taskTypeIds, b.taskTypeIds) &&
    (a.source === undefined) === (b.source === undefined) && same(a.source?.ids, b.source?.ids) &&
    (!a.source || !b.source || sharesSetting(a.source, b.source));
}

/**
 * Throws unless there are ids and the model knows all of them.
 *
 * @throws InputError naming the first one that is wrong
 */
export function checkIds(
  ids: readonly number[],
  vocabSize: number,
  field: string = "a prompt",
): void {
  if (!isIds(ids)) {
    throw new InputError(`Cannot process ${field} of type ${typeof ids}: expected token ids`);
  }
  if (ids.length === 0) {
    throw new InputError(`Cannot process ${field} of no tokens: give at least one`);
  }
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i]!;
    if (!Number.isInteger(id) || id < 0 || id >= vocabSize) {
      throw new InputError(
        `Cannot process token id ${quote(id)} at index ${i}: expected a whole number from 0 to ` +
          `${vocabSize - 1}`,
      );
    }
  }
}

function checkLength(
  { length }: readonly number[],
  contextLength: number,
  field: string = "a prompt",
): void {
  if (length <= contextLength) return;
  throw new InputError(
    `Cannot process ${field} of ${length} tokens: the context holds ${contextLength}; shorten it ` +
      `or raise contextLength`,
  );
}

function checkPrefix(length: number, ids: readonly number[]): number {
  if (Number.isInteger(length) && length >= 0 && length <= ids.length) return length;
  throw new InputError(
    `Cannot process a prompt with prefixLength ${
      quote(length)
    }: expected a whole number from 0 to ` +
      `${ids.length}, the length of its ids`,
  );
}

/** Checks numbers that go along with the ids. */
function checkAlong(
  field: PromptField,
  numbers: readonly number[],
  ids: readonly number[],
  fields: Readonly<Partial<Record<PromptField, number>>>,
): readonly number[] {
  const most = fields[field]! - 1;
  if (!isIds(numbers) || numbers.length !== ids.length) {
    throw new InputError(
      `Cannot process a prompt with ${isIds(numbers) ? numbers.length : "no list of"} ${field}: ` +
        `expected ${ids.length}, one for each id`,
    );
  }
  for (const [i, value] of numbers.entries()) {
    if (Number.isInteger(value) && value >= 0 && value <= most) continue;
    throw new InputError(
      `Cannot process a prompt with ${field} ${
        quote(value)
      } at index ${i}: expected a whole number ` +
        `from 0 to ${most}`,
    );
  }
  return numbers;
}
