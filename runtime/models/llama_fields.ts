/**
 * The configuration fields that llama-family models are known to come with, in `config.json` and in
 * GGUF metadata, by what they mean here.
 *
 * Source: the configuration classes of Transformers 5 and the metadata keys of llama.cpp.
 *
 * @module
 */

import { GGUF_NEUTRAL, HARMLESS_FIELDS } from "./common_fields.ts";
import type { FieldRules } from "./fields.ts";

/** What every definition of this family reads from `config.json`. */
const READ: readonly string[] = [
  ...["model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"],
  ...["num_attention_heads", "num_key_value_heads", "head_dim", "hidden_act", "rms_norm_eps"],
  ...["max_position_embeddings", "original_max_position_embeddings", "tie_word_embeddings"],
  ...["rope_theta", "rope_scaling", "rope_parameters", "layer_types", "quantization_config"],
  ...["compression_config", "quantization"],
];

const OFF = [false];

/** What other architectures do differently. */
const NEUTRAL: Readonly<Record<string, readonly unknown[]>> = {
  // Attention.
  attention_bias: OFF,
  qkv_bias: OFF,
  bias: OFF,
  use_bias: OFF,
  mlp_bias: OFF,
  clip_qkv: [],
  attention_multiplier: [],
  query_pre_attn_scalar: [],
  attn_logit_softcapping: [0],
  attn_temperature_tuning: [false, 0],
  attention_chunk_size: [],
  use_qk_norm: OFF,
  qk_layernorm: OFF,
  qk_norm: OFF,
  alibi: OFF,
  use_alibi: OFF,
  is_causal: [true],
  causal: [true],
  use_bidirectional_attention: OFF,
  add_cross_attention: OFF,
  is_encoder_decoder: OFF,
  // Positions.
  partial_rotary_factor: [1],
  rotary_pct: [1],
  use_mrope: OFF,
  rope_interleave: OFF,
  rope_interleaved: OFF,
  no_rope_layers: [],
  no_rope_layer_interval: [0],
  position_embedding_type: ["rope", "rotary"],
  // Blocks and residual stream.
  per_layer_config: [],
  parallel_attn: OFF,
  use_parallel_residual: OFF,
  hidden_activation: ["silu", "swish"],
  activation_function: ["silu", "swish"],
  residual_multiplier: [1],
  embedding_multiplier: [1],
  scale_emb: [1],
  scale_depth: [],
  // Logits.
  final_logit_softcapping: [0],
  logit_softcapping: [0],
  logits_scaling: [1],
  logit_scale: [1],
  lm_head_multiplier: [1],
  // Experts.
  num_experts: [0],
  num_local_experts: [0],
  n_routed_experts: [0],
  n_shared_experts: [0],
  num_shared_experts: [0],
  first_k_dense_replace: [0],
  n_group: [0, 1],
  topk_group: [0, 1],
  routed_scaling_factor: [1],
  scoring_func: ["softmax"],
  norm_topk_prob: OFF,
};

const WINDOW = ["sliding_window"];
const QWEN_WINDOW = [...WINDOW, "use_sliding_window", "max_window_layers"];
const EXPERTS = ["num_experts", "num_local_experts", "num_experts_per_tok"];
const QWEN_EXPERTS = [
  ...EXPERTS,
  ...["moe_intermediate_size", "norm_topk_prob", "decoder_sparse_step", "mlp_only_layers"],
];

/** Fields that one architecture reads beyond what all do. */
const ALSO_READ: Readonly<Record<string, readonly string[]>> = {
  glm: ["attention_bias", "partial_rotary_factor"],
  glm4: ["attention_bias", "partial_rotary_factor"],
  llama: ["attention_bias", "mlp_bias"],
  mistral: WINDOW,
  mixtral: [...WINDOW, ...EXPERTS],
  olmoe: [...EXPERTS, "attention_bias", "norm_topk_prob"],
  qwen2: QWEN_WINDOW,
  qwen2_moe: [...QWEN_WINDOW, ...QWEN_EXPERTS, "shared_expert_intermediate_size", "qkv_bias"],
  qwen3: [...QWEN_WINDOW, "attention_bias"],
  qwen3_moe: [...QWEN_WINDOW, ...QWEN_EXPERTS, "attention_bias"],
};

/** The rules for `config.json`. */
export function jsonFields(architecture: string): FieldRules {
  const neutral = { ...NEUTRAL };
  // Query, key and value of these always have biases.
  if (architecture === "qwen2") neutral.qkv_bias = neutral.attention_bias = [true, false];
  if (/^(qwen3|olmoe)/.test(architecture)) {
    for (const it of ["use_qk_norm", "qk_layernorm", "qk_norm"]) neutral[it] = [true];
  }
  const read = [...READ, ...ALSO_READ[architecture]!];
  return { read, harmless: HARMLESS_FIELDS, neutral };
}

/** The rules for GGUF metadata; names stand behind the architecture's. */
export const GGUF_FIELDS: FieldRules = {
  read: [
    ...["vocab_size", "context_length", "embedding_length", "block_count", "feed_forward_length"],
    ...["attention.head_count", "attention.head_count_kv", "attention.layer_norm_rms_epsilon"],
    ...["attention.key_length", "attention.value_length", "attention.scale"],
    ...["rope.dimension_count", "rope.freq_base", "rope.scale_linear", "rope.scaling.type"],
    ...["rope.scaling.factor", "rope.scaling.attn_factor"],
    ...["rope.scaling.original_context_length", "expert_count", "expert_used_count"],
    ...["expert_feed_forward_length", "expert_shared_feed_forward_length", "expert_weights_norm"],
  ],
  harmless: [
    ...["tensor_data_layout", "rope.scaling.finetuned", "attention.layer_norm_epsilon"],
    ...["pooling_type", "classifier.output_labels", "expert_shared_count"],
  ],
  neutral: { ...GGUF_NEUTRAL, "attention.causal": [true] },
};
