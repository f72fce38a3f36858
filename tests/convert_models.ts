/**
 * Small folders with seeded random weights and the tokenizers of `tests/tokenizers/published.json`, to be
 * converted. `tests/golden/make_llama_cpp_convert.mjs` says what llama.cpp makes of the GGUF files.
 *
 * @module
 */

import { elements } from "../kernels/op.ts";
import { paperTensors } from "../runtime/engine/paper_model.ts";
import { FIXTURES, normalNumbers, randomNumbers } from "./fixtures.ts";
import { assemble, type Values } from "./tensor_files.ts";

/** More words than any of the tokenizers has: the others are padding. */
const VOCABULARY = 448;

const LLAMA = {
  ...{ vocab_size: VOCABULARY, hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2 },
  ...{ num_attention_heads: 4, num_key_value_heads: 2, max_position_embeddings: 256 },
  ...{ rms_norm_eps: 1e-5, bos_token_id: null, eos_token_id: null },
};
const EXPERTS = { num_experts: 4, num_experts_per_tok: 2, moe_intermediate_size: 32 };

/** Configurations by a name, and the tokenizers that go with them. */
export const MODELS: Readonly<
  Record<string, { readonly config: Record<string, unknown>; readonly tokenizer: string }>
> = {
  llama: { config: { model_type: "llama", ...LLAMA }, tokenizer: "llama-legacy" },
  "llama, tied, llama3": {
    config: {
      ...{ model_type: "llama", ...LLAMA, tie_word_embeddings: true },
      rope_scaling: {
        ...{ rope_type: "llama3", factor: 8, low_freq_factor: 1, high_freq_factor: 4 },
        original_max_position_embeddings: 64,
      },
    },
    tokenizer: "llama-new",
  },
  mistral: {
    config: { model_type: "mistral", ...LLAMA, head_dim: 16, sliding_window: null },
    tokenizer: "llama-noprefix",
  },
  mixtral: {
    config: { model_type: "mixtral", ...LLAMA, num_local_experts: 4, num_experts_per_tok: 2 },
    tokenizer: "llama-added",
  },
  qwen2: { config: { model_type: "qwen2", ...LLAMA }, tokenizer: "qwen2" },
  "qwen2, experts": {
    config: {
      ...{ model_type: "qwen2_moe", ...LLAMA, ...EXPERTS },
      shared_expert_intermediate_size: 64,
    },
    tokenizer: "qwen2",
  },
  qwen3: { config: { model_type: "qwen3", ...LLAMA, head_dim: 16 }, tokenizer: "qwen2" },
  "qwen3, experts": {
    config: { model_type: "qwen3_moe", ...LLAMA, ...EXPERTS, head_dim: 16, norm_topk_prob: true },
    tokenizer: "qwen2",
  },
  gpt2: {
    config: {
      ...{ model_type: "gpt2", vocab_size: VOCABULARY, n_embd: 32, n_head: 4, n_layer: 2 },
      n_positions: 256,
    },
    tokenizer: "gpt2",
  },
};

/** What they are asked. */
export const TEXTS: readonly string[] = [
  "The quick brown fox jumps over 12 lazy dogs, doesn't it?",
  "  Größe\tund 北京\n\n  I'm 3.14 hallo ",
];

/** How many tokens behind the text are generated. */
export const GENERATED = 12;

/** The files of a folder. */
export async function folderFiles(name: string): Promise<Record<string, Uint8Array | string>> {
  const { config, tokenizer } = MODELS[name]!;
  const random = randomNumbers(11), tensors = new Map<string, Values>();
  for (const { name: tensor, shape, kind } of await paperTensors(config, name)) {
    const isTable = /embed|wte/.test(tensor);
    const [mean, reach] = kind === "gain" ? [1, 0.1] : [0, isTable ? 0.7 : 0.2];
    const values = normalNumbers(elements(shape), random).map((it) => mean + reach * it);
    tensors.set(tensor, { shape, values });
  }
  const url = new URL("tokenizers/published.json", FIXTURES);
  const { folders } = JSON.parse(await Deno.readTextFile(url));
  const { files, config: settings } = folders.find((it: { name: string }) => it.name === tokenizer);
  return {
    "config.json": JSON.stringify(config),
    "model.safetensors": assemble(tensors),
    "tokenizer_config.json": JSON.stringify(settings),
    ...Object.fromEntries(
      Object.entries<string>(files).map(([file, text]) => [file, Uint8Array.fromBase64(text)]),
    ),
  };
}
