/**
 * Prompts as callers give them, and the sequences that a model's programs take: which fields a model
 * has a use for, and what is wrong with one.
 *
 * @module
 */

import { InputError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { accepts, NUMBERS, OBJECT, readIds, wholeNumberIn } from "../../options.ts";
import type { Sequence } from "./sequence.ts";

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
  /**
   * Whether the tokens of a prompt (for an encoder–decoder, of its target) belong together: those must
   * share one run, or are one segment.
   */
  readonly together?: boolean;
  /**
   * Finds what the model itself reads from the ids, such as where a prefix ends; again when a sequence
   * has got more of them.
   *
   * @throws InputError when they are no prompt for it
   */
  readonly complete?: (sequence: Sequence) => Sequence;
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
export function toSequence(given: readonly number[] | Prompt, limits: PromptLimits): Sequence {
  const { fields = {}, decoderStart, together, complete, vocabSize, contextLength } = limits;
  const prompt = readPrompt(given, fields);
  const ids = checkFit(readIds(prompt.ids, vocabSize), contextLength, "a prompt");
  const sequence: Sequence = {
    ids,
    ...numbersAlong("tokenTypeIds", prompt, ids, fields),
    ...numbersAlong("taskTypeIds", prompt, ids, fields),
    ...prefixOf(prompt, ids),
  };
  const completed = (it: Sequence): Sequence => {
    const opened = together ? { ...it, opening: it.ids.length } : it;
    return complete?.(opened) ?? opened;
  };
  if (!decoderStart) return completed(sequence);
  const target = readIds(prompt.decoderIds ?? decoderStart, vocabSize);
  return completed({ ids: checkFit(target, contextLength, "decoderIds"), source: sequence });
}

/** Names of the fields that prompts for a model may have. */
export function promptFields({ fields = {} }: PromptRules): readonly string[] {
  return ["ids", ...FIELDS.filter((it) => it in fields)];
}

/**
 * The ids of a prompt that has nothing else, to be appended to a sequence.
 *
 * @throws InputError for a field that can only begin a sequence
 */
export function idsOf(given: readonly number[] | Prompt): readonly number[] {
  if (accepts(NUMBERS, given) || !accepts(OBJECT, given)) return given as readonly number[];
  const other = Object.entries(given).find(([name, value]) =>
    name !== "ids" && value !== undefined
  );
  if (!other) return (given as Prompt).ids;
  throw new InputError(
    `Cannot append a prompt with ${
      quote(other[0])
    } to a session: it can only begin one; reset the ` +
      `session, or take a new one`,
  );
}

function readPrompt(given: unknown, fields: NonNullable<PromptRules["fields"]>): Prompt {
  if (accepts(NUMBERS, given)) return { ids: given as readonly number[] };
  if (!accepts(OBJECT, given)) {
    // Calls that take text have made ids of it before.
    const expected = typeof given === "string"
      ? "token ids, or an object with ids; tokenizer.encode makes them of a text"
      : "token ids, an object with ids, or a text where the call takes one";
    throw new InputError(`Cannot process a prompt ${quote(given)}: expected ${expected}`);
  }
  const known = promptFields({ fields });
  let prompt: Prompt;
  try {
    prompt = { ...given as Prompt }; // a copy, whose fields throw no more
  } catch (cause) {
    throw new InputError("Cannot process a prompt: its fields cannot be read", { cause });
  }
  for (const [name, value] of Object.entries(prompt)) {
    if (value === undefined || known.includes(name)) continue;
    throw new InputError(
      `Cannot process a prompt with ${quote(name)}: this model takes ${known.join(", ")}`,
    );
  }
  return prompt;
}

function checkFit(ids: readonly number[], contextLength: number, what: string): readonly number[] {
  if (ids.length <= contextLength) return ids;
  throw new InputError(
    `Cannot process ${what} of ${ids.length} tokens: the context holds ${contextLength}; shorten ` +
      `the prompt or raise contextLength`,
  );
}

function prefixOf(
  { prefixLength }: Prompt,
  { length }: readonly number[],
): { readonly prefixLength?: number } {
  if (prefixLength === undefined) return {};
  if (accepts(wholeNumberIn(0, length), prefixLength)) return { prefixLength };
  throw new InputError(
    `Cannot process a prompt with prefixLength ${quote(prefixLength)}: expected a whole number ` +
      `from 0 to ${length}, the number of its ids`,
  );
}

/** Numbers that go along with the ids, if there are any. */
function numbersAlong(
  field: "tokenTypeIds" | "taskTypeIds",
  prompt: Prompt,
  ids: readonly number[],
  fields: NonNullable<PromptRules["fields"]>,
): Sequence | Record<never, never> {
  const given = prompt[field];
  if (given === undefined) return {};
  if (!accepts(NUMBERS, given) || given.length !== ids.length) {
    throw new InputError(
      `Cannot process a prompt with ${field} ${
        quote(given)
      }: expected ${ids.length} numbers, one ` +
        `for each id`,
    );
  }
  const most = fields[field]! - 1, rule = wholeNumberIn(0, most);
  const numbers = Array.from(given), wrong = numbers.findIndex((it) => !accepts(rule, it));
  if (wrong >= 0) {
    throw new InputError(
      `Cannot process a prompt with ${field} ${
        quote(numbers[wrong])
      } at index ${wrong}: expected ` +
        rule.expected,
    );
  }
  return { [field]: numbers };
}
