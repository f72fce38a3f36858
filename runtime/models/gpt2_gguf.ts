/**
 * GPT-2 in GGUF files, as llama.cpp's converter writes them: matrices lie as `[out, in]`, queries, keys
 * and values are thirds of one, and the nonlinearity is named nowhere, because it is always GELU in
 * the form with the hyperbolic tangent.
 *
 * @module
 */

import type { ModelFile } from "../files/model_file.ts";
import type { Warn } from "./fields.ts";
import type { GptConfig } from "./gpt.ts";
import { ggufHead, ggufLinear, ggufQueriesKeysValues, readGgufSizes } from "./gguf_config.ts";
import { keptMatrix, matrix, norm, type WeightSpec } from "./weight_spec.ts";

/**
 * Reads the configuration of a GGUF model.
 *
 * @throws ModelError naming the field that is missing or not supported
 */
export function gpt2FromGguf(file: ModelFile, warn: Warn): GptConfig {
  const { fields, sizes } = readGgufSizes(file, {
    read: ["attention.layer_norm_epsilon"],
    neutral: { "attention.causal": [true] },
    scale: (headDim) => headDim ** -0.5,
  }, warn);
  return {
    ...sizes,
    activation: "geluTanh",
    layerNormEps: fields.epsilon("attention.layer_norm_epsilon"),
  };
}

/** Lists the weights of a GGUF model. */
export async function gpt2GgufWeights(
  config: GptConfig,
  file: ModelFile,
): Promise<Iterable<WeightSpec>> {
  return listWeights(config, file, await ggufHead(file));
}

function* listWeights(
  config: GptConfig,
  file: ModelFile,
  head: string | undefined,
): Iterable<WeightSpec> {
  const { hiddenSize: width, intermediateSize: inner, vocabSize, maxPositions } = config;
  yield keptMatrix("wordTable", vocabSize, width, "token_embd.weight");
  yield keptMatrix("positionTable", maxPositions, width, "position_embd.weight");
  for (let i = 0; i < config.layers; i++) {
    const layer = `blk.${i}.`;
    yield* norm(`${i}.attentionNorm`, width, `${layer}attn_norm`);
    yield* ggufQueriesKeysValues(file, i, width);
    yield* ggufLinear(file, `${i}.o`, width, width, `${layer}attn_output`);
    yield* norm(`${i}.mlpNorm`, width, `${layer}ffn_norm`);
    yield* ggufLinear(file, `${i}.up`, inner, width, `${layer}ffn_up`);
    yield* ggufLinear(file, `${i}.down`, width, inner, `${layer}ffn_down`);
  }
  yield* norm("norm", width, "output_norm");
  if (head !== undefined) yield matrix("head", vocabSize, width, head);
}
