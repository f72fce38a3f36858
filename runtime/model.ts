/**
 * `Model`: what a loaded model answers. load.ts makes it.
 *
 * @module
 */

import { InputError, ModelError } from "../errors.ts";
import { quote } from "../escape.ts";
import type { BackendName } from "./backends/backend.ts";
import { isA, readIds, readOptions, SIGNAL } from "../options.ts";
import { type ChatPrompter, chatPrompter } from "./generation/chat_prompt.ts";
import type { ChatCompletion, ChatOptions, Completion } from "./generation/complete.ts";
import { Engine } from "./engine/engine.ts";
import type { GenerateOptions } from "./generation/generate_options.ts";
import type { ModelConfig } from "./models/definition.ts";
import { type Prompt, promptFields } from "./models/prompt.ts";
import { type Score, score, SCORE_RULES, type ScoreOptions } from "./generation/score.ts";
import { encode, type Encoding, readLogits } from "./generation/read_texts.ts";
import { type RestoreOptions, restoreSession } from "./generation/saved_session.ts";
import { Session } from "./generation/session.ts";
import type { SessionModel } from "./generation/text_session.ts";
import { classify, rerank } from "./tasks/classify.ts";
import { embed } from "./tasks/embed.ts";
import { fillMask } from "./tasks/fill_mask.ts";
import type { ModelFileFacts } from "./tasks/model_facts.ts";
import type { TaskModel } from "./tasks/reader.ts";
import type {
  Classification,
  ClassifyOptions,
  EmbedOptions,
  FilledMask,
  FillMaskOptions,
  RankedText,
  RerankOptions,
  TextOrPair,
  TextReader,
} from "./tasks/text_reader.ts";
import type { ChatMessage, RenderOptions } from "./text/chat_template.ts";
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
export class Model implements TextReader {
  /** The architecture's configuration. */
  readonly config: ModelConfig;
  /** Most tokens of one sequence. */
  readonly contextLength: number;
  /** Where it came from. */
  readonly name: string;
  readonly #engine: Engine;
  readonly #tokenizer: Tokenizer | undefined;
  readonly #file: ModelFileFacts;
  readonly #chatPrompt: ChatPrompter;

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
    this.#chatPrompt = chatPrompter(file, () => this.tokenizer);
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

  /** Sequences whose caches it keeps at the same time, as it was loaded. */
  get sequences(): number {
    return this.#engine.options.sequences;
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
          `the tokenizer's files, as tokenizer.json or vocab.txt, beside its config.json`,
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
    return await this.#chatPrompt(conversation, given);
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
   * The session whose bytes `Session.save` gave, which has an example. It goes on as if it had never been away: its tokens
   * are in the cache again, and nothing is computed. Damaged bytes are found by a checksum; whoever
   * means harm can write one, too, so that such a session may say anything, but only itself.
   *
   * @throws InputError when `bytes` are none, or were saved with another model, cache type, kind of
   * backend or split between backends, or do not fit into the context. A model is known by its
   * configuration and parts of every tensor of its file
   * @throws FormatError when they are damaged, or of another version
   * @throws SourceError when the model's file, which is compared, cannot be read any more
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

  /** How likely a text or a list of token ids is; {@linkcode TextReader.score}. */
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

  /** Logits at every position, `[tokens, vocab]`; {@linkcode TextReader.logits}. */
  async logits(prompt: readonly number[] | Prompt): Promise<Float32Array> {
    return await readLogits(this.#engine, prompt);
  }

  /** Hidden states of a text, `[tokens, hidden]`; {@linkcode TextReader.encode}. */
  async encode(
    prompt: readonly number[] | Prompt,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<Encoding> {
    const { signal } = readOptions("encode", options, { signal: SIGNAL });
    return await encode(this.#engine, prompt, signal);
  }

  /** One vector per text, `[width]` each; {@linkcode TextReader.embed}. */
  async embed(texts: readonly string[], options: EmbedOptions = {}): Promise<Float32Array[]> {
    return await embed(this.#taskModel, texts, options);
  }

  /** Words for the masks of a text, `[masks]`; {@linkcode TextReader.fillMask}. */
  async fillMask(text: string, options: FillMaskOptions = {}): Promise<FilledMask[]> {
    return await fillMask(this.#taskModel, text, options);
  }

  /** Labels of a text or a pair; {@linkcode TextReader.classify}. */
  async classify(input: TextOrPair, options: ClassifyOptions = {}): Promise<Classification> {
    return await classify(this.#taskModel, input, options);
  }

  /** Texts, the best answer to a query first; {@linkcode TextReader.rerank}. */
  async rerank(
    query: string,
    texts: readonly string[],
    options: RerankOptions = {},
  ): Promise<RankedText[]> {
    return await rerank(this.#taskModel, query, texts, options);
  }

  /** What tasks need of it. */
  get #taskModel(): TaskModel {
    const { name, tokenizer } = this, engine = this.#engine;
    return { name, tokenizer, engine, facts: this.#file.tasks };
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
