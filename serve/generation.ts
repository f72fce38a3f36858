/**
 * From the fields of a request to texts: how they are drawn, one run for each choice, and their events in
 * the order in which they come.
 *
 * @module
 */

import type { GenerateOptions, GenerationResult, Model, StopReason, Token } from "../mod.ts";
import { badRequest } from "./errors.ts";
import type { SamplingFields } from "./fields.ts";
import type { ServedModel } from "./models.ts";

/** One text to generate. */
export interface Run {
  /** Token ids of the prompt. */
  readonly ids: readonly number[];
  /** How to go on. */
  readonly options: GenerateOptions;
}

/** What a run gives: tokens, and at its end what it came to. */
export type RunEvent = Token | { readonly result: GenerationResult };

/** An event of one of several runs. */
export interface ChoiceEvent {
  /** Which run. */
  readonly index: number;
  /** What it gave. */
  readonly event: RunEvent;
}

/** Largest seed that a text is drawn with. */
const SEEDS = 2 ** 32;

/**
 * How texts are drawn. Where a field is absent, what OpenAI documents counts: the model's own
 * distribution, at temperature 1.
 */
export function samplingOf(fields: SamplingFields): GenerateOptions {
  const { temperature = 1, top_p: topP = 1, top_k: topK = 0, seed, stop, logit_bias } = fields;
  const { min_p, repeat_penalty, presence_penalty, frequency_penalty } = fields;
  return {
    ...{ temperature, topP, topK },
    ...(min_p !== undefined && { minP: min_p }),
    ...(repeat_penalty !== undefined && { repeatPenalty: repeat_penalty }),
    ...(presence_penalty !== undefined && { presencePenalty: presence_penalty }),
    ...(frequency_penalty !== undefined && { frequencyPenalty: frequency_penalty }),
    ...(seed !== undefined && { seed: ((seed % SEEDS) + SEEDS) % SEEDS }),
    ...(stop !== undefined && { stop: typeof stop === "string" ? [stop] : stop }),
    // -100 is a ban, as OpenAI has it.
    ...(logit_bias && {
      logitBias: Object.fromEntries(
        Object.entries(logit_bias).map(([id, bias]) => [id, bias <= -100 ? -Infinity : bias]),
      ),
    }),
  };
}

/**
 * Of how many most likely tokens log-probabilities are wanted; undefined where none are.
 *
 * @throws ApiError 400 where a number is given and they are not asked for
 */
export function topOf(
  { logprobs = false, top_logprobs: top }: {
    readonly logprobs?: boolean | undefined;
    readonly top_logprobs?: number | undefined;
  },
): number | undefined {
  if (logprobs) return top ?? 0;
  if (top === undefined) return undefined;
  throw badRequest("Cannot answer: top_logprobs needs logprobs to be true", {
    param: "top_logprobs",
  });
}

/** The runs of `n` choices for one prompt; each has a seed of its own, also where one is given. */
export function runsOf(
  ids: readonly number[],
  options: GenerateOptions,
  n: number,
): Run[] {
  const { seed } = options;
  return Array.from({ length: n }, (_, i) => ({
    ids,
    options: seed === undefined ? options : { ...options, seed: (seed + i) % SEEDS },
  }));
}

/**
 * Refuses a prompt that does not fit, or has no token.
 *
 * @throws ApiError 400 with both lengths
 */
export function checkPrompt({ model }: ServedModel, ids: readonly number[], param: string): void {
  if (ids.length > 0 && ids.length < model.contextLength) return;
  if (ids.length === 0) {
    throw badRequest("Cannot answer: the prompt is empty, expected at least one token", { param });
  }
  throw badRequest(
    `Cannot answer: the prompt has ${ids.length} tokens, the context has room for ` +
      `${model.contextLength} of prompt and answer; shorten the prompt`,
    { param, code: "context_length_exceeded" },
  );
}

/**
 * Refuses a text that is longer than any that fits, before it is made into tokens: others would have to
 * wait for that.
 *
 * @throws ApiError 400
 */
export function checkLength({ model }: ServedModel, characters: number, param: string): void {
  const longest = longestToken(model), most = model.contextLength * longest;
  if (characters <= most) return;
  throw badRequest(
    `Cannot answer: the prompt has ${characters} characters, expected at most ${most}, as many as ` +
      `${model.contextLength} of the longest tokens have, for which there is room; shorten it`,
    { param, code: "context_length_exceeded" },
  );
}

const longestTokens = new WeakMap<Model, number>();

/** Characters of the longest token of a model. */
function longestToken(model: Model): number {
  let longest = longestTokens.get(model);
  if (longest === undefined) {
    const { tokenizer } = model;
    longest = 1;
    for (let id = 0; id < tokenizer.vocabSize; id++) {
      longest = Math.max(longest, tokenizer.idToToken(id)?.length ?? 0);
    }
    longestTokens.set(model, longest);
  }
  return longest;
}

/** Generates one text. */
async function* generateRun(
  { sessions, onResult }: ServedModel,
  { ids, options }: Run,
  signal: AbortSignal,
): AsyncGenerator<RunEvent, void, void> {
  using lease = await sessions.lease(ids, signal);
  let result: GenerationResult | undefined;
  const onFinish = (it: GenerationResult): void => onResult(result = it);
  yield* lease.session.generate(ids, { ...options, signal, onFinish });
  if (result) yield { result };
}

/** Generates several texts and gives their events as they come; who leaves, or a failure, ends all. */
export async function* generateRuns(
  served: ServedModel,
  wanted: readonly Run[],
  given: AbortSignal,
): AsyncGenerator<ChoiceEvent, void, void> {
  const ending = new AbortController(), signal = AbortSignal.any([given, ending.signal]);
  const runs = wanted.map((run) => generateRun(served, run, signal));
  type Next = { index: number; next: IteratorResult<RunEvent, void> };
  const waiting = new Map<number, Promise<Next>>();
  const ask = (index: number): void => {
    const next = runs[index]!.next().then((next) => ({ index, next }));
    next.catch(() => {}); // whoever awaits it is told
    waiting.set(index, next);
  };
  runs.forEach((_, i) => ask(i));
  try {
    while (waiting.size > 0) {
      const { index, next } = await Promise.race(waiting.values());
      waiting.delete(index);
      if (next.done) continue;
      yield { index, event: next.value };
      ask(index);
    }
  } finally {
    ending.abort();
    await Promise.allSettled(runs.map((run) => run.return()));
  }
}

/** What each of several runs came to, when all have ended. */
export async function resultsOf(
  events: AsyncGenerator<ChoiceEvent, void, void>,
): Promise<GenerationResult[]> {
  const results: GenerationResult[] = [];
  for await (const { index, event } of events) {
    if ("result" in event) results[index] = event.result;
  }
  return results;
}

/** Why a choice ended, as OpenAI calls it. */
export function finishReason(reason: StopReason): "stop" | "length" {
  return reason === "length" ? "length" : "stop";
}

/** How many tokens an answer cost, as OpenAI counts them: a prompt once, however many choices it has. */
export function usageOf(
  results: readonly GenerationResult[],
  prompts: readonly (readonly number[])[],
): object {
  const promptTokens = prompts.reduce((sum, { length }) => sum + length, 0);
  const completionTokens = results.reduce((sum, { ids }) => sum + ids.length, 0);
  const cached = results.reduce((most, { reusedTokens }) => Math.max(most, reusedTokens), 0);
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: Math.min(cached, promptTokens) },
  };
}
