/**
 * GPT-2 (Radford et al., 2019), and models in its form: a GPT whose matrices lie transposed in the
 * files of its makers, with queries, keys and values as thirds of one. What GGUF files have,
 * gpt2_gguf.ts says.
 *
 * @module
 */

import type { ModelFile } from "../files/model_file.ts";
import { HARMLESS_FIELDS } from "./common_fields.ts";
import { checkPositions, type ModelDefinition } from "./definition.ts";
import { checkFields } from "./fields.ts";
import { type GptConfig, gptDecoder, type GptFields, readGptConfig } from "./gpt.ts";
import { gpt2FromGguf, gpt2GgufWeights } from "./gpt2_gguf.ts";
import { keptMatrix, matrix, norm, vector, type WeightSpec } from "./weight_spec.ts";

const CONFIG: GptFields = {
  hiddenSize: ["n_embd", 768],
  heads: ["n_head", 12],
  layers: ["n_layer", 12],
  vocabSize: ["vocab_size", 50257],
  maxPositions: ["n_positions", 1024],
  intermediateSize: "n_inner",
  activation: "gelu_new",
  activations: {
    gelu_new: "geluTanh",
    gelu_pytorch_tanh: "geluTanh",
    gelu_fast: "geluTanh",
    gelu: "gelu",
    relu: "relu",
    silu: "silu",
    swish: "silu",
  },
};

/** GPT-2. */
export const gpt2: ModelDefinition<GptConfig> = {
  parseConfig(file, warn = () => {}) {
    if (file.format === "gguf") return gpt2FromGguf(file, warn);
    checkFields(file, "", FIELDS, warn);
    return readGptConfig(file, CONFIG);
  },

  async weights(config, file, contextLength) {
    checkPositions(file, config, contextLength);
    return file.format === "gguf" ? await gpt2GgufWeights(config, file) : listWeights(config, file);
  },

  programs: (config) => ({ decode: gptDecoder(config, { prefix: false }) }),
};

function* listWeights(config: GptConfig, { tensors }: ModelFile): Iterable<WeightSpec> {
  const { hiddenSize: width, intermediateSize: inner, vocabSize } = config;
  // A model that was saved without its head has no prefix.
  const prefix = tensors.has("wte.weight") ? "" : "transformer.";
  yield keptMatrix("wordTable", vocabSize, width, `${prefix}wte.weight`);
  yield keptMatrix("positionTable", config.maxPositions, width, `${prefix}wpe.weight`);
  for (let i = 0; i < config.layers; i++) {
    const layer = `${prefix}h.${i}.`, fused = `${layer}attn.c_attn`;
    yield* norm(`${i}.attentionNorm`, width, `${layer}ln_1`);
    for (const [third, name] of ["q", "k", "v"].entries()) {
      const rows = [[third * width, width]] as const;
      const weight = { tensor: `${fused}.weight`, fileShape: [width, 3 * width], rows };
      yield matrix(`${i}.${name}`, width, width, { ...weight, transposed: true });
      const bias = { tensor: `${fused}.bias`, fileShape: [3 * width], rows };
      yield vector(`${i}.${name}.bias`, width, bias);
    }
    yield* transposed(`${i}.o`, width, width, `${layer}attn.c_proj`);
    yield* norm(`${i}.mlpNorm`, width, `${layer}ln_2`);
    yield* transposed(`${i}.up`, inner, width, `${layer}mlp.c_fc`);
    yield* transposed(`${i}.down`, width, inner, `${layer}mlp.c_proj`);
  }
  yield* norm("norm", width, `${prefix}ln_f`);
  if (tensors.has("lm_head.weight")) yield matrix("head", vocabSize, width, "lm_head.weight");
}

/** The matrix and the bias of a layer whose matrix lies there as `[in, out]`. */
function transposed(name: string, rows: number, columns: number, tensor: string): WeightSpec[] {
  return [
    matrix(name, rows, columns, { tensor: `${tensor}.weight`, transposed: true }),
    vector(`${name}.bias`, rows, `${tensor}.bias`),
  ];
}

/** Fields of `config.json`, as the classes of Transformers read them. */
const FIELDS = {
  read: [
    ...["model_type", "n_embd", "n_head", "n_layer", "n_inner", "n_positions", "vocab_size"],
    ...["activation_function", "layer_norm_epsilon", "tie_word_embeddings"],
  ],
  harmless: [
    ...HARMLESS_FIELDS,
    ...["n_ctx", "summary_*", "attn_pdrop", "embd_pdrop", "resid_pdrop", "_num_labels"],
    // It changes the order in which f16 is rounded, and nothing else.
    "reorder_and_upcast_attn",
  ],
  neutral: {
    scale_attn_weights: [true],
    scale_attn_by_inverse_layer_idx: [false],
    add_cross_attention: [false],
    quantization_config: [],
  },
};
