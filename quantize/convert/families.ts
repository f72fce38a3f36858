/**
 * The families that are converted: what a GGUF file calls them, and which fields it has. Names of
 * tensors are not here; the families' own definitions have them (tensors.ts).
 *
 * Source: the metadata keys of llama.cpp (`llama-arch.cpp`).
 *
 * @module
 */

import type { ModelFile } from "../../runtime/files/model_file.ts";
import type { ModelConfig } from "../../runtime/models/definition.ts";
import type { ResolvedWeights } from "../../runtime/models/weights.ts";
import { bert } from "./bert.ts";
import type { Converted } from "./converted.ts";
import { gpt2 } from "./gpt2.ts";
import { llama } from "./llama.ts";

/** A family's row. */
export interface Family {
  /** `general.architecture`. */
  readonly architecture: string;
  /** What becomes of a model; `weights` are those of its folder. */
  convert(config: ModelConfig, file: ModelFile, weights: ResolvedWeights): Promise<Converted>;
}

const row = (
  architecture: string,
  convert: (
    architecture: string,
    config: never,
    file: ModelFile,
    weights: ResolvedWeights,
  ) => Converted | Promise<Converted>,
): Family => ({
  architecture,
  convert: async (config, file, weights) =>
    await convert(architecture, config as never, file, weights),
});

/** Families by `model_type`. */
export const FAMILIES: Readonly<Record<string, Family>> = {
  bert: row("bert", bert),
  distilbert: row("bert", bert),
  gpt2: row("gpt2", gpt2),
  llama: row("llama", llama),
  mistral: row("llama", llama),
  mixtral: row("llama", llama),
  qwen2: row("qwen2", llama),
  qwen2_moe: row("qwen2moe", llama),
  qwen3: row("qwen3", llama),
  qwen3_moe: row("qwen3moe", llama),
  roberta: row("bert", bert),
};
