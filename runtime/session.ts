/**
 * A conversation with a model: the tokens so far, their cached keys and values, and generation.
 *
 * @module
 */

import { InputError } from "../errors.ts";
import { quote } from "../escape.ts";
import { CALLBACK, readIds, readOptions, type Rules, SIGNAL } from "../options.ts";
import {
  chat,
  type ChatCompletion,
  type ChatOptions,
  type ChatPrompt,
  chatStream,
  complete,
  type Completion,
} from "./complete.ts";
import { Engine } from "./engine.ts";
import { Ahead } from "./ahead.ts";
import { notFinite } from "./flaws.ts";
import type { LeaseHolder } from "./leases.ts";
import { LAST_LOGITS } from "./plans.ts";
import type { TokenChoice } from "./backend.ts";
import { generate, type GenerateOptions, type Token } from "./generate.ts";
import type { ChatMessage } from "./text/chat_template.ts";
import type { Tokenizer } from "./text/tokenizer.ts";

/** What a session needs of its model. */
export interface SessionModel {
  /** Runs tokens. */
  readonly engine: Engine;
  /** Text to tokens and back; absent for a model without tokenizer files. */
  readonly tokenizer: Tokenizer | undefined;
  /** Tokens that end an answer, from the model's files. */
  readonly stopIds: readonly number[];
  /** What writes the prompt of a conversation; absent for a model without a chat template. */
  readonly chatPrompt?: ChatPrompt;
}

/** How far a prompt has come. */
export interface PromptProgress {
  /** Tokens of the sequence that are in the cache. */
  readonly done: number;
  /** Tokens of the sequence, those before the prompt too. */
  readonly total: number;
}

/** How `Session.prefill` runs. */
export interface PrefillOptions {
  /** Ends it between two parts of the prompt; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Called after each part of the prompt, some hundred tokens, and at its end. */
  readonly onProgress?: (progress: PromptProgress) => void;
}

const PREFILL_RULES: Rules<PrefillOptions> = { signal: SIGNAL, onProgress: CALLBACK };

/**
 * Owns a token history and its cache. Sessions of one model that generate at the same time run
 * together, as many as the model keeps `sequences`; a session whose cache rows another one needed
 * computes them again, which costs time and nothing else.
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
  /** Tokens of the sequence. */
  #history: readonly number[] = [];
  /** How many of them have their keys and values in the cache; more while a prompt is under way. */
  readonly #holder: LeaseHolder = { cached: 0 };
  #disposed = false;
  /** The step of a generation that is under way, and whether that was aborted or left. */
  #step: { readonly ended: Promise<unknown>; isGivenUp(): boolean } | undefined;

  /** Sessions are made by `Model.session`. */
  constructor(model: SessionModel) {
    if (!(model?.engine instanceof Engine)) {
      throw new InputError("Cannot make a Session: sessions are made by Model.session");
    }
    this.#model = model;
  }

  /** Number of tokens so far. */
  get position(): number {
    return this.#history.length;
  }

  /** The tokens so far; another list after each change. */
  get history(): readonly number[] {
    return this.#history;
  }

  /** How many of them are in the cache; the others are computed again with the next ones. */
  get cachedTokens(): number {
    return Math.min(this.#holder.cached, this.#history.length);
  }

  /**
   * Appends tokens and returns the logits after the last one, `[vocab]`.
   *
   * @throws InputError when an id is out of range, there is none, or the context is full
   * @throws ModelError when a logit is NaN or infinite; -Infinity is a word that the model rules out
   */
  async prefill(given: readonly number[], options: PrefillOptions = {}): Promise<Float32Array> {
    const { engine } = this.#model;
    const { signal, onProgress } = readOptions("process a prompt", options, PREFILL_RULES);
    const ids = readIds(given, engine.config.vocabSize);
    let tokens: readonly number[] = [];
    const logits = await engine.run({
      holder: this.#holder,
      output: LAST_LOGITS,
      signal,
      ...(onProgress && {
        progress: (done: number) => onProgress({ done, total: this.#history.length + ids.length }),
      }),
      sequence: () => {
        const length = this.#tokens().length + ids.length;
        if (length > engine.options.contextLength) {
          throw new InputError(
            `Cannot process ${ids.length} tokens at position ${this.#history.length}: the ` +
              `context holds ${engine.options.contextLength} tokens; shorten the prompt or raise ` +
              `contextLength`,
          );
        }
        return { ids: tokens = [...this.#history, ...ids] };
      },
      finish: (logits) => {
        this.#history = tokens;
        return logits;
      },
    });
    onProgress?.({ done: tokens.length, total: tokens.length });
    return logits;
  }

  /** Appends one token and returns the logits after it, `[vocab]`. Errors as for `prefill`. */
  step(id: number): Promise<Float32Array> {
    return this.prefill([id]);
  }

  /**
   * Forgets all but the first `length` tokens; their cache is kept.
   *
   * @throws InputError when `length` is no whole number of at least 0
   */
  truncate(length: number): void {
    if (!Number.isInteger(length) || length < 0) {
      throw new InputError(
        `Cannot truncate a session to ${quote(length)} tokens: expected a whole number from 0`,
      );
    }
    this.#history = this.#history.slice(0, length);
    this.#holder.cached = Math.min(this.#holder.cached, length);
  }

  /** Forgets all tokens. */
  reset(): void {
    this.truncate(0);
  }

  /**
   * Streams the model's continuation of a prompt, text or token ids. The prompt replaces the
   * session's tokens; the part that it shares with them is not computed again. What a
   * generation that was aborted or left still has on the backend is waited for; two at the same
   * time in one session end with an error.
   *
   * @throws InputError when the prompt is empty or longer than the context, or an option is unknown
   * or wrong
   * @throws ModelError when the prompt is text and the model has no tokenizer, or when logits are NaN
   * or infinite
   */
  generate(
    prompt: string | readonly number[],
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
   * The model's whole continuation of a prompt, text or token ids: what `generate` streams, as a
   * promise. The prompt replaces the session's tokens; the part that it shares with them is not
   * computed again. Rejects with the reason of `options.signal` where that ends it. Errors as for
   * `generate`.
   */
  complete(
    prompt: string | readonly number[],
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
   * `draw` random numbers have been drawn before.
   *
   * @internal
   */
  ahead(choice: TokenChoice, draw: number): Ahead | undefined {
    const { engine } = this.#model;
    if (!engine.canRunAhead) return undefined;
    const { contextLength } = engine.options;
    const room = (): number => contextLength - this.#history.length;
    const runner = {};
    return new Ahead({
      get room() {
        return room();
      },
      submit: (id, count, underWay, draw) =>
        underWay
          ? engine.exclusive(() => {
            const isCached = this.#tokens().length === this.#holder.cached;
            const goesOn = isCached && engine.isAhead(runner);
            return Promise.resolve(
              goesOn ? { ids: engine.runAhead(runner, undefined, count, choice, draw) } : undefined,
            );
          })
          : engine.run({
            holder: this.#holder,
            output: LAST_LOGITS,
            sequence: () => ({ ids: this.#tokens() }),
            finish: (_, firstRow) => {
              const sequence = { ids: [...this.#history, id] }, position = this.#history.length;
              const start = { sequence, position, count: 1, offset: 0, firstRow };
              return { ids: engine.runAhead(runner, start, count, choice, draw) };
            },
          }),
      flaw: () =>
        notFinite("a logit that was computed on the GPU is NaN or infinite", engine.facts),
      accept: (id) => {
        const isCached = this.#holder.cached === this.#history.length;
        this.#history = [...this.#history, id];
        if (isCached) this.#holder.cached = this.#history.length;
      },
    }, draw);
  }

  /** The history, for a run; what a run that was given up has cached beyond it does not count. */
  #tokens(): readonly number[] {
    if (this.#disposed) throw new InputError("Cannot run a session that has been disposed");
    this.#holder.cached = this.cachedTokens;
    return this.#history;
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
