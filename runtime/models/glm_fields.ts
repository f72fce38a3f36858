/**
 * The configuration fields that ChatGLM2 and its successors are known to come with, by what they mean
 * here.
 *
 * Source: the `config.json` published with each model, the configuration classes of Transformers 5,
 * and the metadata keys of llama.cpp.
 *
 * @module
 */

import { HARMLESS_FIELDS } from "./common_fields.ts";
import type { FieldRules } from "./fields.ts";
import { GGUF_FIELDS, jsonFields } from "./llama_fields.ts";

/** Fields of `config.json` in the form of the first releases. */
export const chatglmFields: FieldRules = {
  read: [
    ...["model_type", "num_layers", "padded_vocab_size", "hidden_size", "ffn_hidden_size"],
    ...["kv_channels", "num_attention_heads", "seq_length", "layernorm_epsilon"],
    ...["multi_query_attention", "multi_query_group_num", "add_qkv_bias", "add_bias_linear"],
    "rope_ratio",
  ],
  harmless: [
    ...HARMLESS_FIELDS,
    ...["vocab_size", "interleaved_qkv", "bias_dropout_fusion", "attention_softmax_in_fp32"],
    // Scores divided by the layer's number before the softmax are multiplied by it again.
    ...["apply_query_key_layer_scaling", "fp32_residual_connection", "use_cache", "original_rope"],
    // Repeats num_layers for programs that look for this name.
    ...["num_hidden_layers", "classifier_dropout", "tie_word_embeddings"],
  ],
  neutral: {
    rmsnorm: [true],
    post_layer_norm: [true],
    apply_residual_connection_post_layernorm: [false],
    // The tensors themselves say so.
    quantization_bit: [0, 4, 8],
    pre_seq_len: [],
    prefix_projection: [false],
  },
};

/** Fields that this family does not read as Llama does, and the values that change nothing. */
const OTHERS: Readonly<Record<string, readonly unknown[]>> = {
  quantization_config: [],
  compression_config: [],
  quantization: [],
  layer_types: [],
};

/** Fields of `config.json` in the form of Transformers. */
export function glmJsonFields(architecture: string): FieldRules {
  const { read, harmless, neutral } = jsonFields(architecture);
  return {
    read: read.filter((it) => !Object.hasOwn(OTHERS, it)),
    harmless,
    neutral: { ...neutral, ...OTHERS },
  };
}

const isOfExperts = (field: string): boolean => field.startsWith("expert_");

/** Fields of GGUF metadata; names stand behind the architecture's. */
export const glmGgufFields: FieldRules = {
  read: GGUF_FIELDS.read.filter((it) => !isOfExperts(it) && it !== "attention.scale"),
  harmless: GGUF_FIELDS.harmless,
  neutral: {
    ...GGUF_FIELDS.neutral,
    ...Object.fromEntries(GGUF_FIELDS.read.filter(isOfExperts).map((it) => [it, [0, false]])),
    "attention.scale": [0],
  },
};
