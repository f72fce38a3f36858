/**
 * Small valid models of the llama family with seeded random weights, in memory or in a folder, so
 * that tests of behaviour need no fixture. Text made by them is noise; that it is always the same
 * noise is what tests use.
 *
 * @module
 */

import { encodeRows } from "../quant/formats.ts";
import { LAYOUTS } from "../quant/formats.ts";
import { ggmlType } from "../quant/ggml_types.ts";
import type { GgufContents, GgufTensor } from "../runtime/files/gguf_write.ts";
import type { MetadataValue } from "../runtime/files/gguf_metadata.ts";
import { ggufBytes, normalNumbers, randomNumbers, safetensorsBytes } from "./fixtures.ts";

/** What a tiny model is like. */
export interface TinyOptions {
  /** Family; `qwen2` has biases, `qwen3` norms of queries and keys. Default `llama`. */
  readonly architecture?: "llama" | "qwen2" | "qwen3";
  /** Default 32. */
  readonly hidden?: number;
  /** Default 4, of 8 elements each. */
  readonly heads?: number;
  /** Default 2. */
  readonly kvHeads?: number;
  /** Default 64. */
  readonly intermediate?: number;
  /** Default 2. */
  readonly layers?: number;
  /** Longest context. Default 64. */
  readonly context?: number;
  /** Type of the matrices of a GGUF file. Default `F32`. */
  readonly type?: "F32" | "F16" | "Q8_0" | "Q4_0" | "Q4_1";
  /** Vocabulary: words and letters by score, byte-level pairs, or none. Default `spm`. */
  readonly tokenizer?: "spm" | "bpe" | "none";
  /** Ids that are control tokens beside the end token, for `bpe`. */
  readonly controls?: readonly number[];
  /** Jinja program. None where absent. */
  readonly chatTemplate?: string;
  /** Whether the head is the embedding table. Default false. */
  readonly tied?: boolean;
  /** Default 1. */
  readonly seed?: number;
}

/** A chat template that the `spm` vocabulary can spell. */
export const CHAT_TEMPLATE =
  "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}. {% endfor %}" +
  "{% if add_generation_prompt %}assistant:{% endif %}";

const SPM_SPECIALS = ["<unk>", "<s>", "</s>"];
const SPM_WORDS = ["▁", ..."abcdefghijklmnopqrstuvwxyz.,:", "▁a", "th", "▁th", "he", "▁the", "an"];

/** Tokens of the `spm` vocabulary, by id. */
const SPM_TOKENS: readonly string[] = [...SPM_SPECIALS, ...SPM_WORDS, "in", "er", "▁w", "€"];

/** Tokens of the byte-level vocabulary: 256 bytes, two merges, the end. */
function bpeTokens(): string[] {
  // The byte-level alphabet: printable bytes stand for themselves, the rest for U+0100 onwards.
  let next = 256;
  const bytes = Array.from({ length: 256 }, (_, byte) => {
    const printable = byte > 32 && byte < 127 || byte > 160 && byte !== 173;
    return String.fromCharCode(printable ? byte : next++);
  });
  return [...bytes, "th", "the", "<|endoftext|>"];
}

/** One tensor with its values. */
export interface TinyTensor {
  /** Name without `.weight` or `.bias`, by GGUF's convention. */
  readonly name: string;
  /** Extents, outermost first. */
  readonly shape: readonly number[];
  /** Row-major. */
  readonly values: Float32Array;
}

function defaults(options: TinyOptions) {
  return {
    architecture: "llama",
    hidden: 32,
    heads: 4,
    kvHeads: 2,
    intermediate: 64,
    layers: 2,
    context: 64,
    type: "F32",
    tokenizer: "spm",
    tied: false,
    seed: 1,
    ...options,
  } as const;
}

/** Number of tokens in the vocabulary of the options. */
export function tinyVocabulary(options: TinyOptions = {}): number {
  return options.tokenizer === "bpe" ? bpeTokens().length : SPM_TOKENS.length;
}

/** The tensors, named as in a GGUF file. */
function tinyTensors(options: TinyOptions = {}): TinyTensor[] {
  const { architecture, hidden, heads, kvHeads, intermediate, layers, tied, seed } = defaults(
    options,
  );
  const random = randomNumbers(seed);
  const headDim = hidden / heads, vocab = tinyVocabulary(options);
  const tensors: TinyTensor[] = [];
  const add = (name: string, shape: readonly number[], scale: number, center = 0): void => {
    const size = shape.reduce((product, extent) => product * extent, 1);
    const values = normalNumbers(size, random).map((it) => center + it * scale);
    tensors.push({ name, shape, values });
  };
  const matrix = (name: string, rows: number, columns: number): void =>
    add(`${name}.weight`, [rows, columns], 1.5 / Math.sqrt(columns));
  add("token_embd.weight", [vocab, hidden], 1);
  for (let i = 0; i < layers; i++) {
    const layer = `blk.${i}.`;
    add(`${layer}attn_norm.weight`, [hidden], 0.1, 1);
    matrix(`${layer}attn_q`, heads * headDim, hidden);
    matrix(`${layer}attn_k`, kvHeads * headDim, hidden);
    matrix(`${layer}attn_v`, kvHeads * headDim, hidden);
    if (architecture === "qwen2") {
      add(`${layer}attn_q.bias`, [heads * headDim], 0.5);
      add(`${layer}attn_k.bias`, [kvHeads * headDim], 0.5);
      add(`${layer}attn_v.bias`, [kvHeads * headDim], 0.5);
    }
    if (architecture === "qwen3") {
      add(`${layer}attn_q_norm.weight`, [headDim], 0.1, 1);
      add(`${layer}attn_k_norm.weight`, [headDim], 0.1, 1);
    }
    matrix(`${layer}attn_output`, hidden, heads * headDim);
    add(`${layer}ffn_norm.weight`, [hidden], 0.1, 1);
    matrix(`${layer}ffn_gate`, intermediate, hidden);
    matrix(`${layer}ffn_up`, intermediate, hidden);
    matrix(`${layer}ffn_down`, hidden, intermediate);
  }
  add("output_norm.weight", [hidden], 0.1, 1);
  if (!tied) matrix("output", vocab, hidden);
  return tensors;
}

/** Metadata and tensors of a GGUF file, for tests that change something before they write it. */
export function tinyContents(
  options: TinyOptions = {},
): GgufContents & { fields: Map<string, MetadataValue>; tensors: GgufTensor[] } {
  const all = defaults(options);
  const { architecture, type } = all;
  const u32 = (value: number): MetadataValue => ({ type: "u32", value });
  const f32 = (value: number): MetadataValue => ({ type: "f32", value });
  const text = (value: string): MetadataValue => ({ type: "string", value });
  const texts = (value: string[]): MetadataValue => ({ type: "array", items: "string", value });
  const fields = new Map<string, MetadataValue>([
    ["general.architecture", text(architecture)],
    [`${architecture}.context_length`, u32(all.context)],
    [`${architecture}.embedding_length`, u32(all.hidden)],
    [`${architecture}.block_count`, u32(all.layers)],
    [`${architecture}.feed_forward_length`, u32(all.intermediate)],
    [`${architecture}.attention.head_count`, u32(all.heads)],
    [`${architecture}.attention.head_count_kv`, u32(all.kvHeads)],
    [`${architecture}.attention.layer_norm_rms_epsilon`, f32(1e-5)],
    [`${architecture}.rope.freq_base`, f32(10000)],
  ]);
  const types = (value: number[]): MetadataValue => ({ type: "array", items: "i32", value });
  if (all.tokenizer === "spm") {
    const tokens = [...SPM_TOKENS];
    // Longer pieces are likelier, so that merges reach them.
    const scores = tokens.map((token, i) => token.length * 10 - i / 100);
    fields.set("tokenizer.ggml.model", text("llama"));
    fields.set("tokenizer.ggml.tokens", texts(tokens));
    fields.set("tokenizer.ggml.scores", { type: "array", items: "f32", value: scores });
    fields.set("tokenizer.ggml.token_type", types(tokens.map((_, i) => [2, 3, 3][i] ?? 1)));
  } else if (all.tokenizer === "bpe") {
    const tokens = bpeTokens();
    fields.set("tokenizer.ggml.model", text("gpt2"));
    fields.set("tokenizer.ggml.pre", text("gpt-2"));
    fields.set("tokenizer.ggml.tokens", texts(tokens));
    fields.set("tokenizer.ggml.merges", texts(["t h", "th e"]));
    fields.set(
      "tokenizer.ggml.token_type",
      types(tokens.map((_, i) => i === 258 || options.controls?.includes(i) ? 3 : 1)),
    );
    fields.set("tokenizer.ggml.eos_token_id", u32(258));
  }
  if (all.chatTemplate !== undefined) {
    fields.set("tokenizer.chat_template", text(all.chatTemplate));
  }
  const tensors = tinyTensors(options).map(({ name, shape, values }): GgufTensor => {
    const kept = shape.length === 2 ? type : "F32";
    const layout = LAYOUTS[ggmlType(kept)!.layout];
    return { name, shape, type: kept, data: encodeRows(layout, values, shape.at(-1)!) };
  });
  return { fields, tensors };
}

/** A GGUF file. */
export function tinyGguf(options: TinyOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
  return ggufBytes(tinyContents(options));
}

/** A GGUF file as a Blob, which `loadModel` takes. */
export async function tinyBlob(options: TinyOptions = {}): Promise<Blob> {
  return new Blob([await tinyGguf(options)]);
}

/** GGUF names of one layer's tensors, as safetensors files have them. */
const HF_NAMES: Readonly<Record<string, string>> = {
  attn_norm: "input_layernorm",
  attn_q: "self_attn.q_proj",
  attn_k: "self_attn.k_proj",
  attn_v: "self_attn.v_proj",
  attn_q_norm: "self_attn.q_norm",
  attn_k_norm: "self_attn.k_norm",
  attn_output: "self_attn.o_proj",
  ffn_norm: "post_attention_layernorm",
  ffn_gate: "mlp.gate_proj",
  ffn_up: "mlp.up_proj",
  ffn_down: "mlp.down_proj",
};

/** Files of a safetensors folder by name, without a tokenizer: `config.json` and `model.safetensors`. */
export function tinySafetensors(options: TinyOptions = {}): Record<string, Uint8Array> {
  const all = defaults({ architecture: "qwen2", ...options });
  const header: Record<string, unknown> = {};
  const tensors = tinyTensors({ ...options, architecture: all.architecture });
  const data = new Uint8Array(tensors.reduce((sum, { values }) => sum + values.byteLength, 0));
  let at = 0;
  for (const { name, shape, values } of tensors) {
    const renamed = name.replace("token_embd", "model.embed_tokens")
      .replace("output_norm", "model.norm").replace(/^output\./, "lm_head.")
      .replace(/^blk\.(\d+)\.(\w+)/, (_, i, part) => `model.layers.${i}.${HF_NAMES[part]}`);
    header[renamed] = { dtype: "F32", shape, data_offsets: [at, at + values.byteLength] };
    data.set(new Uint8Array(values.buffer), at);
    at += values.byteLength;
  }
  const config = {
    model_type: all.architecture,
    hidden_size: all.hidden,
    num_attention_heads: all.heads,
    num_key_value_heads: all.kvHeads,
    intermediate_size: all.intermediate,
    num_hidden_layers: all.layers,
    max_position_embeddings: all.context,
    vocab_size: tinyVocabulary(options),
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    tie_word_embeddings: all.tied,
  };
  return {
    "config.json": new TextEncoder().encode(JSON.stringify(config)),
    "model.safetensors": safetensorsBytes(header, data),
  };
}

/** Writes files into a new temporary folder and runs `body` with its path. */
export async function withFolder(
  files: Readonly<Record<string, Uint8Array | string>>,
  body: (path: string) => Promise<void>,
): Promise<void> {
  const path = await Deno.makeTempDir({ prefix: "sparrow_" });
  try {
    for (const [name, content] of Object.entries(files)) {
      const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
      await Deno.writeFile(`${path}/${name}`, bytes);
    }
    await body(path);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

/** Runs `body` with names in an empty folder, which goes afterwards. */
export function inFolder(body: (path: (name: string) => string) => Promise<void>): Promise<void> {
  return withFolder({}, (folder) => body((name) => `${folder}/${name}`));
}
