/**
 * `POST /v1/completions`, as OpenAI describes it
 * (https://platform.openai.com/docs/api-reference/completions).
 *
 * @module
 */

import type { GenerationResult, Model, TokenLogprobs } from "../../mod.ts";
import { z } from "../deps.ts";
import { badRequest, refusalOf } from "../errors.ts";
import { SAMPLING } from "../fields.ts";
import {
  checkLength,
  checkPrompt,
  type ChoiceEvent,
  finishReason,
  generateRuns,
  resultsOf,
  type Run,
  runsOf,
  samplingOf,
  usageOf,
} from "../generation.ts";
import type { ServedModel } from "../models.ts";
import type { Answer } from "../answer.ts";
import { finite, ownToken } from "./logprobs.ts";

const IDS = z.array(z.int().min(0)).min(1);

/** What a request may say. */
export const COMPLETION_FIELDS = z.strictObject({
  ...SAMPLING,
  prompt: z.union([z.string(), IDS, z.array(z.union([z.string(), IDS])).min(1).max(256)]),
  max_tokens: z.int().min(0).optional(),
  logprobs: z.int().min(0).max(20).optional(),
  echo: z.boolean().optional(),
  best_of: z.int().min(1).optional(),
  suffix: z.literal("", "texts cannot be filled in between").optional(),
});

/** The fields of a request. */
export type CompletionFields = z.output<typeof COMPLETION_FIELDS>;

/** What OpenAI takes where no limit is said. */
const MOST_TOKENS = 16;

/** A prompt with its text. */
interface PlainPrompt {
  readonly ids: readonly number[];
  readonly text: string;
}

/** Continues prompts. */
export async function answerCompletion(
  served: ServedModel,
  fields: CompletionFields,
  signal: AbortSignal,
): Promise<Answer> {
  const { n = 1, stream = false, stream_options: streaming, echo = false, logprobs } = fields;
  const { best_of: best = n, max_tokens: maxTokens = MOST_TOKENS } = fields;
  if (best !== n) {
    throw badRequest(`Cannot answer: best_of is ${best} and n ${n}; expected the same`, {
      param: "best_of",
    });
  }
  if (echo && logprobs !== undefined) {
    throw badRequest(
      "Cannot answer: echo with logprobs, those of the prompt, is not supported yet",
      { param: "echo" },
    );
  }
  const prompts = promptsOf(served, fields.prompt);
  const options = {
    ...samplingOf(fields),
    ...{ maxTokens },
    ...(logprobs !== undefined && { logprobs }),
  };
  const runs: Run[] = prompts.flatMap(({ ids }) => runsOf(ids, options, n));
  const head = {
    id: `cmpl-${crypto.randomUUID()}`,
    object: "text_completion",
    created: Math.floor(Date.now() / 1000),
    model: served.name,
  };
  served.sessions.admit(runs.length);
  const events = generateRuns(served, runs, signal);
  const texts = runs.map((_, i) => echo ? prompts[Math.floor(i / n)]!.text : "");
  const usage = (results: readonly GenerationResult[]): object =>
    usageOf(results, prompts.map(({ ids }) => ids));
  if (stream) {
    const includesUsage = streaming?.include_usage === true;
    return { events: chunks(served.model, head, events, texts, includesUsage ? usage : undefined) };
  }
  const results = await resultsOf(events);
  const choices = results.map(({ text, stopReason, logprobs: list }, index) => ({
    text: texts[index] + text,
    index,
    logprobs: list ? columns(list, 0) : null,
    finish_reason: finishReason(stopReason),
  }));
  return { whole: { ...head, choices, usage: usage(results) } };
}

/** The prompts of a request: one text or list of ids, or several. */
function promptsOf(served: ServedModel, given: CompletionFields["prompt"]): PlainPrompt[] {
  const isOne = typeof given === "string" || typeof given[0] === "number";
  const list = (isOne ? [given] : given) as readonly (string | readonly number[])[];
  return list.map((prompt, i) => {
    const param = isOne ? "prompt" : `prompt[${i}]`;
    if (typeof prompt === "string" && served.model.hasTokenizer) {
      checkLength(served, prompt.length, param);
    }
    const { ids, text } = plainPrompt(served.model, prompt);
    checkPrompt(served, ids, param);
    const { vocabSize } = served.model.config, wrong = ids.find((id) => id >= vocabSize);
    if (wrong === undefined) return { ids, text };
    throw badRequest(
      `Cannot answer: ${param} has the token id ${wrong}, expected ids below ${vocabSize}`,
      { param },
    );
  });
}

function plainPrompt(model: Model, prompt: string | readonly number[]): PlainPrompt {
  try {
    if (typeof prompt === "string") return { ids: model.tokenizer.encode(prompt), text: prompt };
    return { ids: prompt, text: model.hasTokenizer ? model.tokenizer.decode(prompt) : "" };
  } catch (error) {
    throw refusalOf(error);
  }
}

/** Log-probabilities as this kind of answer has them, column by column; `offset` is where the text begins. */
function columns(list: readonly TokenLogprobs[], offset: number): object {
  const offsets: number[] = [];
  for (const { text } of list) {
    offsets.push(offset);
    offset += text.length;
  }
  return {
    tokens: list.map(({ text }) => text),
    token_logprobs: list.map(({ logprob }) => finite(logprob)),
    top_logprobs: list.map(({ top }) =>
      Object.fromEntries(top.map(({ text, logprob }) => [text, finite(logprob)]))
    ),
    text_offset: offsets,
  };
}

/** The answer in pieces. */
async function* chunks(
  model: Model,
  head: object,
  events: AsyncGenerator<ChoiceEvent, void, void>,
  echoed: readonly string[],
  usage: ((results: readonly GenerationResult[]) => object) | undefined,
): AsyncGenerator<object, void, void> {
  const chunk = (
    index: number,
    text: string,
    reason: string | null,
    logprobs?: object,
  ): object => ({
    ...head,
    choices: [{ text, index, logprobs: logprobs ?? null, finish_reason: reason }],
    ...(usage && { usage: null }),
  });
  const results: GenerationResult[] = [];
  const lengths = echoed.map(() => 0), begun = new Set<number>();
  for await (const { index, event } of events) {
    if (!begun.has(index)) {
      begun.add(index);
      if (echoed[index] !== "") yield chunk(index, echoed[index]!, null);
    }
    if ("result" in event) {
      results.push(event.result);
      yield chunk(index, "", finishReason(event.result.stopReason));
    } else if (event.logprob !== undefined) {
      const token = ownToken(model, event);
      yield chunk(index, event.text, null, columns([token], lengths[index]!));
      lengths[index]! += token.text.length;
    } else if (event.text !== "") yield chunk(index, event.text, null);
  }
  if (usage) yield { ...head, choices: [], usage: usage(results) };
}
