/**
 * BERT and its kin in GGUF files, as llama.cpp's converter writes them: the encoder alone, without the
 * heads for masked words and pairs and without the pooler; a classifier is there in the form of
 * RoBERTa, or reads the first token as it is. RoBERTa and XLM-RoBERTa are there under
 * the name of BERT, without the positions before their first; so is DistilBERT.
 *
 * The files name no nonlinearity. The models were trained with GELU, and so they run here; llama.cpp
 * takes the form with the hyperbolic tangent for it, which differs in the fourth digit.
 *
 * @module
 */

import type { ModelFile } from "../files/model_file.ts";
import type { BertConfig } from "./bert_encoder.ts";
import type { Warn } from "./fields.ts";
import { ggufLinear, ggufQueriesKeysValues, readGgufSizes, SCORES } from "./gguf_config.ts";
import { countScores } from "./labels.ts";
import { keptMatrix, norm, vector, type WeightSpec } from "./weight_spec.ts";

/**
 * Reads the configuration of a GGUF model.
 *
 * @throws ModelError naming the field that is missing or not supported
 */
export function bertFromGguf(file: ModelFile, warn: Warn): BertConfig {
  const { fields, sizes } = readGgufSizes(file, {
    read: ["attention.layer_norm_epsilon"],
    neutral: { "attention.causal": [false] },
    scale: (headDim) => headDim ** -0.5,
  }, warn);
  return {
    ...sizes,
    kind: "bert",
    activation: "gelu",
    headActivation: "gelu",
    layerNormEps: fields.epsilon("attention.layer_norm_epsilon"),
    positionOffset: 0,
    segments: segmentsOf(file),
    tasks: 0,
  };
}

/** Segments that a file has a table for. */
export function segmentsOf({ tensors }: ModelFile): number {
  const shape = tensors.get("token_types.weight")?.shape;
  return !shape ? 0 : shape.length === 1 ? 1 : shape[0]!;
}

/** Lists the weights of a GGUF model; a model that rotates has no table of positions. */
export function* bertGgufWeights(config: BertConfig, file: ModelFile): Iterable<WeightSpec> {
  const { hiddenSize: width, intermediateSize: inner, vocabSize, segments } = config;
  yield keptMatrix("wordTable", vocabSize, width, "token_embd.weight");
  if (!config.rotation) {
    yield keptMatrix("positionTable", config.maxPositions, width, "position_embd.weight");
  }
  if (segments) yield keptMatrix("typeTable", segments, width, "token_types.weight");
  yield* norm("embeddingNorm", width, "token_embd_norm");
  for (let i = 0; i < config.layers; i++) {
    const layer = `blk.${i}.`;
    yield* ggufQueriesKeysValues(file, i, width);
    yield* ggufLinear(file, `${i}.o`, width, width, `${layer}attn_output`);
    yield* norm(`${i}.attentionNorm`, width, `${layer}attn_output_norm`);
    if (config.gate) yield* ggufLinear(file, `${i}.gate`, inner, width, `${layer}ffn_gate`);
    yield* ggufLinear(file, `${i}.up`, inner, width, `${layer}ffn_up`);
    yield* ggufLinear(file, `${i}.down`, width, inner, `${layer}ffn_down`);
    yield* norm(`${i}.mlpNorm`, width, `${layer}layer_output_norm`);
  }
  if (!file.tensors.has(SCORES)) return;
  // The scores of a text or a pair, from its first token, with a layer before them or without.
  if (file.tensors.has("cls.weight")) yield* ggufLinear(file, "scoresHidden", width, width, "cls");
  const count = countScores(file, SCORES), bias = "cls.output.bias";
  yield keptMatrix("scores", count, width, SCORES);
  if (file.tensors.has(bias)) yield vector("scores.bias", count, bias);
}
