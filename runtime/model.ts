/**
 * `Model`: what a loaded model answers. load.ts makes it.
 *
 * @module
 */

import { InputError, ModelError } from "../errors.ts";
import { quote } from "../escape.ts";
import type { BackendName } from "./backend.ts";
import { checkIds, type Engine } from "./engine.ts";
import type { ModelConfig } from "./models/definition.ts";
import { Session } from "./session.ts";
import {
  type ChatMessage,
  type ChatTemplate,
  chatTemplate,
  type RenderOptions,
} from "./text/chat_template.ts";
import type { Tokenizer } from "./text/tokenizer.ts";

/** What `Model.logits` takes. */
export interface LogitsInput {
  /** Token ids. */
  readonly ids: readonly number[];
  /** Tokens at the start that see each other in both directions; for prefix models only. */
  readonly prefixLength?: number;
  /** Token ids of the decoder; for encoder–decoder models only. */
  readonly decoderIds?: readonly number[];
  /** Segment of each token; for models with segment embeddings only. */
  readonly tokenTypeIds?: readonly number[];
}

/** How `Model.embed` makes one vector of a text. */
export interface EmbedOptions {
  /** The last token's hidden state, or the mean of all. Default `last`. */
  readonly pooling?: "last" | "mean";
  /** Whether vectors are scaled to length 1. Default true. */
  readonly normalize?: boolean;
}

/**
 * A loaded model: immutable, shared by any number of sessions. Made by `loadModel`.
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
   * ending where the answer begins.
   *
   * @throws ModelError when the model came without a chat template
   * @throws InputError when the template refuses the messages
   */
  async chatPrompt(
    messages: readonly ChatMessage[],
    options: RenderOptions = {},
  ): Promise<number[]> {
    const source = this.#file.chatTemplate;
    if (source === undefined || source === null) {
      throw new ModelError(
        `Cannot chat with ${quote(this.name)}: it came without a chat template; use generate`,
      );
    }
    const { tokenizer } = this;
    const token = (id: number | undefined): string | undefined =>
      id === undefined ? undefined : tokenizer.idToToken(id);
    this.#template ??= chatTemplate(source, {
      bosToken: token(tokenizer.bosId),
      eosToken: token(tokenizer.eosIds[0]),
    });
    const text = (await this.#template).render(messages, options);
    return tokenizer.encode(text, { addSpecial: false, parseSpecial: true });
  }

  /** Tokens that end an answer. */
  get stopIds(): readonly number[] {
    return this.#file.stopIds;
  }

  /** A new, empty sequence. */
  session(): Session {
    return new Session({
      engine: this.#engine,
      tokenizer: this.#tokenizer,
      stopIds: this.stopIds,
    });
  }

  /**
   * Logits at every position, `[tokens, vocab]` row-major.
   *
   * @throws InputError when there are no ids, too many, one out of range, or a field that the
   * architecture does not take
   */
  async logits(input: LogitsInput): Promise<Float32Array> {
    const { ids, ...others } = input;
    for (const [field, value] of Object.entries(others)) {
      if (value !== undefined) {
        throw new InputError(
          `Cannot compute logits with ${field}: ${this.config.architecture} models do not take it`,
        );
      }
    }
    return await this.#forwardAll(ids, "logits");
  }

  /**
   * One vector per text, `[hiddenSize]` each, from the normalized hidden states of the last layer.
   *
   * @throws ModelError when the model came without tokenizer files
   */
  async embed(texts: readonly string[], options: EmbedOptions = {}): Promise<Float32Array[]> {
    const { pooling = "last", normalize = true } = options;
    if (pooling !== "last" && pooling !== "mean") {
      throw new InputError(`Cannot embed with pooling ${quote(pooling)}: expected last or mean`);
    }
    const width = this.config.hiddenSize;
    const vectors: Float32Array[] = [];
    for (const text of texts) {
      const ids = this.tokenizer.encode(text);
      const hidden = await this.#forwardAll(ids, "hidden"); // [tokens, hidden]
      const vector = hidden.slice(-width);
      if (pooling === "mean") {
        vector.fill(0);
        hidden.forEach((value, i) => vector[i % width]! += value / ids.length);
      }
      const length = normalize ? Math.hypot(...vector) || 1 : 1;
      vectors.push(vector.map((value) => value / length));
    }
    return vectors;
  }

  /** Ends the workers and frees the memory, after the runs that have begun. */
  dispose(): Promise<void> {
    return this.#engine.dispose();
  }

  /** As `dispose`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #forwardAll(ids: readonly number[], name: string): Promise<Float32Array> {
    checkIds(ids, this.config.vocabSize);
    if (ids.length > this.contextLength) {
      throw new InputError(
        `Cannot process ${ids.length} tokens: the context holds ${this.contextLength}; ` +
          `shorten the input or raise contextLength`,
      );
    }
    const holder = { cached: 0 };
    try {
      return await this.#engine.run({
        holder,
        output: { program: "decode", name, rows: "all" },
        sequence: () => ({ ids }),
        finish: (rows) => rows,
      });
    } finally {
      this.#engine.release(holder);
    }
  }
}

/** What a model keeps of its files. */
export interface ModelFileFacts {
  /** Path or URL. */
  readonly name: string;
  /** One Jinja program or several under names, as the files have them. */
  readonly chatTemplate: unknown;
  /** Tokens that end an answer. */
  readonly stopIds: readonly number[];
}
