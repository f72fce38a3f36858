/**
 * `loadModel` and `Model`: from a path or URL to something that answers.
 *
 * @module
 */

import { InputError, MemoryError, ModelError, SourceError } from "../errors.ts";
import { CACHE_TYPES, type CacheType } from "../kernels/op.ts";
import type { Backend, BackendName } from "./backend.ts";
import { type BackendOptions, checkCount, createBackend } from "./create_backend.ts";
import { checkIds, Engine } from "./engine.ts";
import { type ModelFile, openModelFile, type OpenOptions } from "./files/model_file.ts";
import {
  type ChatMessage,
  type ChatTemplate,
  chatTemplate,
  type RenderOptions,
} from "./text/chat_template.ts";
import { defaultContext, memoryNeeded } from "./memory_needed.ts";
import type { ModelConfig } from "./models/definition.ts";
import { findDefinition } from "./models/registry.ts";
import { Session } from "./session.ts";
import { NotFoundError } from "./files/source.ts";
import { readModelText, stopIdsOf } from "./text/model_text.ts";
import type { Tokenizer } from "./text/tokenizer.ts";
import { loadWeights, resolveWeights, WEIGHTS_OPTIONS, type WeightsOption } from "./weights.ts";

/** How far loading has come. */
export interface LoadProgress {
  /** Bytes of weights read so far. */
  readonly loaded: number;
  /** Bytes of weights in all. */
  readonly total: number;
}

/** How to load a model. */
export interface LoadOptions extends BackendOptions {
  /** Most tokens of one sequence; the model's own limit, but at most 4096, where absent. */
  readonly contextLength?: number;
  /** How weight matrices are stored. Default `as-is`: as near to the file as possible. */
  readonly weights?: WeightsOption;
  /**
   * Element type of the key and value caches. Default `f32`; `int8` keeps one scale per 32 elements
   * and takes little more than a quarter of the memory.
   */
  readonly cacheType?: CacheType;
  /** Sequences whose caches are kept at the same time; further sessions compute again. Default 1. */
  readonly sequences?: number;
  /** Called as weights arrive. */
  readonly onProgress?: (progress: LoadProgress) => void;
  /** Ends loading; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

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

const DEFAULT_CHUNK = 256;

/** The model that comes with Sparrow, used where no source is named. */
export const DEFAULT_MODEL: URL = new URL("../models/default/model.gguf", import.meta.url);

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

  /** Which backend runs it. */
  get backend(): BackendName {
    return this.#engine.backend.name;
  }

  /** Worker threads that run it. */
  get threads(): number {
    return this.#engine.backend.threads;
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
        `Cannot use the tokenizer of "${this.name}": it came without one; use token ids, or put ` +
          `tokenizer.json beside its config.json`,
      );
    }
    return this.#tokenizer;
  }

  /** Whether it came with a tokenizer. */
  get hasTokenizer(): boolean {
    return this.#tokenizer !== undefined;
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
        `Cannot chat with "${this.name}": it came without a chat template; use generate`,
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
    return await this.#forwardAll(ids, "all");
  }

  /**
   * One vector per text, `[hiddenSize]` each, from the normalized hidden states of the last layer.
   *
   * @throws ModelError when the model came without tokenizer files
   */
  async embed(texts: readonly string[], options: EmbedOptions = {}): Promise<Float32Array[]> {
    const { pooling = "last", normalize = true } = options;
    if (pooling !== "last" && pooling !== "mean") {
      throw new InputError(`Cannot embed with pooling "${pooling}": expected last or mean`);
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

  async #forwardAll(ids: readonly number[], output: "all" | "hidden"): Promise<Float32Array> {
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
        output,
        tokens: () => ids,
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

/**
 * Loads a model from a GGUF file or a safetensors directory: a path, a `file:` or `http(s):` URL,
 * a Blob, or nothing for the model that comes with Sparrow.
 *
 * @throws SourceError when it cannot be read
 * @throws FormatError when the file is damaged
 * @throws ModelError when the model cannot run: architecture, tensors, types
 * @throws MemoryError when it does not fit in memory
 *
 * @example
 * ```ts ignore
 * import { loadModel } from "@sparrow/sparrow";
 *
 * await using model = await loadModel("stories260K.gguf", { threads: 2 });
 * const session = model.session();
 * for await (const { text } of session.generate("Once upon a time", { maxTokens: 50 })) {
 *   console.log(text);
 * }
 * ```
 */
export async function loadModel(
  source?: string | URL | Blob,
  options: LoadOptions = {},
): Promise<Model> {
  const weightsOption = options.weights ?? "as-is";
  if (!WEIGHTS_OPTIONS.includes(weightsOption)) {
    throw new InputError(
      `Cannot load with weights "${weightsOption}": expected ${WEIGHTS_OPTIONS.join(", ")}`,
    );
  }
  const cacheType = options.cacheType ?? "f32";
  if (!CACHE_TYPES.includes(cacheType)) {
    throw new InputError(
      `Cannot load with cacheType "${cacheType}": expected ${CACHE_TYPES.join(", ")}`,
    );
  }
  const sequences = checkCount("sequences", options.sequences ?? 1);
  options.signal?.throwIfAborted();
  const file = await openModel(source, options);
  let backend: Backend | undefined;
  try {
    const definition = await findDefinition(file);
    const config = definition.parseConfig(file);
    const contextLength = checkCount(
      "contextLength",
      options.contextLength ?? defaultContext(config),
    );
    const specs = await definition.weights(config, file, contextLength);
    const weights = resolveWeights(specs, file, weightsOption);
    const memory = memoryNeeded(weights, config, contextLength, { sequences, cacheType });
    checkMemory(file.name, memory.totalBytes);
    backend = await createBackend(options);
    const engine = new Engine(definition, config, weights, backend, {
      contextLength,
      sequences,
      cacheType,
      chunk: Math.min(DEFAULT_CHUNK, contextLength),
    });
    // While one is at work the other is too; a failure of the text ends both.
    const failed = new AbortController();
    const reading = readModelText(file);
    reading.catch((error) => failed.abort(error));
    await loadWeights(weights, backend, {
      signal: AbortSignal.any([failed.signal, ...(options.signal ? [options.signal] : [])]),
      onProgress: (loaded, total) => options.onProgress?.({ loaded, total }),
    });
    const text = await reading;
    engine.prepare();
    return new Model(engine, text?.tokenizer, {
      name: file.name,
      chatTemplate: text?.chatTemplate,
      stopIds: stopIdsOf(file, text?.tokenizer),
    });
  } catch (error) {
    await backend?.dispose();
    throw error;
  } finally {
    file.close();
  }
}

/** Opens a model's files, or those of the model that comes with Sparrow. Errors as `loadModel`. */
export async function openModel(
  source: string | URL | Blob | undefined,
  options: OpenOptions = {},
): Promise<ModelFile> {
  if (source !== undefined) return await openModelFile(source, options);
  try {
    return await openModelFile(DEFAULT_MODEL, options);
  } catch (error) {
    if (!(error instanceof NotFoundError)) throw error;
    throw new SourceError(
      `Cannot load the model that comes with Sparrow: "${DEFAULT_MODEL}" is not there; name ` +
        `another one: a GGUF file, a safetensors folder or a URL, on the command line with --model`,
    );
  }
}

/** Compares with the machine's memory where the program may ask for it. */
function checkMemory(name: string, needed: number): void {
  const available = availableMemory();
  if (needed > available) {
    const mib = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MiB`;
    throw new MemoryError(
      `Cannot load "${name}": weights and caches need ${mib(needed)}, ${mib(available)} are ` +
        `available; use weights "int4" or a shorter contextLength`,
    );
  }
}

function availableMemory(): number {
  try {
    if (Deno.permissions.querySync({ name: "sys", kind: "systemMemoryInfo" }).state === "granted") {
      return Deno.systemMemoryInfo().available;
    }
  } catch {
    // Not in Deno.
  }
  return Infinity;
}
