/**
 * What loading a model takes, and what it tells before the weights are there.
 *
 * @module
 */

import { CACHE_TYPES, type CacheType } from "../kernels/op.ts";
import { CALLBACK, oneOf, optionsOf, type Rules, SIGNAL, wholeNumberIn } from "../options.ts";
import { BACKEND_RULES, type BackendOptions, MAX_COUNT } from "./backends/create.ts";
import { LOOKUP_TABLES, type LookupTables } from "./engine/lookup_tables.ts";
import type { LoadProgress } from "./hub/find.ts";
import { HUB_RULES, type HubOptions } from "./hub/options.ts";
import type { ModelConfig } from "./models/definition.ts";
import { WEIGHTS_OPTIONS, type WeightsOption } from "./models/weights.ts";
import type { Tokenizer } from "./text/tokenizer/tokenizer.ts";

/** How to load a model. */
export interface LoadOptions extends BackendOptions {
  /** Most tokens of one sequence; the model's own limit, but at most 4096, where absent. */
  readonly contextLength?: number;
  /** How weight matrices are stored. Default `as-is`: as near to the file as possible. */
  readonly weights?: WeightsOption;
  /**
   * How the matrices are stored that have a row for each word: the embedding table and the head. Where
   * absent, as `weights` says, but a table that is only looked up stays as it is in the file. Of models
   * with many words these are a large part: two tables of 130,528 words of 4,096 numbers in f16 take
   * 2.1 GB, in int8 1.1 GB. A table that stays in its file (`lookupTables`) is not rounded.
   */
  readonly wordTables?: WeightsOption;
  /**
   * Where tables of words are that are only looked up, which a table that is the output head too is not:
   * in `memory`, or in the `file`, of which a row is read for each word, with the file's own numbers.
   * The file stays open, and a run after it was written is a `SourceError`. Needs a local file; a GPU
   * chooses no tokens by itself then. Where absent, tables of 256 MiB and more of a decoder on `wasm`
   * or `reference` stay in the file, and others are in memory; with `reproducible` also those that
   * have other numbers there, because `wordTables` or their type has them rounded.
   */
  readonly lookupTables?: LookupTables;
  /**
   * Element type of the key and value caches. Default `f32`; `int8` keeps one scale per 32 elements
   * and takes little more than a quarter of the memory.
   */
  readonly cacheType?: CacheType;
  /**
   * Sequences whose caches are kept at the same time; further sessions compute again what no other has
   * cached. Default 1.
   */
  readonly sequences?: number;
  /** How a model named `hf:ORG/REPO` is found: token, hub, cache. */
  readonly hub?: HubOptions;
  /** Called as a download and weights arrive. */
  readonly onProgress?: (progress: LoadProgress) => void;
  /**
   * Told what of a model's files has no effect (fields that mean nothing to its architecture, tensors
   * that are not used), where tokenizer and model do not fit, and, once, when backend `auto` goes on with another one than it began with.
   * Default `console.warn`, which writes to stderr.
   */
  readonly onWarning?: (message: string) => void;
  /**
   * Called when configuration and tokenizer have been read and the weights are on their way: the place
   * to refuse what this model cannot do. What it throws ends loading.
   */
  readonly onOpened?: (opened: OpenedModel) => void | Promise<void>;
  /** Ends loading; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** What is known of a model before its weights are there. */
export interface OpenedModel {
  /** Path or URL. */
  readonly name: string;
  /** The architecture's configuration. */
  readonly config: ModelConfig;
  /** Most tokens of one sequence. */
  readonly contextLength: number;
  /** Text to tokens and back; undefined for a model that came without. */
  readonly tokenizer: Tokenizer | undefined;
  /** Whether it came with a chat template. */
  readonly hasChatTemplate: boolean;
  /**
   * What it does with a text: `encode` reads one whole, `decode` goes on with one from left to right; a
   * model that does both turns one text into another.
   */
  readonly programs: readonly ("encode" | "decode")[];
}
/** What each option may be. */
export const LOAD_RULES: Rules<LoadOptions> = {
  ...BACKEND_RULES,
  contextLength: wholeNumberIn(1, MAX_COUNT),
  weights: oneOf(WEIGHTS_OPTIONS),
  wordTables: oneOf(WEIGHTS_OPTIONS),
  lookupTables: oneOf(LOOKUP_TABLES),
  cacheType: oneOf(CACHE_TYPES),
  sequences: wholeNumberIn(1, MAX_COUNT),
  hub: optionsOf(HUB_RULES),
  onProgress: CALLBACK,
  onWarning: CALLBACK,
  onOpened: CALLBACK,
  signal: SIGNAL,
};
