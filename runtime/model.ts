/**
 * `Model`: what a loaded model answers. load.ts makes it.
 *
 * @module
 */

import { InputError, ModelError } from "../errors.ts";
import { quote } from "../escape.ts";
import type { BackendName } from "./backends/backend.ts";
import { isA, readIds, readOptions, SIGNAL } from "../options.ts";
import {
  type ChatCompletion,
  type ChatOptions,
  type Completion,
  readMessages,
  RENDER_RULES,
} from "./generation/complete.ts";
import { Engine } from "./engine/engine.ts";
import type { GenerateOptions } from "./generation/generate_options.ts";
import type { ModelConfig } from "./models/definition.ts";
import { type Prompt, promptFields } from "./models/prompt.ts";
import { type Score, score, SCORE_RULES, type ScoreOptions } from "./generation/score.ts";
import {
  embed,
  type EmbedOptions,
  encode,
  type Encoding,
  readLogits,
} from "./generation/read_texts.ts";
import { type RestoreOptions, restoreSession } from "./generation/saved_session.ts";
import { Session } from "./generation/session.ts";
import type { SessionModel } from "./generation/text_session.ts";
import {
  type ChatMessage,
  type ChatTemplate,
  chatTemplate,
  type RenderOptions,
} from "./text/chat_template.ts";
import type { Tokenizer } from "./text/tokenizer/tokenizer.ts";

/**
 * A loaded model: immutable, shared by any number of sessions. Made by `loadModel`.
 *
 * @example
 * ```ts
 * import { loadModel } from "@sparrow/sparrow";
 *
 * await using model = await loadModel(); // the small one that comes with Sparrow
 * const { text, stopReason, usage } = await model.complete("春眠不觉晓，", { maxTokens: 24 });
 * console.log(text, stopReason, usage.completionTokens);
 *
 * const { logProbabilities, perplexity } = await model.score("白日依山尽");
 * console.log(logProbabilities.length, perplexity);
 * ```
 */
export class Model {
  /** The architecture's configuration. */
  readonly config: ModelConfig;
  /** Most tokens of one sequence. */
  readonly contextLength: number;
  /** Where it came from. */
  readonly name: string;
  readonly #engine: Engine;
  readonly #tokenizer: Tokenizer | undefined;
  readonly #file: ModelFileFacts;
  #template: Promise<ChatTemplate> | undefined;

  /** Models are made by `loadModel`. */
  constructor(engine: Engine, tokenizer: Tokenizer | undefined, file: ModelFileFacts) {
    if (!isA(engine, Engine)) {
      throw new InputError("Cannot make a Model: models are made by loadModel");
    }
    this.#engine = engine;
    this.#tokenizer = tokenizer;
    this.#file = file;
    this.config = engine.config;
    this.contextLength = engine.options.contextLength;
    this.name = file.name;
  }

  /** Which backend runs it; with `auto`, another one after a failure. */
  get backend(): BackendName {
    return this.#engine.backend.name;
  }

  /** Worker threads that run it. */
  get threads(): number {
    return this.#engine.backend.threads;
  }

  /** Bytes of weights and caches, by the backend that holds them. */
  get placedBytes(): Readonly<Partial<Record<BackendName, number>>> {
    return this.#engine.placedBytes;
  }

  /** Memories of at most 4 GiB that it spans. */
  get stages(): number {
    return this.#engine.stages;
  }

  /**
   * Text to tokens and back.
   *
   * @throws ModelError when the model came without tokenizer files
   */
  get tokenizer(): Tokenizer {
    if (!this.#tokenizer) {
      throw new ModelError(
        `Cannot use the tokenizer of ${quote(this.name)}: ` +
          `it came without one; use token ids, or put ` +
          `tokenizer.json beside its config.json`,
      );
    }
    return this.#tokenizer;
  }

  /** Whether it came with a tokenizer. */
  get hasTokenizer(): boolean {
    return this.#tokenizer !== undefined;
  }

  /** Whether it came with a chat template. */
  get hasChatTemplate(): boolean {
    return (this.#file.chatTemplate ?? undefined) !== undefined;
  }

  /**
   * A conversation as prompt token ids, written by the chat template that came with the model and
   * ending where the answer begins. Special tokens come from the template alone: what a message
   * spells like one stays text.
   *
   * @throws ModelError when the model came without a chat template
   * @throws InputError when the template refuses the messages
   */
  async chatPrompt(
    conversation: readonly ChatMessage[],
    given: RenderOptions = {},
  ): Promise<number[]> {
    const messages = readMessages(conversation);
    const options = readOptions("chat", given, RENDER_RULES);
    const source = this.#file.chatTemplate;
    if (source === undefined || source === null) {
      throw new ModelError(
        `Cannot chat with ${quote(this.name)}: it came without a chat template; use generate`,
      );
    }
    const { tokenizer } = this;
    const token = (id: number | undefined): string | undefined =>
      id === undefined ? undefined : tokenizer.idToToken(id);
    const { specialTokens = {} } = this.#file;
    this.#template ??= chatTemplate(source, {
      bosToken: specialTokens.bos_token as string | undefined ?? token(tokenizer.bosId),
      eosToken: specialTokens.eos_token as string | undefined ?? token(tokenizer.eosIds[0]),
      specialTokens,
    });
    const pieces = (await this.#template).pieces(messages, options);
    return tokenizer.encode(pieces, { addSpecial: false });
  }

  /** Tokens that end an answer. */
  get stopIds(): readonly number[] {
    return this.#file.stopIds;
  }

  /** A new, empty sequence. */
  session(): Session {
    return new Session(this.#sessionModel);
  }

  /**
   * The session whose bytes `Session.save` gave. It goes on as if it had never been away: its tokens
   * are in the cache again, and nothing is computed. Damaged bytes are found by a checksum; whoever
   * means harm can write one, too, so that such a session may say anything, but only itself.
   *
   * @throws InputError when `bytes` are none, or were saved with another model, cache type, kind of
   * backend or split between backends, or do not fit into the context. A model is known by its
   * configuration and parts of every tensor of its file
   * @throws FormatError when they are damaged, or of another version
   * @throws SourceError when the model's file, which is compared, cannot be read any more
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
  async restore(bytes: Uint8Array, options: RestoreOptions = {}): Promise<Session> {
    const model = this.#sessionModel;
    return new Session(model, await restoreSession(model, bytes, options));
  }

  /** What sessions need of it. */
  get #sessionModel(): SessionModel {
    return {
      engine: this.#engine,
      tokenizer: this.#tokenizer,
      stopIds: this.stopIds,
      ...(this.#file.fingerprint && { fingerprint: this.#file.fingerprint }),
      chatPrompt: (messages, options) => this.chatPrompt(messages, options),
    };
  }

  /**
   * The whole continuation of a prompt, text or token ids, by a session of its own.
   * `session().generate` streams it, and a session keeps what it has computed.
   *
   * @throws InputError when the prompt is empty or longer than the context, or an option is unknown
   * or wrong
   * @throws ModelError when the prompt is text and the model has no tokenizer, or when logits are NaN
   * or infinite
   *
   * @example
   * ```ts
   * import { loadModel } from "@sparrow/sparrow";
   *
   * await using model = await loadModel();
   * const { text, stopReason, ids, usage } = await model.complete("床前明月光，", {
   *   maxTokens: 6,
   *   temperature: 0,
   * });
   * console.log(text, stopReason, ids.length, usage.totalTokens);
   * ```
   */
  async complete(
    prompt: string | readonly number[] | Prompt,
    options: GenerateOptions = {},
  ): Promise<Completion> {
    using session = this.session();
    return await session.complete(prompt, options);
  }

  /**
   * The whole answer to a conversation, by a session of its own, with the chat template that came
   * with the model. `session().chatStream` streams it.
   *
   * @throws InputError when the template refuses the messages, and as `complete`
   * @throws ModelError when the model came without a chat template, and as `complete`
   *
   * @example
   * ```ts ignore
   * const messages = [{ role: "user", content: "Name three birds." }];
   * const { text, message } = await model.chat(messages, { maxTokens: 100 });
   * messages.push(message, { role: "user", content: "And three fish?" });
   * ```
   */
  async chat(
    messages: readonly ChatMessage[],
    options: ChatOptions = {},
  ): Promise<ChatCompletion> {
    using session = this.session();
    return await session.chat(messages, options);
  }

  /**
   * How likely a text, or a list of token ids, is: the logarithm of the probability of every token
   * after those before it, and the perplexity.
   *
   * @throws InputError when there are fewer than 2 tokens or more than the context holds
   * @throws ModelError when the text is text and the model has no tokenizer, or when logits are NaN
   * or infinite
   *
   * @example
   * ```ts
   * import { loadModel } from "@sparrow/sparrow";
   *
   * await using model = await loadModel();
   * const { ids, texts, logProbabilities, perplexity } = await model.score("白日依山尽，");
   * logProbabilities.forEach((value, i) => console.log(ids[i + 1], texts[i + 1], value));
   * console.log(perplexity);
   * ```
   */
  async score(input: string | readonly number[], options: ScoreOptions = {}): Promise<Score> {
    const given = readOptions("score", options, SCORE_RULES);
    const { addSpecial = true, parseSpecial = false } = given;
    const ids = typeof input === "string"
      ? this.tokenizer.encode(input, { addSpecial, parseSpecial })
      : readIds(input, this.config.vocabSize, 0);
    return await score(this.#engine, ids, this.#tokenizer, given);
  }

  /**
   * Fields of a prompt that the model has a use for: "ids", and where it has one "prefixLength",
   * "tokenTypeIds", "taskTypeIds", "decoderIds". Others are refused.
   */
  get accepts(): readonly string[] {
    return promptFields(this.#engine.programs.prompts ?? {});
  }

  /**
   * Logits at every position, `[tokens, vocab]` row-major: of the next word, of the target's tokens
   * for an encoder–decoder, of the masked words for an encoder with such a head.
   *
   * @throws InputError when there are no ids, too many, one out of range, or a field that the model
   * does not take
   * @throws ModelError when a logit is NaN or infinite: no numbers are given out with which nothing
   * right can be done. -Infinity is a word that the model rules out
   *
   * @example
   * ```ts
   * import { loadModel } from "@sparrow/sparrow";
   *
   * await using model = await loadModel();
   * const logits = await model.logits([1, 2, 3]);
   * console.log(logits.length === 3 * model.config.vocabSize);
   * ```
   */
  async logits(prompt: readonly number[] | Prompt): Promise<Float32Array> {
    return await readLogits(this.#engine, prompt);
  }

  /**
   * What an encoder, also that of an encoder–decoder, makes of a text; for a decoder the normalized
   * states of its last layer.
   *
   * @throws InputError as `logits`
   * @throws ModelError as `logits`
   *
   * @example
   * ```ts ignore
   * await using model = await loadModel("bert-base-chinese");
   * const { hidden, pooled } = await model.encode({ ids: [101, 1266, 776, 102] });
   * ```
   */
  async encode(
    prompt: readonly number[] | Prompt,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<Encoding> {
    const { signal } = readOptions("encode", options, { signal: SIGNAL });
    return await encode(this.#engine, prompt, signal);
  }

  /**
   * One vector per text, `[hiddenSize]` each, from the normalized hidden states of the last layer. An
   * encoder reads as many texts in one run as there is room for.
   *
   * @throws InputError when `texts` is no list of texts, or an option is unknown or wrong
   * @throws ModelError when the model came without tokenizer files, or hidden states are not finite
   */
  async embed(texts: readonly string[], options: EmbedOptions = {}): Promise<Float32Array[]> {
    return await embed(this.#engine, this.tokenizer, texts, options);
  }

  /** Ends the workers and frees the memory, after the runs that have begun. */
  dispose(): Promise<void> {
    return this.#engine.dispose();
  }

  /** As `dispose`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

/** What a model keeps of its files. */
export interface ModelFileFacts {
  /** Path or URL. */
  readonly name: string;
  /** One Jinja program or several under names, as the files have them. */
  readonly chatTemplate: unknown;
  /** Special tokens by the names that templates know. */
  readonly specialTokens?: Readonly<Record<string, unknown>> | undefined;
  /** Tokens that end an answer. */
  readonly stopIds: readonly number[];
  /** What tells the model from others; read from its files when it is first asked for. */
  readonly fingerprint?: () => Promise<string>;
}
