/**
 * The loop of generation: prompt in, sampled tokens out, until a stop token, a stop string, the
 * token limit or the end of the context.
 *
 * @module
 */

import { InputError, ModelError } from "../errors.ts";
import { sampler, type SamplerOptions } from "./sampler.ts";
import { checkIds, type Session, type SessionModel } from "./session.ts";

/** One generated token. */
export interface Token {
  /** Token id. */
  readonly id: number;
  /**
   * Text that became certain with this token: whole characters, empty while a character or a
   * possible stop string is incomplete, and always empty for a model without a tokenizer. The stop
   * token appears only when it makes such text certain.
   */
  readonly text: string;
}

/** Why generation ended: a stop token or string, a limit, or the caller's break or abort. */
export type StopReason = "stop" | "length" | "abort";

/** What generation came to. */
export interface GenerationResult {
  /** Why it ended. */
  readonly stopReason: StopReason;
  /** Tokens of the prompt. */
  readonly promptIds: readonly number[];
  /** How many of them were still cached from before. */
  readonly reusedTokens: number;
  /** Generated tokens, without the stop token. */
  readonly ids: readonly number[];
  /** Their text, without the stop string. */
  readonly text: string;
}

/** How to generate. */
export interface GenerateOptions extends SamplerOptions {
  /** Most tokens to generate; until the context is full where absent. */
  readonly maxTokens?: number;
  /** Tokens that end generation, instead of the model's own. */
  readonly stopIds?: readonly number[];
  /** Strings that end generation; they are not part of the text. */
  readonly stop?: readonly string[];
  /**
   * What to do when the context is full: `stop` ends with stop reason `length`; `slide` keeps the
   * first `sinkTokens` and the later half of the rest, and goes on (compare arXiv:2309.17453).
   */
  readonly overflow?: "stop" | "slide";
  /** Tokens at the start that `slide` keeps. Default 4. */
  readonly sinkTokens?: number;
  /** Whether special tokens written in a text prompt are recognized. Default false. */
  readonly parseSpecial?: boolean;
  /** Whether the tokenizer adds its own start and end tokens to a text prompt. Default true. */
  readonly addSpecial?: boolean;
  /** Ends generation; the iteration throws the signal's reason. */
  readonly signal?: AbortSignal;
  /** Called once when generation ends, however it ends. */
  readonly onFinish?: (result: GenerationResult) => void;
}

/** Streams tokens; see `Session.generate`. */
export async function* generate(
  session: Session,
  model: SessionModel,
  prompt: string | readonly number[],
  options: GenerateOptions,
): AsyncGenerator<Token, void, void> {
  const { maxTokens = Infinity, overflow = "stop", sinkTokens = 4, signal } = options;
  const { contextLength } = model.engine.options;
  if (!(maxTokens >= 0)) {
    throw new InputError(`Cannot generate ${maxTokens} tokens: expected a number of at least 0`);
  }
  if (!Number.isInteger(sinkTokens) || sinkTokens < 0 || sinkTokens > contextLength / 2) {
    throw new InputError(
      `Cannot keep ${sinkTokens} sink tokens: expected a whole number from 0 to half the ` +
        `context of ${contextLength}`,
    );
  }
  const sample = sampler(options);
  const promptIds = toIds(prompt, model, options);
  checkIds(promptIds, model.engine.config.vocabSize);
  if (promptIds.length > contextLength) {
    throw new InputError(
      `Cannot generate from a prompt of ${promptIds.length} tokens: the context holds ` +
        `${contextLength}; shorten the prompt or raise contextLength`,
    );
  }
  const stopIds = new Set(options.stopIds ?? model.stopIds);
  // A model may have more words than its tokenizer; those have no text.
  const words = model.tokenizer?.vocabSize ?? 0;
  const decoder = model.tokenizer?.decoder({ after: promptIds.filter((id) => id < words) });
  const emitted = new StopScanner(options.stop ?? []);
  const ids: number[] = [];
  let stopReason: StopReason = "abort";
  const reusedTokens = reusePrefix(session, promptIds);
  try {
    signal?.throwIfAborted();
    const logitsOf = (ids: readonly number[]): Promise<Float32Array> =>
      session.prefill(ids, signal ? { signal } : {});
    let logits: Float32Array | undefined;
    if (maxTokens > 0) logits = await logitsOf(promptIds.slice(reusedTokens));
    else stopReason = "length";
    while (logits) {
      signal?.throwIfAborted();
      const id = sample(logits, session.history);
      if (stopIds.has(id)) {
        stopReason = "stop";
        const rest = emitted.push(decoder?.flush() ?? "") + emitted.flush();
        if (rest !== "") yield { id, text: rest };
        return;
      }
      ids.push(id);
      let text = emitted.push(id < words ? decoder!.push(id) : "");
      const full = session.position === contextLength;
      if (emitted.stopped) stopReason = "stop";
      else if (ids.length === maxTokens || full && overflow === "stop") {
        stopReason = "length";
        // Characters and stop strings that stay incomplete are text after all.
        text += emitted.push(decoder?.flush() ?? "") + emitted.flush();
      }
      yield { id, text };
      if (stopReason !== "abort") return;
      const kept = full ? slide(session, sinkTokens) : [];
      logits = await logitsOf([...kept, id]);
    }
  } finally {
    options.onFinish?.({ stopReason, promptIds, reusedTokens, ids, text: emitted.text });
  }
}

function toIds(
  prompt: string | readonly number[],
  { tokenizer }: SessionModel,
  { addSpecial = true, parseSpecial = false }: GenerateOptions,
): readonly number[] {
  if (typeof prompt !== "string") return prompt;
  if (!tokenizer) {
    throw new ModelError(
      "Cannot read a text prompt: the model has no tokenizer; pass token ids, or add its " +
        "tokenizer.json",
    );
  }
  return tokenizer.encode(prompt, { addSpecial, parseSpecial });
}

/** Keeps the part of the session that the prompt starts with; its last token always runs again. */
function reusePrefix(session: Session, promptIds: readonly number[]): number {
  const { history } = session;
  let shared = 0;
  while (
    shared < history.length && shared < promptIds.length - 1 &&
    history[shared] === promptIds[shared]
  ) shared++;
  session.truncate(shared);
  return shared;
}

/** Makes room in a full context; returns the later tokens, which have to run again. */
function slide(session: Session, sinkTokens: number): readonly number[] {
  const { history } = session;
  const kept = history.slice(-Math.floor((history.length - sinkTokens) / 2));
  session.truncate(sinkTokens);
  return kept;
}

/** Holds back text that may be the beginning of a stop string. */
class StopScanner {
  readonly #stops: readonly string[];
  #held = "";
  text = "";
  stopped = false;

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== "");
  }

  /** Text that is certain now. */
  push(piece: string): string {
    this.#held += piece;
    let end = -1;
    for (const stop of this.#stops) {
      const at = this.#held.indexOf(stop);
      if (at >= 0 && (end < 0 || at < end)) end = at;
    }
    if (end >= 0) {
      this.stopped = true;
      return this.#emit(end);
    }
    let held = 0;
    for (const stop of this.#stops) {
      for (let n = Math.min(stop.length - 1, this.#held.length); n > held; n--) {
        if (this.#held.endsWith(stop.slice(0, n))) held = n;
      }
    }
    return this.#emit(this.#held.length - held);
  }

  /** What is still held when no more text comes. */
  flush(): string {
    return this.#emit(this.#held.length);
  }

  #emit(length: number): string {
    const text = this.#held.slice(0, length);
    this.#held = this.#held.slice(length);
    this.text += text;
    return text;
  }
}
