/**
 * PanGu-α (Zeng et al., arXiv:2104.12369): a GPT whose last layer, the query layer, asks with the
 * embedding of the next position instead of the last layer's states.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote, word } from "../../escape.ts";
import type { ActivationName } from "../../kernels/ops.ts";
import { readConfig } from "../files/config.ts";
import type { Graph, Tensor } from "../graph/graph.ts";
import { blocks } from "./blocks.ts";
import { HARMLESS_FIELDS } from "./common_fields.ts";
import { checkPositions, type ModelDefinition } from "./definition.ts";
import { checkFields } from "./fields.ts";
import type { GptConfig } from "./gpt.ts";
import { cacheRows, causalSpans, positions, tokenIds } from "./inputs.ts";
import type { RunSizes } from "./program.ts";
import { keptMatrix, linear, matrix, norm, type WeightSpec } from "./weight_spec.ts";
import type { WeightScope } from "./weights.ts";

const ACTIVATIONS: Readonly<Record<string, ActivationName>> = {
  gelu: "gelu",
  gelu_new: "geluTanh",
  gelu_fast: "geluTanh",
  // What the original training scripts call fast GELU: x · sigmoid(1.702 x).
  quick_gelu: "geluQuick",
  relu: "relu",
};

/** PanGu-α. */
export const pangu: ModelDefinition<GptConfig> = {
  parseConfig(file, warn = () => {}) {
    const config = readConfig(file);
    checkFields(file, "", FIELDS, warn);
    const hiddenSize = config.count("hidden_size"), heads = config.count("num_heads");
    if (hiddenSize % heads !== 0) {
      throw new ModelError(
        `Cannot load ${quote(file.name)}: hidden_size ${hiddenSize} with num_heads ${heads}, ` +
          `expected a multiple of it`,
      );
    }
    const name = config.text("activation_function", "gelu"), activation = ACTIVATIONS[name];
    if (!activation) {
      throw new ModelError(
        `Cannot load ${quote(file.name)}: field "activation_function" is ${word(name)}, expected ` +
          Object.keys(ACTIVATIONS).join(", "),
      );
    }
    return {
      architecture: config.text("model_type"),
      layers: config.count("num_layers"),
      hiddenSize,
      heads,
      kvHeads: heads,
      headDim: hiddenSize / heads,
      intermediateSize: config.count("intermediate_size", 4 * hiddenSize),
      activation,
      layerNormEps: config.epsilon("layer_norm_epsilon", 1e-5),
      vocabSize: config.count("vocab_size"),
      maxPositions: config.count("max_position_embeddings", 1024),
    };
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
  { inputs, cacheRows, cacheType, wanted }: RunSizes,
): Record<string, Tensor> {
  const { heads, headDim, activation: kind, layerNormEps: eps, layers } = config;
  const { ids, positions, cacheRows: rows, spans } = inputs as Record<string, Tensor>;
  const { linear, layerNorm, embed, attend } = blocks(g, w);
  let x = embed([ids!, "wordTable"], [positions!, "positionTable"]); // [tokens, hidden]
  for (let i = 0; i < layers; i++) {
    g.cut(`layer ${i}`, i);
    const isQueryLayer = i === layers - 1;
    // The norm of the other layers' result comes before the query layer, and none after it.
    if (isQueryLayer) x = layerNorm(x, "norm", eps);
    const a = layerNorm(x, `${i}.attentionNorm`, eps);
    const asking = isQueryLayer ? embed([positions!, "queryTable"]) : a;
    const mixed = attend({
      name: `${i}`,
      q: linear(asking, `${i}.q`),
      stored: { k: linear(a, `${i}.k`), v: linear(a, `${i}.v`), rows: rows! },
      shape: [cacheRows, heads, headDim],
      cacheType,
      spans: spans!,
      heads,
      scale: headDim ** -0.5,
    });
    x = g.op("add", [x, linear(mixed, `${i}.o`)]);
    const m = layerNorm(x, `${i}.mlpNorm`, eps);
    const inner = g.op("activation", [linear(m, `${i}.up`)], { kind }); // [tokens, intermediate]
    x = g.op("add", [x, linear(inner, `${i}.down`)]);
  }
  g.cut("head");
  const hidden = wanted(x); // [rows, hidden]
  return { hidden, logits: linear(hidden, w.has("head") ? "head" : "wordTable") };
}

/** Fields of `config.json`. */
const FIELDS = {
  read: [
    ...["model_type", "hidden_size", "intermediate_size", "num_layers", "num_heads", "vocab_size"],
    ...["activation_function", "layer_norm_epsilon", "max_position_embeddings"],
    "tie_word_embeddings",
  ],
  harmless: [...HARMLESS_FIELDS, "resid_pdrop", "embd_pdrop", "attn_pdrop"],
  neutral: { scale_attn_weights: [true], quantization_config: [] },
};
