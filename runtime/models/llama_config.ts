/**
 * Configuration of the llama family, and what is checked of it wherever it comes from.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { ModelFile } from "../files/model_file.ts";
import type { ModelConfig } from "./definition.ts";
import type { ExpertsConfig } from "./experts.ts";
import type { RopeConfig } from "./rope_config.ts";

/** Configuration of a llama-family model. */
export interface LlamaConfig extends ModelConfig {
  /** Query heads; a multiple of `kvHeads`. */
  readonly heads: number;
  /** Width of the feed-forward block. */
  readonly intermediateSize: number;
  /** Added to mean squares. */
  readonly rmsNormEps: number;
  /**
   * Tokens that a token sees in each layer, itself included (sliding windows), undefined for all
   * before it. Absent where that is so in every layer.
   */
  readonly windows?: readonly (number | undefined)[];
  /** Rotary positions. */
  readonly rope: RopeConfig;
  /** Elements of a head that rotate. */
  readonly rotaryDim: number;
  /** Pairs that rotate together: GGUF files of the llama architecture store permuted rows. */
  readonly ropePairing: "half" | "interleaved";
  /** Whether the configuration says that the output head is the embedding table. */
  readonly tiedEmbeddings: boolean;
  /** Matrices of a layer that have biases: of q, k, v, o, gate, up, down. */
  readonly biases: readonly string[];
  /** Whether queries and keys are normalized; where absent, the file's tensors tell. */
  readonly queryNorms?: boolean;
  /** Experts in place of feed-forward blocks, if any. */
  readonly experts?: ExpertsConfig;
}

/** Architectures with norms of queries and keys. */
export const NORMED: readonly string[] = ["qwen3", "qwen3_moe", "qwen3moe", "olmoe"];

/**
 * Checks what has to fit together.
 *
 * @throws ModelError naming what was found and what was expected
 */
export function checkLlama(file: ModelFile, config: LlamaConfig): LlamaConfig {
  const { heads, kvHeads, headDim, rotaryDim, rope, rmsNormEps } = config;
  const factor = rope.scaling?.factor ?? 1, amplitude = rope.amplitude ?? 1;
  if (!(rope.theta > 0 && factor > 0 && amplitude > 0 && rmsNormEps >= 0)) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: rope base ${rope.theta}, rope factor ${factor}, rope ` +
        `attention factor ${amplitude}, norm epsilon ${rmsNormEps}, expected positive numbers`,
    );
  }
  if (!Number.isInteger(headDim) || heads % kvHeads !== 0 || rotaryDim % 2 || rotaryDim > headDim) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: ${heads} heads, ${kvHeads} key/value heads, head length ` +
        `${headDim}, rotary length ${rotaryDim}, expected groups of equal size and an even ` +
        `rotary length within a head`,
    );
  }
  return config;
}
