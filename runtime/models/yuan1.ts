/**
 * Yuan 1.0, the language model and the prefix language model (Wu et al., arXiv:2110.04725): a GPT with
 * the names and the fused, per-head matrices of Megatron-LM.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { readConfig } from "../files/config.ts";
import { checkPositions, type ModelDefinition } from "./definition.ts";
import { checkFields } from "./fields.ts";
import { type GptConfig, gptDecoder } from "./gpt.ts";
import { keptMatrix, linear, norm, queriesKeysValues, type WeightSpec } from "./weight_spec.ts";

/** Yuan 1.0. */
export const yuan1: ModelDefinition<GptConfig> = {
  parseConfig(file, warn = () => {}) {
    const config = readConfig(file);
    checkFields(file, "", FIELDS, warn);
    const hiddenSize = config.count("hidden_size"), heads = config.count("num_attention_heads");
    const headDim = config.count("kv_channels", hiddenSize / heads);
    if (heads * headDim !== hiddenSize) {
      throw new ModelError(
        `Cannot load ${quote(file.name)}: ${heads} heads of ${headDim} (kv_channels), expected ` +
          `${hiddenSize} in all, as hidden_size says`,
      );
    }
    return {
      architecture: config.text("model_type"),
      layers: config.count("num_layers"),
      hiddenSize,
      heads,
      kvHeads: heads,
      headDim,
      intermediateSize: config.count("ffn_hidden_size", 4 * hiddenSize),
      // The fused kernel that Megatron-LM uses by default has the approximation by tanh.
      activation: config.flag("openai_gelu", false) || config.flag("bias_gelu_fusion", true)
        ? "geluTanh"
        : "gelu",
      layerNormEps: config.epsilon("layernorm_epsilon", 1e-5),
      vocabSize: config.count("padded_vocab_size"),
      maxPositions: config.count("max_position_embeddings"),
    };
  },

  weights(config, file, contextLength) {
    checkPositions(file, config, contextLength);
    return Promise.resolve(listWeights(config));
  },

  programs: (config) => ({
    decode: gptDecoder(config, { prefix: true }),
    prompts: { fields: { prefixLength: Infinity } },
  }),
};

function* listWeights(config: GptConfig): Iterable<WeightSpec> {
  const { hiddenSize: width, heads, headDim, intermediateSize: inner, vocabSize } = config;
  const embedding = "language_model.embedding.", encoder = "language_model.encoder.";
  yield keptMatrix("wordTable", vocabSize, width, `${embedding}word_embeddings.weight`);
  const positions = `${embedding}position_embeddings.weight`;
  yield keptMatrix("positionTable", config.maxPositions, width, positions);
  for (let i = 0; i < config.layers; i++) {
    const layer = `${encoder}layers.${i}.`, fused = `${layer}self_attention.query_key_value`;
    yield* norm(`${i}.attentionNorm`, width, `${layer}input_layernorm`);
    yield* queriesKeysValues(`${i}`, heads, headDim, fused);
    yield* linear(`${i}.o`, width, width, `${layer}self_attention.dense`);
    yield* norm(`${i}.mlpNorm`, width, `${layer}post_attention_layernorm`);
    yield* linear(`${i}.up`, inner, width, `${layer}mlp.dense_h_to_4h`);
    yield* linear(`${i}.down`, width, inner, `${layer}mlp.dense_4h_to_h`);
  }
  yield* norm("norm", width, `${encoder}final_layernorm`);
}

/** The arguments of Megatron-LM that a configuration may hold. */
const FIELDS = {
  read: [
    ...["model_type", "num_layers", "hidden_size", "num_attention_heads", "kv_channels"],
    ...["ffn_hidden_size", "openai_gelu", "bias_gelu_fusion", "layernorm_epsilon"],
    ...["padded_vocab_size", "max_position_embeddings"],
  ],
  // Scores divided by the layer's number before the softmax are multiplied by it again.
  harmless: ["note", "torch_dtype", "apply_query_key_layer_scaling", "fp32_residual_connection"],
  neutral: { apply_residual_connection_post_layernorm: [false] },
};
