/**
 * What a model architecture is to the runtime: how it reads its configuration, which weights it
 * takes from the file, and how its graph is recorded. One architecture family is one file that
 * exports one `ModelDefinition`; registry.ts lists them.
 *
 * @module
 */

import type { ModelFile } from "../files/model_file.ts";
import type { Warn } from "./fields.ts";
import type { Programs } from "./program.ts";

/** What the runtime must know of every model; definitions add their own fields. */
export interface ModelConfig {
  /** Architecture as the file names it. */
  readonly architecture: string;
  /** Layers. */
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

/** A weight that is read from the file. */
export interface FileWeight {
  /** Name in the graph. */
  readonly name: string;
  /** `[rows, columns]` of a matrix, `[length]` of a vector. */
  readonly shape: readonly number[];
  /** Name in the file; of a matrix that lies there in parts of equal height, all their names. */
  readonly tensor: string | readonly string[];
  /** Extents in the file where they are others: `[experts, rows, columns]` of stacked matrices. */
  readonly fileShape?: readonly number[];
  /** Whether it stays as near to the file as possible, whatever layout matrices shall have. */
  readonly kept?: boolean;
}

/** A weight that is computed at load. */
export interface ComputedWeight {
  /** Name in the graph. */
  readonly name: string;
  /** Extents; always dense f32. */
  readonly shape: readonly number[];
  /** Computes the values, row-major; called once the model is known to fit in memory. */
  values(): Float32Array;
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
  ): Promise<Iterable<FileWeight | ComputedWeight>>;
  /** What a model of this configuration does. */
  programs(config: C): Programs;
}
