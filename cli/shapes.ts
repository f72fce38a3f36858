/**
 * Shapes of published models, as the `config.json` that each has or would have: facts from papers and
 * from the configurations that were released. What is planned on paper and what synthetic models look
 * like is told by their names.
 *
 * @module
 */

/** A published model's shape. */
export interface Shape {
  /** Where its extents are from. */
  readonly source: string;
  /** Parameters as they were published, where they were. */
  readonly parameters?: number;
  /** Those that a token gets, where they were published. */
  readonly active?: number;
  /** A tensor that the published number leaves out, because it counts it as another one. */
  readonly without?: string;
  /** In which way it is another model than the published one, where it is. */
  readonly note?: string;
  /** Its configuration. */
  readonly config: Readonly<Record<string, unknown>>;
}

type Fields = Readonly<Record<string, unknown>>;

const ICE_TOKENS = {
  ...{ pad_token_id: 3, mask_token_id: 130000, gmask_token_id: 130001 },
  ...{ bos_token_id: 130004, eos_token_id: 130005 },
};
const CHATGLM: Fields = {
  ...{ model_type: "chatglm", hidden_size: 4096, inner_hidden_size: 16384, num_layers: 28 },
  ...{ num_attention_heads: 32, layernorm_epsilon: 1e-5, vocab_size: 130528 },
  ...{ max_sequence_length: 2048, position_encoding_2d: true, torch_dtype: "float16" },
  ...ICE_TOKENS,
};
const CHATGLM2: Fields = {
  ...{ model_type: "chatglm", hidden_size: 4096, ffn_hidden_size: 13696, num_layers: 28 },
  ...{ num_attention_heads: 32, kv_channels: 128, multi_query_attention: true },
  ...{ multi_query_group_num: 2, padded_vocab_size: 65024, seq_length: 32768, rmsnorm: true },
  ...{ add_qkv_bias: true, add_bias_linear: false, layernorm_epsilon: 1e-5, post_layer_norm: true },
  ...{ apply_residual_connection_post_layernorm: false, torch_dtype: "float16" },
  ...{ pad_token_id: 0, eos_token_id: 2 },
};
const CHATGLM_SOURCE = "its released config.json; Zeng et al., arXiv:2210.02414";
const GLM4_SOURCE = "its released config.json; arXiv:2406.12793";

/** A GPT with the names of GPT-2. */
function gpt(layers: number, width: number, heads: number, positions: number): Fields {
  return {
    ...{ model_type: "gpt2", n_layer: layers, n_embd: width, n_head: heads },
    ...{ n_positions: positions, vocab_size: 50257, torch_dtype: "float16" },
    ...{ bos_token_id: 50256, eos_token_id: 50256 },
  };
}

/** A GPT with the names of Megatron-LM. */
function megatron(
  layers: number,
  width: number,
  heads: number,
  vocabulary: number,
  positions: number = 2048,
): Fields {
  return {
    ...{ model_type: "yuan1_megatron_gpt", num_layers: layers, hidden_size: width },
    ...{ num_attention_heads: heads, padded_vocab_size: vocabulary, torch_dtype: "float16" },
    max_position_embeddings: positions,
  };
}

function pangu(layers: number, width: number, heads: number): Fields {
  return {
    ...{ model_type: "gpt_pangu", num_layers: layers, hidden_size: width, num_heads: heads },
    ...{ vocab_size: 40000, max_position_embeddings: 1024, torch_dtype: "float16" },
  };
}

function bert(layers: number, width: number): Fields {
  return {
    ...{ model_type: "bert", num_hidden_layers: layers, hidden_size: width },
    ...{ num_attention_heads: width / 64, intermediate_size: 4 * width, vocab_size: 30522 },
    ...{ max_position_embeddings: 512, type_vocab_size: 2, pad_token_id: 0 },
    torch_dtype: "float32",
  };
}

/** What T5 and its kin have; layers are those of each side. */
function t5(
  type: string,
  layers: number,
  width: number,
  inner: number,
  heads: number,
  more: Fields = {},
): Fields {
  return {
    ...{ model_type: type, num_layers: layers, num_decoder_layers: layers, d_model: width },
    ...{ d_ff: inner, d_kv: 64, num_heads: heads, vocab_size: 32128, feed_forward_proj: "relu" },
    ...{ pad_token_id: 0, eos_token_id: 1, decoder_start_token_id: 0, torch_dtype: "float32" },
    ...more,
  };
}

const GATED = { feed_forward_proj: "gated-gelu", tie_word_embeddings: false };
const MT5 = { ...GATED, vocab_size: 250112 };

/** A Switch Transformer, with experts in every second layer of each side. */
function switchBase(experts: number): Fields {
  return t5("switch_transformers", 12, 768, 3072, 12, switchFields(experts, 6));
}

function switchFields(experts: number, sparse: number): Fields {
  return {
    ...{ num_experts: experts, num_sparse_encoder_layers: sparse, expert_capacity: 64 },
    num_sparse_decoder_layers: sparse,
  };
}

/** A Transformer for translation, as it was first described. */
function translation(width: number, inner: number, heads: number, vocabulary: number): Fields {
  return {
    ...{ model_type: "marian", d_model: width, vocab_size: vocabulary, scale_embedding: true },
    ...{ encoder_layers: 6, encoder_attention_heads: heads, encoder_ffn_dim: inner },
    ...{ decoder_layers: 6, decoder_attention_heads: heads, decoder_ffn_dim: inner },
    ...{ activation_function: "relu", max_position_embeddings: 512, torch_dtype: "float32" },
    ...{ decoder_start_token_id: vocabulary - 1, pad_token_id: vocabulary - 1, eos_token_id: 0 },
    static_position_embeddings: true,
  };
}

/** A model of the llama family. */
function llama(
  type: string,
  layers: number,
  width: number,
  inner: number,
  [heads, kvHeads]: readonly [number, number],
  vocabulary: number,
  positions: number,
  more: Fields = {},
): Fields {
  return {
    ...{ model_type: type, num_hidden_layers: layers, hidden_size: width, torch_dtype: "bfloat16" },
    ...{ intermediate_size: inner, num_attention_heads: heads, num_key_value_heads: kvHeads },
    ...{ vocab_size: vocabulary, max_position_embeddings: positions, tie_word_embeddings: false },
    ...{ bos_token_id: 1, eos_token_id: 2 },
    ...more,
  };
}

const LLAMA = "Touvron et al., arXiv:2302.13971, table 2";
const LLAMA3 = "Grattafiori et al., arXiv:2407.21783, table 3";
const T5 = "Raffel et al., arXiv:1910.10683, section 3.7, and the released checkpoints";
const T5_V11 = "the released configurations of T5 1.1";
const MT5_PAPER = "Xue et al., arXiv:2010.11934, and the released configurations";
const SWITCH = "Fedus et al., arXiv:2101.03961, table 9, and the released configurations";
const PANGU = "Zeng et al., arXiv:2104.12369, table 1; its query layer is the last one";
const GPT2 = "Radford et al., 2019, table 2; numbers as the released checkpoints have them";
const VASWANI = "Vaswani et al., arXiv:1706.03762, table 3";

/** Shapes by name. */
export const SHAPES: Readonly<Record<string, Shape>> = {
  "chatglm-6b": {
    source: CHATGLM_SOURCE,
    parameters: 6.2e9,
    without: "lm_head.weight",
    config: CHATGLM,
  },
  "chatglm-6b-int4": {
    source: CHATGLM_SOURCE,
    parameters: 6.2e9,
    without: "lm_head.weight",
    config: { ...CHATGLM, quantization_bit: 4, quantization_embeddings: false },
  },
  "chatglm2-6b": { source: GLM4_SOURCE, parameters: 6.24e9, config: CHATGLM2 },
  "chatglm3-6b": {
    source: GLM4_SOURCE,
    parameters: 6.24e9,
    config: { ...CHATGLM2, _name_or_path: "THUDM/chatglm3-6b", seq_length: 8192 },
  },
  "glm-4-9b": {
    source: GLM4_SOURCE,
    parameters: 9.4e9,
    config: {
      ...CHATGLM2,
      ...{ num_layers: 40, padded_vocab_size: 151552, seq_length: 131072, rope_ratio: 500 },
      ...{ layernorm_epsilon: 1.5625e-7, torch_dtype: "bfloat16" },
      ...{ pad_token_id: 151329, eos_token_id: [151329, 151336, 151338] },
    },
  },
  "glm-130b": {
    source: "its released script; Zeng et al., arXiv:2210.02414",
    parameters: 130e9,
    config: {
      ...{ model_type: "glm-130b", num_layers: 70, hidden_size: 12288, inner_hidden_size: 32768 },
      ...{ num_attention_heads: 96, vocab_size: 150528, max_sequence_length: 2048 },
      ...{ layernorm_order: "post", tokenizer_type: "icetk-glm-130B", torch_dtype: "float16" },
      ...{ mask_token_id: 150000, gmask_token_id: 150001, smask_token_id: 150002 },
      ...{ bos_token_id: 150004, eos_token_id: [150005, 20002] },
    },
  },
  "yuan-13b": {
    source: "the released script: 40 layers of 5,120, 40 heads; Wu et al., arXiv:2110.04725",
    parameters: 13e9,
    config: megatron(40, 5120, 40, 53248),
  },
  "yuan-245b": {
    source: "Wu et al., arXiv:2110.04725: 76 layers of 16,384",
    note: "its number of heads is not published; 128 of length 128 are assumed",
    parameters: 245.7e9,
    config: megatron(76, 16384, 128, 53248),
  },
  "gpt-3": {
    source: "Brown et al., arXiv:2005.14165, table 2.1",
    note: "every second layer of it sees only nearby tokens; here all see everything",
    parameters: 174.6e9,
    config: gpt(96, 12288, 96, 2048),
  },
  "turing-nlg-17b": {
    source: "Rosset, Turing-NLG, 2020: 78 layers of 4,256, 28 heads, 1,024 tokens",
    parameters: 17e9,
    config: megatron(78, 4256, 28, 50304, 1024),
  },
  "mt-nlg-530b": {
    source: "Smith et al., arXiv:2201.11990: 105 layers of 20,480, 128 heads, 2,048 tokens",
    parameters: 530e9,
    config: megatron(105, 20480, 128, 51200),
  },
  ...Object.fromEntries(
    [8, 16, 32, 64, 128, 256].map((experts): [string, Shape] => [
      `switch-base-${experts}`,
      {
        source: SWITCH,
        ...(experts === 8 && { parameters: 0.62e9 }),
        ...(experts === 128 && { parameters: 7.4e9 }),
        config: switchBase(experts),
      },
    ]),
  ),
  "switch-large-128": {
    source: SWITCH,
    parameters: 26e9,
    config: t5("switch_transformers", 24, 1024, 4096, 16, switchFields(128, 12)),
  },
  "switch-xxl": {
    source: SWITCH,
    note:
      "its feed-forward blocks are gated and 10,240 wide; here plain ones of 15,360 stand for " +
      "them, which have as many parameters",
    parameters: 395e9,
    config: t5("switch_transformers", 24, 4096, 15360, 64, switchFields(128, 12)),
  },
  "switch-c": {
    source: SWITCH,
    parameters: 1571e9,
    config: t5("switch_transformers", 15, 2080, 6144, 32, switchFields(2048, 15)),
  },
  "t5-small": { source: T5, parameters: 60e6, config: t5("t5", 6, 512, 2048, 8) },
  "t5-base": { source: T5, parameters: 220e6, config: t5("t5", 12, 768, 3072, 12) },
  // The paper says 770 million; the checkpoint has this many.
  "t5-large": { source: T5, parameters: 738e6, config: t5("t5", 24, 1024, 4096, 16) },
  "t5-3b": { source: T5, parameters: 2.8e9, config: t5("t5", 24, 1024, 16384, 32, { d_kv: 128 }) },
  "t5-11b": {
    source: T5,
    parameters: 11.3e9,
    config: t5("t5", 24, 1024, 65536, 128, { d_kv: 128 }),
  },
  "t5-v1.1-small": { source: T5_V11, parameters: 77e6, config: t5("t5", 8, 512, 1024, 6, GATED) },
  "t5-v1.1-base": { source: T5_V11, parameters: 248e6, config: t5("t5", 12, 768, 2048, 12, GATED) },
  "t5-v1.1-large": {
    source: T5_V11,
    parameters: 783e6,
    config: t5("t5", 24, 1024, 2816, 16, GATED),
  },
  "t5-v1.1-xl": { source: T5_V11, parameters: 2.85e9, config: t5("t5", 24, 2048, 5120, 32, GATED) },
  "t5-v1.1-xxl": {
    source: T5_V11,
    parameters: 11.1e9,
    config: t5("t5", 24, 4096, 10240, 64, GATED),
  },
  "mt5-small": { source: MT5_PAPER, parameters: 300e6, config: t5("mt5", 8, 512, 1024, 6, MT5) },
  "mt5-base": { source: MT5_PAPER, parameters: 580e6, config: t5("mt5", 12, 768, 2048, 12, MT5) },
  "mt5-large": {
    source: MT5_PAPER,
    parameters: 1.23e9,
    config: t5("mt5", 24, 1024, 2816, 16, MT5),
  },
  "mt5-xl": { source: MT5_PAPER, parameters: 3.7e9, config: t5("mt5", 24, 2048, 5120, 32, MT5) },
  "mt5-xxl": { source: MT5_PAPER, parameters: 13e9, config: t5("mt5", 24, 4096, 10240, 64, MT5) },
  "pangu-2.6b": { source: PANGU, parameters: 2.6e9, config: pangu(32, 2560, 32) },
  "pangu-13b": { source: PANGU, parameters: 13e9, config: pangu(40, 5120, 40) },
  "pangu-200b": { source: PANGU, parameters: 207e9, config: pangu(64, 16384, 128) },
  "bert-base": {
    source: "Devlin et al., arXiv:1810.04805, section 3",
    parameters: 110e6,
    config: bert(12, 768),
  },
  "bert-large": {
    source: "Devlin et al., arXiv:1810.04805, section 3",
    parameters: 340e6,
    config: bert(24, 1024),
  },
  "gpt2": { source: GPT2, parameters: 124e6, config: gpt(12, 768, 12, 1024) },
  "gpt2-medium": { source: GPT2, parameters: 355e6, config: gpt(24, 1024, 16, 1024) },
  "gpt2-large": { source: GPT2, parameters: 774e6, config: gpt(36, 1280, 20, 1024) },
  "gpt2-xl": { source: GPT2, parameters: 1.558e9, config: gpt(48, 1600, 25, 1024) },
  // The paper rounds what about 37,000 words give.
  "transformer-base": {
    source: VASWANI,
    parameters: 63e6,
    config: translation(512, 2048, 8, 37000),
  },
  "transformer-big": {
    source: VASWANI,
    parameters: 213e6,
    config: translation(1024, 4096, 16, 37000),
  },
  "opus-mt-en-de": {
    source: "its released config.json, but with a plain activation",
    parameters: 74e6,
    config: translation(512, 2048, 8, 58101),
  },
  // The paper says 257 million; the checkpoint has this many.
  "transformer-xl": {
    source: "Dai et al., arXiv:1901.02860, for WikiText-103, and the released configuration",
    parameters: 285e6,
    config: {
      ...{ model_type: "transfo-xl", n_layer: 18, n_head: 16, d_model: 1024, d_embed: 1024 },
      ...{ d_head: 64, d_inner: 4096, vocab_size: 267735, cutoffs: [20000, 40000, 200000] },
      ...{ div_val: 4, mem_len: 1600, clamp_len: 1000, same_length: true, untie_r: true },
      ...{ adaptive: true, attn_type: 0, pre_lnorm: false, proj_share_all_but_first: true },
      ...{ layer_norm_epsilon: 1e-5, eos_token_id: 0, torch_dtype: "float32" },
    },
  },
  "llama-7b": {
    source: LLAMA,
    parameters: 6.7e9,
    config: llama("llama", 32, 4096, 11008, [32, 32], 32000, 2048),
  },
  "llama-13b": {
    source: LLAMA,
    parameters: 13e9,
    config: llama("llama", 40, 5120, 13824, [40, 40], 32000, 2048),
  },
  "llama-33b": {
    source: LLAMA,
    parameters: 32.5e9,
    config: llama("llama", 60, 6656, 17920, [52, 52], 32000, 2048),
  },
  "llama-65b": {
    source: LLAMA,
    parameters: 65.2e9,
    config: llama("llama", 80, 8192, 22016, [64, 64], 32000, 2048),
  },
  "llama-2-70b": {
    source: "Touvron et al., arXiv:2307.09288, and its released config.json",
    parameters: 70e9,
    config: llama("llama", 80, 8192, 28672, [64, 8], 32000, 4096),
  },
  "llama-3.1-8b": {
    source: LLAMA3,
    parameters: 8.03e9,
    config: llama("llama", 32, 4096, 14336, [32, 8], 128256, 131072),
  },
  "llama-3.1-70b": {
    source: LLAMA3,
    parameters: 70.6e9,
    config: llama("llama", 80, 8192, 28672, [64, 8], 128256, 131072),
  },
  "llama-3.1-405b": {
    source: LLAMA3,
    parameters: 405e9,
    config: llama("llama", 126, 16384, 53248, [128, 8], 128256, 131072),
  },
  "mixtral-8x7b": {
    source: "Jiang et al., arXiv:2401.04088",
    parameters: 46.7e9,
    active: 12.9e9,
    config: llama("mixtral", 32, 4096, 14336, [32, 8], 32000, 32768, {
      num_local_experts: 8,
      num_experts_per_tok: 2,
      sliding_window: null,
    }),
  },
  "qwen3-30b-a3b": {
    source: "Yang et al., arXiv:2505.09388, and its released config.json",
    parameters: 30.5e9,
    active: 3.3e9,
    config: llama("qwen3_moe", 48, 2048, 6144, [32, 4], 151936, 40960, {
      ...{ num_experts: 128, num_experts_per_tok: 8, moe_intermediate_size: 768, head_dim: 128 },
      ...{ norm_topk_prob: true, decoder_sparse_step: 1 },
    }),
  },
};
