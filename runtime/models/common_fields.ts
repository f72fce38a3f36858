/**
 * Fields of `config.json` that have no influence on what any model computes, and fields of GGUF
 * metadata that only some architectures honour.
 *
 * Source: the configuration classes of Transformers 5, the metadata keys of llama.cpp.
 *
 * @module
 */

/** Fields of every model, of training and of generation. */
export const HARMLESS_FIELDS: readonly string[] = [
  // About the file and the program that wrote it.
  ...["_name_or_path", "name_or_path", "_commit_hash", "transformers_version", "architectures"],
  ...["auto_map", "torch_dtype", "dtype", "tokenizer_class", "license", "custom_pipelines"],
  ...["transformers.js_config", "unsloth_*", "_attn_*", "_flash_attn_*", "_experts_*"],
  ...["attn_implementation", "experts_implementation", "use_flash_attn", "torchscript"],
  ...[
    "is_llama_config",
    "use_bfloat16",
    "tf_legacy_loss",
    "pruned_heads",
    "return_dict",
    "output_*",
    "model_max_length",
  ],
  ...["max_sequence_length", "tokenizer_model_max_length", "seq_length"],
  // Training.
  ...["attention_dropout", "hidden_dropout", "hidden_dropout_prob", "attention_probs_dropout_prob"],
  ...[
    "attn_pdrop",
    "embd_pdrop",
    "resid_pdrop",
    "layerdrop",
    "neftune_noise_alpha",
    "pretraining_tp",
  ],
  ...["initializer_range", "initializer_factor", "gradient_checkpointing", "router_aux_loss_coef"],
  ...["router_z_loss_coef", "router_jitter_noise", "use_cache", "chunk_size_feed_forward"],
  // Special tokens and tasks.
  ...[
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "unk_token_id",
    "sep_token_id",
    "cls_token_id",
  ],
  ...["mask_token_id", "decoder_start_token_id", "forced_bos_token_id", "forced_eos_token_id"],
  ...["id2label", "label2id", "num_labels", "problem_type", "finetuning_task", "prefix"],
  ...["task_specific_params", "is_decoder", "cross_attention_hidden_size", "classifier_dropout"],
  // How a cross-encoder shows its score: both the score and its sigmoid are given.
  ...["sentence_transformers", "sbert_ce_default_activation_function"],
  // Generation, which generation_config.json tells.
  ...["max_length", "min_length", "max_new_tokens", "do_sample", "early_stopping", "num_beams"],
  ...["num_beam_groups", "num_return_sequences", "temperature", "top_k", "top_p", "typical_p"],
  ...["repetition_penalty", "length_penalty", "diversity_penalty", "no_repeat_ngram_size"],
  ...["encoder_no_repeat_ngram_size", "bad_words_ids", "suppress_tokens", "begin_suppress_tokens"],
  ...["return_dict_in_generate", "remove_invalid_values", "exponential_decay_length_penalty"],
];

/**
 * Fields of GGUF metadata that change what some architectures compute, with the values under which
 * there is nothing to honour; names stand behind the architecture's.
 */
export const GGUF_NEUTRAL: Readonly<Record<string, readonly unknown[]>> = {
  "attention.clamp_kqv": [0],
  "attention.max_alibi_bias": [0],
  "attention.output_scale": [0, 1],
  "attention.value_scale": [0, 1],
  "attention.temperature_scale": [0],
  "attention.temperature_length": [0],
  "attn_logit_softcapping": [0],
  "final_logit_softcapping": [0],
  "router_logit_softcapping": [0],
  "logit_scale": [0, 1],
  "residual_scale": [0, 1],
  "embedding_scale": [0, 1],
  "embedding_length_out": [],
  "use_parallel_residual": [false],
  "hidden_activation": ["silu", "swish"],
  "leading_dense_block_count": [0],
  "nextn_predict_layers": [0],
  "interleave_moe_layer_step": [0, 1],
  "moe_every_n_layers": [0, 1],
  "expert_weights_scale": [0, 1],
  "expert_gating_func": [0, 1], // softmax
  "expert_group_count": [0, 1],
  "expert_group_used_count": [0, 1],
  "expert_group_scale": [0, 1],
  "swiglu_clamp_exp": [0],
  "swiglu_clamp_shexp": [0],
  "rope.dimension_sections": [],
  "rope.scaling.alpha": [0],
  "rope.scaling.yarn_log_multiplier": [0],
};
