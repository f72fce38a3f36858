/**
 * Answers as Ollama's clients read them: pieces, of which the last one counts tokens and nanoseconds.
 *
 * @module
 */

import type { GenerateOptions, GenerationResult } from "../../mod.ts";
import type { Answer } from "../answer.ts";
import { finishReason, generateRuns, runsOf } from "../generation.ts";
import type { ServedModel } from "../models.ts";
import { logprobEntry, ownToken } from "../openai/logprobs.ts";

/** What of a text a piece has, as `{ response }` or `{ message }`. */
export type Wrap = (text: string) => object;

/** Generates one text and answers it whole or in pieces, as Ollama does where nothing is said. */
export async function answerOllama(
  served: ServedModel,
  ids: readonly number[],
  options: GenerateOptions,
  stream: boolean,
  wrap: Wrap,
  signal: AbortSignal,
): Promise<Answer> {
  served.sessions.admit(1);
  if (stream) return { events: ollamaPieces(served, ids, options, wrap, signal) };
  const start = performance.now();
  let begun = start, result: GenerationResult | undefined;
  for await (const { event } of generateRuns(served, runsOf(ids, options, 1), signal)) {
    if (begun === start) begun = performance.now();
    if ("result" in event) ({ result } = event);
  }
  const { text, logprobs } = result!;
  return {
    whole: {
      ...{ ...head(served), ...wrap(text), ...counts(result!, start, begun) },
      ...(logprobs && { logprobs: logprobs.map(logprobEntry) }),
    },
  };
}

/** What every piece begins with. */
function head({ name }: ServedModel): object {
  return { model: name, created_at: new Date().toISOString() };
}

async function* ollamaPieces(
  served: ServedModel,
  ids: readonly number[],
  options: GenerateOptions,
  wrap: Wrap,
  signal: AbortSignal,
): AsyncGenerator<object, void, void> {
  const start = performance.now();
  let begun: number | undefined;
  for await (const { event } of generateRuns(served, runsOf(ids, options, 1), signal)) {
    begun ??= performance.now();
    if ("result" in event) {
      yield { ...head(served), ...wrap(""), ...counts(event.result, start, begun) };
    } else if (event.logprob !== undefined) {
      const logprobs = [logprobEntry(ownToken(served.model, event))];
      yield { ...head(served), ...wrap(event.text), done: false, logprobs };
    } else if (event.text !== "") yield { ...head(served), ...wrap(event.text), done: false };
  }
}

/** The end of an answer. */
function counts(
  { promptIds, ids, stopReason }: GenerationResult,
  start: number,
  begun: number,
): object {
  const end = performance.now(), nanoseconds = (ms: number): number => Math.round(ms * 1e6);
  return {
    done: true,
    done_reason: finishReason(stopReason),
    total_duration: nanoseconds(end - start),
    load_duration: 0,
    prompt_eval_count: promptIds.length,
    prompt_eval_duration: nanoseconds(begun - start),
    eval_count: ids.length,
    eval_duration: nanoseconds(end - begun),
  };
}
