/**
 * A conversation with a model: the tokens so far, their cached keys and values, and generation.
 *
 * @module
 */

import { InputError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { accepts, type Rule } from "../../options.ts";
import {
  chat,
  type ChatCompletion,
  type ChatOptions,
  chatStream,
  complete,
  type Completion,
} from "./complete.ts";
import { Engine } from "../engine/engine.ts";
import type { Ahead } from "./ahead.ts";
import { forget, type LeaseHolder } from "../engine/leases.ts";
import type { Sequence } from "../models/program.ts";
import type { Prompt } from "../models/prompt.ts";
import { EMPTY, firstTokens, sharedTokens } from "../models/sequence.ts";
import type { TokenChoice } from "../backends/backend.ts";
import { generate } from "./generate.ts";
import type { GenerateOptions, Token } from "./generate_options.ts";
import type { ChatMessage } from "../text/chat_template.ts";
import { prefill, prefillAll } from "./prefill.ts";
import { type RestoredSession, saveSession } from "./saved_session.ts";
import { aheadOf } from "./session_ahead.ts";
import type { PrefillOptions, SessionModel, SessionState } from "./text_session.ts";

const SESSION_MODEL: Rule = {
  expected: "what Model.session gives",
  accepts: (value) => (value as SessionModel).engine instanceof Engine,
};

/**
 * Owns a token history and its cache. Sessions of one model that generate at the same time run
 * together, as many as the model keeps `sequences`; a session whose cache rows another one needed
 * computes them again, which costs time and nothing else. A prompt that begins as the tokens of another
 * session takes over what that one has cached, with the same result as if it had not.
 *
 * @example
 * ```ts ignore
 * await using model = await loadModel("model.gguf");
 * using session = model.session();
 * for await (const { text } of session.generate("Once upon a time")) console.log(text);
 * ```
 */
export class Session {
  readonly #model: SessionModel;
  /** Tokens of the sequence, and what belongs to them. */
  #sequence: Sequence = EMPTY;
  /** How many of them have their keys and values in the cache; more while a prompt is under way. */
  readonly #holder: LeaseHolder;
  readonly #state: SessionState;
  #disposed = false;
  /** The step of a generation that is under way, and whether that was aborted or left. */
  #step: { readonly ended: Promise<unknown>; isGivenUp(): boolean } | undefined;

  /** Sessions are made by `Model.session` and `Model.restore`. */
  constructor(model: SessionModel, restored?: RestoredSession) {
    if (!accepts(SESSION_MODEL, model)) {
      throw new InputError("Cannot make a Session: sessions are made by Model.session");
    }
    this.#model = model;
    this.#holder = restored?.holder ?? { cached: 0 };
    if (restored) this.#sequence = restored.sequence;
    this.#state = this.#stateOf();
  }

  /** Number of tokens so far. */
  get position(): number {
    return this.history.length;
  }

  /** The tokens so far; another list after each change. */
  get history(): readonly number[] {
    return this.#sequence.ids;
  }

  /** How many of them are in the cache; the others are computed again with the next ones. */
  get cachedTokens(): number {
    return Math.min(this.#holder.cached, this.position);
  }

  /**
   * How many tokens of the last prompt came from another session's rows.
   *
   * @internal
   */
  get takenTokens(): number {
    return this.#holder.taken ?? 0;
  }

  /**
   * Appends tokens and returns the logits after the last one, `[vocab]`. An empty session takes a
   * whole prompt, with the fields that the model accepts; for an encoder–decoder, whose encoder reads
   * it, the tokens of the session are those of the decoder.
   *
   * @throws InputError when an id is out of range, there is none, the context is full, or the prompt
   * has a field that the model does not take, or that can only begin a session
   * @throws ModelError when a logit is NaN or infinite; -Infinity is a word that the model rules out
   */
  async prefill(
    given: readonly number[] | Prompt,
    options: PrefillOptions = {},
  ): Promise<Float32Array> {
    return await prefill(this.#model.engine, this.#state, given, options);
  }

  /**
   * Appends tokens as `prefill` does, and returns the logits after each of them, `[tokens, vocab]`
   * row-major; for an encoder–decoder those of the target's tokens. Errors as for `prefill`.
   */
  async logits(
    given: readonly number[] | Prompt,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<Float32Array> {
    return await prefillAll(this.#model.engine, this.#state, given, options);
  }

  /** Appends one token and returns the logits after it, `[vocab]`. Errors as for `prefill`. */
  step(id: number): Promise<Float32Array> {
    return this.prefill([id]);
  }

  /**
   * Forgets all but the first `length` tokens; their cache is kept, unless the model reads more of
   * them together: a prefix, of which a part is left, is computed again. Without any token left, the
   * source of an encoder–decoder is forgotten, too.
   *
   * @throws InputError when `length` is no whole number of at least 0
   */
  truncate(length: number): void {
    if (!Number.isInteger(length) || length < 0) {
      throw new InputError(
        `Cannot truncate a session to ${quote(length)} tokens: expected a whole number from 0`,
      );
    }
    const { prefixLength = 0 } = this.#sequence;
    this.#sequence = firstTokens(this.#sequence, length);
    if (length === 0) forget(this.#holder);
    // A prefix that has become another one has other keys and values.
    this.#holder.cached = length < prefixLength ? 0 : Math.min(this.#holder.cached, length);
  }

  /**
   * Begins anew with a prompt, of which everything that the session has in common with it stays:
   * the number of such tokens. The others have to follow; the last one always does.
   *
   * @internal
   */
  begin(sequence: Sequence): number {
    const shared = sharedTokens(this.#sequence, sequence);
    this.truncate(shared);
    this.#holder.taken = 0;
    return shared;
  }

  /** Forgets all tokens. */
  reset(): void {
    this.truncate(0);
  }

  /**
   * Streams the model's continuation of a prompt: text, token ids or a `Prompt`. The prompt replaces the
   * session's tokens; the part that it shares with them is not computed again. What a
   * generation that was aborted or left still has on the backend is waited for; two at the same
   * time in one session end with an error.
   *
   * @throws InputError when the prompt is empty or longer than the context, an option is unknown or
   * wrong, or a constraint gives something else than an `Allowance`, or none that can be kept
   * @throws ModelError when the prompt is text and the model has no tokenizer, or when logits are NaN
   * or infinite, or all ruled out
   */
  generate(
    prompt: string | readonly number[] | Prompt,
    options: GenerateOptions = {},
  ): AsyncGenerator<Token, void, void> {
    let isLeft = false;
    const stream = generate(this, this.#model, prompt, options, () => isLeft);
    const end = stream.return.bind(stream);
    stream.return = (value) => {
      isLeft = true;
      return end(value);
    };
    return stream;
  }

  /**
   * The model's whole continuation of a prompt: text, token ids or a `Prompt`: what `generate` streams, as a
   * promise. The prompt replaces the session's tokens; the part that it shares with them is not
   * computed again. Rejects with the reason of `options.signal` where that ends it. Errors as for
   * `generate`.
   */
  complete(
    prompt: string | readonly number[] | Prompt,
    options: GenerateOptions = {},
  ): Promise<Completion> {
    return complete(this, prompt, options);
  }

  /**
   * The model's whole answer to a conversation, written with the chat template that came with it.
   * What the conversation shares with the session's tokens is not computed again.
   *
   * @throws InputError when the template refuses the messages, and as `generate`
   * @throws ModelError when the model came without a chat template, and as `generate`
   */
  chat(messages: readonly ChatMessage[], options: ChatOptions = {}): Promise<ChatCompletion> {
    return chat(this, this.#model.chatPrompt, messages, options);
  }

  /** Streams the answer that `chat` gives as a whole; errors as for `chat`. */
  chatStream(
    messages: readonly ChatMessage[],
    options: ChatOptions = {},
  ): AsyncGenerator<Token, void, void> {
    return chatStream(this, this.#model.chatPrompt, messages, options);
  }

  /**
   * The step of a generation that was aborted or left and is still on the backend, if there is one:
   * it changes the tokens when it ends.
   *
   * @internal
   */
  get leaving(): Promise<unknown> | undefined {
    return this.#step?.isGivenUp() ? this.#step.ended : undefined;
  }

  /**
   * Marks a step of a generation as under way until it ends.
   *
   * @internal
   */
  underWay<T>(promise: Promise<T>, isGivenUp: () => boolean): Promise<T> {
    const ended = promise.catch(() => {}).finally(() => {
      if (this.#step === step) this.#step = undefined;
    });
    const step = { ended, isGivenUp };
    this.#step = step;
    return promise;
  }

  /**
   * Generation where tokens are chosen on the backend, or undefined where it cannot; for `generate`.
   * `generated` are the tokens of the text so far, a list that grows with it.
   *
   * @internal
   */
  ahead(given: TokenChoice, generated: readonly number[]): Ahead | undefined {
    return aheadOf(this.#model.engine, this.#state, given, generated);
  }

  /**
   * The session as bytes: its tokens, and the rows of the cache that it holds. `Model.restore` makes a
   * session of them that goes on as if this one had never been away, on the same backend to the bit. It
   * may be called at any time, also while a text is generated. Their size is that of the cache: twice
   * layers, tokens, and the width of keys, in the cache's type. The bytes tell what was said to whoever
   * reads them.
   *
   * @throws InputError when the session or the model has been disposed
   * @throws MemoryError when the bytes cannot be had
   * @throws SourceError when the model's file, of which a fingerprint is kept, cannot be read any more
   *
   * @example
   * ```ts
   * import { loadModel } from "@sparrow/sparrow";
   *
   * await using model = await loadModel();
   * const session = model.session();
   * await session.complete("春眠不觉晓，", { maxTokens: 8 });
   * const bytes = await session.save(); // for a file, a database
   * using again = await model.restore(bytes);
   * console.log(again.cachedTokens === session.cachedTokens);
   * ```
   */
  save(): Promise<Uint8Array> {
    return saveSession(this.#model, this.#state);
  }

  /** What others may know of it, and change. */
  #stateOf(): SessionState {
    const position = (): number => this.position;
    const isUnbegun = (): boolean => this.#sequence === EMPTY;
    return {
      holder: this.#holder,
      get position() {
        return position();
      },
      get isUnbegun() {
        return isUnbegun();
      },
      current: () => {
        if (this.#disposed) throw new InputError("Cannot run a session that has been disposed");
        // What a run that was given up has cached beyond it does not count, nor what it has encoded.
        this.#holder.cached = this.cachedTokens;
        if (!this.#sequence.source) this.#holder.encoded = false;
        return this.#sequence;
      },
      append: (id) => void (this.#sequence = { ...this.#sequence, ids: [...this.history, id] }),
      become: (sequence) => void (this.#sequence = sequence),
    };
  }

  /** Gives the cache rows back. */
  dispose(): void {
    this.#disposed = true;
    this.#model.engine.release(this.#holder);
  }

  /** As `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
