/**
 * The loop of generation: prompt in, tokens out, until a stop token, a stop string, the token limit or
 * the end of the context. Where tokens come from is a source's business (token_source.ts).
 *
 * @module
 */

import { InputError, ModelError } from "../../errors.ts";
import { readOptions } from "../../options.ts";
import type { Prompt } from "../models/prompt.ts";
import type { Sequence } from "../models/sequence.ts";
import { Constrained } from "./constrained.ts";
import { deviceSource } from "./device_source.ts";
import { GeneratedText } from "./generated_text.ts";
import {
  GENERATE_RULES,
  type GenerateOptions,
  type StopReason,
  type Token,
} from "./generate_options.ts";
import { hostSource } from "./host_source.ts";
import { checkWrites } from "./read_texts.ts";
import { checkBiases, choiceOf } from "./sampler.ts";
import type { SessionModel, TextSession } from "./text_session.ts";
import { LogprobList } from "./token_logprobs.ts";
import type { Choice, Place, TokenSource } from "./token_source.ts";

/** Streams tokens; see `Session.generate`. `isLeft` tells whether nobody reads on. */
export async function* generate(
  session: TextSession,
  model: SessionModel,
  prompt: string | readonly number[] | Prompt,
  given: GenerateOptions,
  isLeft: () => boolean,
): AsyncGenerator<Token, void, void> {
  const { contextLength } = model.engine.options;
  const options = readOptions("generate", given, GENERATE_RULES);
  const { maxTokens = Infinity, overflow = "stop", signal, onPrompt, onFinish } = options;
  const sinkTokens = sinkTokensOf(options, contextLength);
  checkWrites(model.engine, "generate");
  const opening = toPrompt(prompt, model, options);
  const sequence = model.engine.sequenceOf(opening);
  const promptIds = (sequence.source ?? sequence).ids;
  if (overflow === "slide") checkSlides(sequence);
  checkStopIds(options, model.engine.config.vocabSize);
  const stopIds = new Set(options.stopIds ?? model.stopIds);
  const source = sourceOf(session, model, options, stopIds);
  const text = new GeneratedText(
    model.tokenizer,
    sequence.ids,
    options.stop ?? [],
    options.skipSpecial ?? true,
  );
  const logprobs = options.logprobs === undefined
    ? undefined
    : new LogprobList(model.tokenizer, sequence.ids);
  const ids: number[] = [];
  let stopReason: StopReason = "abort";
  while (session.leaving) await session.leaving;
  const shared = session.begin(sequence);
  let reusedTokens = Math.min(shared, session.cachedTokens);
  let { history } = session;
  const isGivenUp = (): boolean => signal?.aborted || isLeft();
  /** The token after those of a place, with which the session has `length` tokens. */
  const next = async (place: Place, length: number): Promise<Choice | undefined> => {
    const choice = await session.underWay(source.next(place), isGivenUp);
    signal?.throwIfAborted();
    if (choice && session.position !== length) throw disturbed();
    ({ history } = session);
    return choice;
  };
  try {
    signal?.throwIfAborted();
    if (maxTokens === 0) {
      stopReason = "length";
      return;
    }
    onPrompt?.({ done: reusedTokens, total: promptIds.length });
    let tokens: Place["tokens"] = shared > 0 ? sequence.ids.slice(shared) : opening;
    let onProgress = onPrompt, length = sequence.ids.length;
    for (;;) {
      const wanted = maxTokens - ids.length;
      const choice = await next({ tokens, generated: ids, wanted, onProgress }, length);
      if (ids.length === 0) reusedTokens = Math.max(reusedTokens, session.takenTokens);
      onProgress = undefined;
      if (!choice) {
        stopReason = "stop";
        return;
      }
      const { id, likely, isLast } = choice;
      if (stopIds.has(id)) {
        stopReason = "stop";
        const rest = text.end();
        logprobs?.end();
        if (rest !== "") yield { id, text: rest };
        return;
      }
      ids.push(id);
      let piece = text.push(id);
      if (likely) logprobs!.push(likely);
      const full = session.position === contextLength;
      if (text.stopped) stopReason = "stop";
      else if (isLast || ids.length === maxTokens || full && overflow === "stop") {
        piece += text.end();
        logprobs?.end();
        stopReason = isLast || text.stopped ? "stop" : "length";
      }
      yield likely ? { ...logprobs!.list.at(-1)!, text: piece } : { id, text: piece };
      if (stopReason !== "abort") return;
      signal?.throwIfAborted(); // before what others did in the meantime
      if (session.history !== history) throw disturbed();
      tokens = full ? [...slide(session, sinkTokens), id] : [id];
      length = session.position + tokens.length;
    }
  } finally {
    onFinish?.({
      ...{ stopReason, promptIds, reusedTokens, ids, text: text.text },
      ...(logprobs && { logprobs: logprobs.list }),
    });
  }
}

/** Where the tokens of a text come from: the device where it can choose them, else the host. */
function sourceOf(
  session: TextSession,
  { engine }: SessionModel,
  options: GenerateOptions,
  stopIds: ReadonlySet<number>,
): TokenSource {
  const choice = choiceOf(options);
  checkBiases(choice, engine.config.vocabSize);
  const { signal, constraint, logprobs } = options;
  const constrained = constraint &&
    new Constrained(constraint, stopIds, engine.config.vocabSize, signal);
  const host = hostSource(session, { choice, constrained, logprobs, signal });
  if (constrained || logprobs !== undefined) return host;
  return deviceSource(session, engine, choice, signal, host);
}

/** Refuses ids that no token has: they would stop nothing. */
function checkStopIds({ stopIds = [] }: GenerateOptions, vocabSize: number): void {
  const wrong = stopIds.find((id) => id < 0 || id >= vocabSize);
  if (wrong === undefined) return;
  throw new InputError(
    `Cannot stop at token id ${wrong}: expected stopIds from 0 to ${vocabSize - 1}`,
  );
}

function disturbed(): InputError {
  return new InputError(
    "Cannot go on generating: another call changed the session's tokens; use one session for " +
      "each text that is generated at the same time",
  );
}

/** How many tokens at the start stay when a full context slides. */
function sinkTokensOf({ sinkTokens }: GenerateOptions, contextLength: number): number {
  const most = Math.floor(contextLength / 2);
  if (sinkTokens === undefined) return Math.min(4, most);
  if (sinkTokens <= most) return sinkTokens;
  throw new InputError(
    `Cannot generate with sinkTokens ${sinkTokens}: expected a whole number from 0 to ${most}, ` +
      `half the context`,
  );
}

/** Refuses to slide where what the text answers to would go. */
function checkSlides(sequence: Sequence): void {
  if (!sequence.source && !sequence.prefixLength) return;
  throw new InputError(
    'Cannot generate with overflow "slide" from a prefix or a source: what the text answers to ' +
      "would slide out of the context; expected stop",
  );
}

function toPrompt(
  prompt: string | readonly number[] | Prompt,
  { tokenizer }: SessionModel,
  { addSpecial = true, parseSpecial = false }: GenerateOptions,
): readonly number[] | Prompt {
  if (typeof prompt !== "string") return prompt;
  if (!tokenizer) {
    throw new ModelError(
      "Cannot read a text prompt: the model has no tokenizer; pass token ids, or add its " +
        "tokenizer.json",
    );
  }
  return tokenizer.encode(prompt, { addSpecial, parseSpecial });
}

/** Makes room in a full context; returns the later tokens, which have to run again. */
function slide(session: TextSession, sinkTokens: number): readonly number[] {
  const { history } = session;
  const kept = history.slice(Math.ceil((history.length + sinkTokens) / 2));
  session.truncate(sinkTokens);
  return kept;
}
