/**
 * What a model architecture is to the runtime: how it reads its configuration, which weights it
 * takes from the file, and how its graph is recorded. One architecture family is one file that
 * exports one `ModelDefinition`; registry.ts lists them.
 *
 * @module
 */

import { InputError, ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { ModelFile } from "../files/model_file.ts";
import type { Warn } from "./fields.ts";
import type { Programs } from "./program.ts";
import type { WeightSpec } from "./weight_spec.ts";

/** What the runtime must know of every model; definitions add their own fields. */
export interface ModelConfig {
  /** Architecture as the file names it. */
  readonly architecture: string;
  /** Number of layers, of an encoder–decoder those of both. */
  readonly layers: number;
  /** Width of the residual stream. */
  readonly hiddenSize: number;
  /** Words, that is, logits per token. */
  readonly vocabSize: number;
  /** Longest context that the model was made for, in tokens. */
  readonly maxPositions: number;
  /** Heads of keys and values per layer. */
  readonly kvHeads: number;
  /** Elements of a head. */
  readonly headDim: number;
}

/** One architecture family. */
export interface ModelDefinition<C extends ModelConfig = ModelConfig> {
  /**
   * Reads the configuration; `warn` is told which fields have no effect.
   *
   * @throws ModelError naming the field that is missing or not supported
   */
  parseConfig(file: ModelFile, warn?: Warn): C;
  /**
   * Lists the weights; `contextLength` bounds position tables, `warn` is told what is not as the
   * configuration says. The list is lazy, so that a corrupt number of layers ends at the first tensor
   * that the file lacks.
   *
   * @throws ModelError naming what is not supported
   */
  weights(
    config: C,
    file: ModelFile,
    contextLength: number,
    warn?: Warn,
  ): Promise<Iterable<WeightSpec>>;
  /** What a model of this configuration does. */
  programs(config: C): Programs;
}

/**
 * Refuses a context that is longer than the positions that a model has learned.
 *
 * @throws InputError with both numbers
 */
export function checkPositions(
  { name }: ModelFile,
  { maxPositions }: ModelConfig,
  contextLength: number,
): void {
  if (contextLength <= maxPositions) return;
  throw new InputError(
    `Cannot load ${quote(name)} with contextLength ${contextLength}: it has learned ` +
      `${maxPositions} positions; use at most as many`,
  );
}

/**
 * Refuses a token with which no text can begin, because it is no word.
 *
 * @throws ModelError with both numbers
 */
export function checkStart<C extends Pick<ModelConfig, "vocabSize"> & { readonly startId: number }>(
  { name }: ModelFile,
  config: C,
): C {
  const { startId, vocabSize } = config;
  if (startId < vocabSize) return config;
  throw new ModelError(
    `Cannot load ${quote(name)}: decoder_start_token_id is ${startId}, expected a word of its ` +
      `vocabulary of ${vocabSize}`,
  );
}

/** Tells that a file has no output head, so that the embedding table stands in its place. */
export function tellHeadless({ name }: ModelFile, warn: Warn): void {
  warn(
    `${quote(name)} has no output head, and its embeddings are not tied: the embedding table ` +
      `takes the place of the head, so that logits and text mean nothing; hidden states do`,
  );
}
