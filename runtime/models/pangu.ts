/**
 * PanGu-α (Zeng et al., arXiv:2104.12369): a GPT whose last layer, the query layer, asks with the
 * embedding of the next position instead of the last layer's states.
 *
 * @module
 */

import type { Graph, Tensor } from "../graph/graph.ts";
import { blocks } from "./blocks.ts";
import { HARMLESS_FIELDS } from "./common_fields.ts";
import { checkPositions, type ModelDefinition } from "./definition.ts";
import { checkFields } from "./fields.ts";
import { type GptConfig, type GptFields, gptLayer, readGptConfig } from "./gpt.ts";
import { cacheRows, causalSpans, positions, tokenIds } from "./inputs.ts";
import type { RunSizes } from "./program.ts";
import { keptMatrix, linear, matrix, norm, type WeightSpec } from "./weight_spec.ts";
import type { WeightScope } from "./weights.ts";

const CONFIG: GptFields = {
  hiddenSize: ["hidden_size"],
  heads: ["num_heads"],
  layers: ["num_layers"],
  vocabSize: ["vocab_size"],
  maxPositions: ["max_position_embeddings", 1024],
  intermediateSize: "intermediate_size",
  activation: "gelu",
  activations: {
    gelu: "gelu",
    gelu_new: "geluTanh",
    gelu_fast: "geluTanh",
    // What the original training scripts call fast GELU: x · sigmoid(1.702 x).
    quick_gelu: "geluQuick",
    relu: "relu",
  },
};

/** PanGu-α. */
export const pangu: ModelDefinition<GptConfig> = {
  parseConfig(file, warn = () => {}) {
    checkFields(file, "", FIELDS, warn);
    return readGptConfig(file, CONFIG);
  },

  weights(config, file, contextLength) {
    checkPositions(file, config, contextLength);
    return Promise.resolve(listWeights(config, file.tensors.has("lm_head.weight")));
  },

  programs: (config) => ({
    decode: {
      ids: tokenIds,
      inputs: [positions, cacheRows, causalSpans()],
      record: (g, w, sizes) => recordDecoder(g, config, w, sizes),
    },
  }),
};

function* listWeights(config: GptConfig, hasHead: boolean): Iterable<WeightSpec> {
  const { hiddenSize: width, intermediateSize: inner, vocabSize, maxPositions } = config;
  yield keptMatrix("wordTable", vocabSize, width, "transformer.wte.weight");
  yield keptMatrix("positionTable", maxPositions, width, "transformer.wpe.weight");
  yield keptMatrix("queryTable", maxPositions, width, "transformer.wqe.weight");
  for (let i = 0; i < config.layers; i++) {
    const layer = `transformer.h.${i}.`;
    yield* norm(`${i}.attentionNorm`, width, `${layer}ln_1`);
    for (const it of ["q", "k", "v"]) {
      yield* linear(`${i}.${it}`, width, width, `${layer}attn.${it}_proj`);
    }
    yield* linear(`${i}.o`, width, width, `${layer}attn.c_proj`);
    yield* norm(`${i}.mlpNorm`, width, `${layer}ln_2`);
    yield* linear(`${i}.up`, inner, width, `${layer}mlp.c_fc`);
    yield* linear(`${i}.down`, width, inner, `${layer}mlp.c_proj`);
  }
  yield* norm("norm", width, "transformer.ln_f");
  if (hasHead) yield matrix("head", vocabSize, width, "lm_head.weight");
}

function recordDecoder(
  g: Graph,
  config: GptConfig,
  w: WeightScope,
  sizes: RunSizes,
): Record<string, Tensor> {
  const { ids, positions } = sizes.inputs as Record<string, Tensor>;
  const { linear, layerNorm, embed } = blocks(g, w);
  const last = config.layers - 1;
  let x = embed([ids!, "wordTable"], [positions!, "positionTable"]); // [tokens, hidden]
  for (let i = 0; i < last; i++) {
    g.cut(`layer ${i}`, i);
    x = gptLayer(g, config, w, sizes, i, x);
  }
  g.cut(`layer ${last}`, last); // the query layer
  // The norm of the other layers' result comes before it, and none after it.
  x = layerNorm(x, "norm", config.layerNormEps);
  x = gptLayer(g, config, w, sizes, last, x, embed([positions!, "queryTable"]));
  g.cut("head");
  const hidden = sizes.wanted(x); // [rows, hidden]
  return { hidden, logits: linear(hidden, w.has("head") ? "head" : "wordTable") };
}

/** Fields of `config.json`. */
const FIELDS = {
  read: [
    ...["model_type", "hidden_size", "intermediate_size", "num_layers", "num_heads", "vocab_size"],
    ...["activation_function", "layer_norm_epsilon", "max_position_embeddings"],
    "tie_word_embeddings",
  ],
  harmless: [...HARMLESS_FIELDS, "model_name_or_path", "summary_*"],
  neutral: { scale_attn_weights: [true], quantization_config: [] },
};
