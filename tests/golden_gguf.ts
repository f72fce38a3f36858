/**
 * Golden models as GGUF files, with the names, fields and shapes that llama.cpp's converter gives them:
 * GPT-2, BERT and its kin, T5 and its kin. The weights are those of the folder.
 *
 * @module
 */

import type { GgufTensor } from "../runtime/files/gguf_write.ts";
import type { MetadataValue } from "../runtime/files/gguf_metadata.ts";
import { FIXTURES } from "./fixtures.ts";

/** Metadata and tensors, to be changed before they are written. */
export interface Contents {
  readonly fields: Map<string, MetadataValue>;
  readonly tensors: GgufTensor[];
}

/** A number of the given type. */
export const u32 = (value: number): MetadataValue => ({ type: "u32", value });
/** As `u32`. */
export const f32 = (value: number): MetadataValue => ({ type: "f32", value });
/** As `u32`. */
export const text = (value: string): MetadataValue => ({ type: "string", value });
/** As `u32`. */
export const flag = (value: boolean): MetadataValue => ({ type: "bool", value });

/** A tensor of a folder, in f32. */
interface Plain {
  name: string;
  shape: number[];
  values: Float32Array;
}

/** A tensor for a GGUF file. */
export function f32Tensor(
  name: string,
  shape: readonly number[],
  values: Float32Array,
): GgufTensor {
  return { name, shape, type: "F32", data: new Uint8Array(values.slice().buffer) };
}

async function readTensors(folder: URL): Promise<Plain[]> {
  const bytes = await Deno.readFile(new URL("model.safetensors", folder));
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  delete header.__metadata__;
  return Object.entries(header).map(([name, it]) => {
    const { shape, data_offsets: [begin, end] } = it as { shape: number[]; data_offsets: number[] };
    const data = bytes.slice(8 + length + begin!, 8 + length + end!);
    return { name, shape, values: new Float32Array(data.buffer) };
  });
}

/** Names of Transformers and what they become; a tensor that none fits is left out. */
type Renaming = readonly (readonly [from: RegExp, to: string])[];

const GPT2: Renaming = [
  [/^transformer\.wte/, "token_embd"],
  [/^transformer\.wpe/, "position_embd"],
  [/^transformer\.ln_f/, "output_norm"],
  [/^transformer\.h\.(\d+)\.ln_1/, "blk.$1.attn_norm"],
  [/^transformer\.h\.(\d+)\.attn\.c_attn/, "blk.$1.attn_qkv"],
  [/^transformer\.h\.(\d+)\.attn\.c_proj/, "blk.$1.attn_output"],
  [/^transformer\.h\.(\d+)\.ln_2/, "blk.$1.ffn_norm"],
  [/^transformer\.h\.(\d+)\.mlp\.c_fc/, "blk.$1.ffn_up"],
  [/^transformer\.h\.(\d+)\.mlp\.c_proj/, "blk.$1.ffn_down"],
  [/^lm_head/, "output"],
];

const BERT: Renaming = [
  [/^\w+\.embeddings\.word_embeddings/, "token_embd"],
  [/^\w+\.embeddings\.position_embeddings/, "position_embd"],
  [/^\w+\.embeddings\.token_type_embeddings/, "token_types"],
  [/^\w+\.embeddings\.LayerNorm/, "token_embd_norm"],
  [/^\w+\.encoder\.layer\.(\d+)\.attention\.self\.query/, "blk.$1.attn_q"],
  [/^\w+\.encoder\.layer\.(\d+)\.attention\.self\.key/, "blk.$1.attn_k"],
  [/^\w+\.encoder\.layer\.(\d+)\.attention\.self\.value/, "blk.$1.attn_v"],
  [/^\w+\.encoder\.layer\.(\d+)\.attention\.output\.dense/, "blk.$1.attn_output"],
  [/^\w+\.encoder\.layer\.(\d+)\.attention\.output\.LayerNorm/, "blk.$1.attn_output_norm"],
  [/^\w+\.encoder\.layer\.(\d+)\.intermediate\.dense/, "blk.$1.ffn_up"],
  [/^\w+\.encoder\.layer\.(\d+)\.output\.dense/, "blk.$1.ffn_down"],
  [/^\w+\.encoder\.layer\.(\d+)\.output\.LayerNorm/, "blk.$1.layer_output_norm"],
  [/^distilbert\.transformer\.layer\.(\d+)\.attention\.q_lin/, "blk.$1.attn_q"],
  [/^distilbert\.transformer\.layer\.(\d+)\.attention\.k_lin/, "blk.$1.attn_k"],
  [/^distilbert\.transformer\.layer\.(\d+)\.attention\.v_lin/, "blk.$1.attn_v"],
  [/^distilbert\.transformer\.layer\.(\d+)\.attention\.out_lin/, "blk.$1.attn_output"],
  [/^distilbert\.transformer\.layer\.(\d+)\.sa_layer_norm/, "blk.$1.attn_output_norm"],
  [/^distilbert\.transformer\.layer\.(\d+)\.ffn\.lin1/, "blk.$1.ffn_up"],
  [/^distilbert\.transformer\.layer\.(\d+)\.ffn\.lin2/, "blk.$1.ffn_down"],
  [/^distilbert\.transformer\.layer\.(\d+)\.output_layer_norm/, "blk.$1.layer_output_norm"],
];

const NOMIC_BERT: Renaming = [
  [/^embeddings\.word_embeddings/, "token_embd"],
  [/^embeddings\.token_type_embeddings/, "token_types"],
  [/^emb_ln/, "token_embd_norm"],
  [/^encoder\.layers\.(\d+)\.attn\.Wqkv/, "blk.$1.attn_qkv"],
  [/^encoder\.layers\.(\d+)\.attn\.out_proj/, "blk.$1.attn_output"],
  [/^encoder\.layers\.(\d+)\.norm1/, "blk.$1.attn_output_norm"],
  [/^encoder\.layers\.(\d+)\.mlp\.fc11/, "blk.$1.ffn_up"],
  [/^encoder\.layers\.(\d+)\.mlp\.fc12/, "blk.$1.ffn_gate"],
  [/^encoder\.layers\.(\d+)\.mlp\.fc2/, "blk.$1.ffn_down"],
  [/^encoder\.layers\.(\d+)\.norm2/, "blk.$1.layer_output_norm"],
];

const T5: Renaming = [
  [/^shared/, "token_embd"],
  [/^lm_head/, "output"],
  [/^encoder\.final_layer_norm/, "enc.output_norm"],
  [/^decoder\.final_layer_norm/, "dec.output_norm"],
  [/\.block\.(\d+)\.layer\.0\.SelfAttention\.relative_attention_bias/, ".blk.$1.attn_rel_b"],
  [/\.block\.(\d+)\.layer\.0\.SelfAttention\./, ".blk.$1.attn_"],
  [/\.block\.(\d+)\.layer\.1\.EncDecAttention\./, ".blk.$1.cross_attn_"],
  [/\.block\.(\d+)\.layer\.0\.layer_norm/, ".blk.$1.attn_norm"],
  [/^decoder\.block\.(\d+)\.layer\.1\.layer_norm/, "decoder.blk.$1.cross_attn_norm"],
  [/\.block\.(\d+)\.layer\.[12]\.layer_norm/, ".blk.$1.ffn_norm"],
  [/\.block\.(\d+)\.layer\.[12]\.DenseReluDense\.wi_0/, ".blk.$1.ffn_gate"],
  [/\.block\.(\d+)\.layer\.[12]\.DenseReluDense\.wi(_1)?/, ".blk.$1.ffn_up"],
  [/\.block\.(\d+)\.layer\.[12]\.DenseReluDense\.wo/, ".blk.$1.ffn_down"],
];

// deno-lint-ignore no-explicit-any -- config.json, of whatever family
type Json = Record<string, any>;

/** What a family's converter does. */
interface Family {
  readonly architecture: string;
  readonly names: Renaming;
  /** Fields, without the architecture before their names. */
  fields(config: Json): Record<string, MetadataValue>;
  /** What happens to a tensor under its new name. */
  change?(tensor: Plain, config: Json): Plain;
}

const bertFields = (config: Json): Record<string, MetadataValue> => ({
  context_length: u32(config.max_position_embeddings),
  embedding_length: u32(config.hidden_size ?? config.dim),
  feed_forward_length: u32(config.intermediate_size ?? config.hidden_dim),
  block_count: u32(config.num_hidden_layers ?? config.n_layers),
  "attention.head_count": u32(config.num_attention_heads ?? config.n_heads),
  "attention.layer_norm_epsilon": f32(config.layer_norm_eps ?? 1e-12),
  "attention.causal": flag(false),
});

const FAMILIES: Readonly<Record<string, Family>> = {
  gpt2: {
    architecture: "gpt2",
    names: GPT2,
    fields: (config) => ({
      context_length: u32(config.n_positions),
      embedding_length: u32(config.n_embd),
      feed_forward_length: u32(4 * config.n_embd),
      block_count: u32(config.n_layer),
      "attention.head_count": u32(config.n_head),
      "attention.layer_norm_epsilon": f32(config.layer_norm_epsilon),
    }),
    change: (it) =>
      /attn_qkv\.w|attn_output\.w|ffn_up\.w|ffn_down\.w/.test(it.name) ? transpose(it) : it,
  },
  bert: { architecture: "bert", names: BERT, fields: bertFields },
  distilbert: { architecture: "bert", names: BERT, fields: bertFields },
  roberta: {
    architecture: "bert",
    names: BERT,
    fields: (config) => {
      const places = config.max_position_embeddings - config.pad_token_id - 1;
      return { ...bertFields(config), context_length: u32(places) };
    },
    change(it, config) {
      if (it.name !== "position_embd.weight") return it;
      const first = config.pad_token_id + 1, [rows, width] = it.shape as [number, number];
      return { ...it, shape: [rows - first, width], values: it.values.slice(first * width) };
    },
  },
  nomic_bert: {
    architecture: "nomic-bert",
    names: NOMIC_BERT,
    fields: (config) => ({
      context_length: u32(config.max_trained_positions),
      embedding_length: u32(config.n_embd),
      feed_forward_length: u32(config.n_inner),
      block_count: u32(config.n_layer),
      "attention.head_count": u32(config.n_head),
      "attention.layer_norm_epsilon": f32(config.layer_norm_epsilon),
      "attention.causal": flag(false),
      "rope.freq_base": f32(config.rotary_emb_base),
    }),
  },
  t5: {
    architecture: "t5",
    names: T5,
    fields: (config) => ({
      context_length: u32(config.n_positions ?? 512),
      embedding_length: u32(config.d_model),
      feed_forward_length: u32(config.d_ff),
      block_count: u32(config.num_layers),
      decoder_block_count: u32(config.num_decoder_layers),
      "attention.head_count": u32(config.num_heads),
      "attention.key_length": u32(config.d_kv),
      "attention.value_length": u32(config.d_kv),
      "attention.layer_norm_epsilon": f32(config.layer_norm_epsilon),
      "attention.layer_norm_rms_epsilon": f32(config.layer_norm_epsilon),
      "attention.relative_buckets_count": u32(config.relative_attention_num_buckets),
      decoder_start_token_id: u32(config.decoder_start_token_id),
    }),
    change: (it) => ({
      ...it,
      name: it.name.replace(/^encoder\./, "enc.").replace(/^decoder\./, "dec."),
    }),
  },
};

function transpose({ name, shape, values }: Plain): Plain {
  const [rows, columns] = shape as [number, number];
  const turned = values.map((_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!);
  return { name, shape: [columns, rows], values: turned };
}

/** The GGUF file of a golden model, without a tokenizer. */
export async function goldenContents(name: string): Promise<Contents> {
  const folder = new URL(`golden/${name}/`, FIXTURES);
  const config: Json = JSON.parse(await Deno.readTextFile(new URL("config.json", folder)));
  const family = FAMILIES[config.model_type] ?? FAMILIES.t5!, { architecture, names } = family;
  const fields = new Map<string, MetadataValue>([["general.architecture", text(architecture)]]);
  for (const [field, value] of Object.entries(family.fields(config))) {
    fields.set(`${architecture}.${field}`, value);
  }
  const tensors = (await readTensors(folder)).flatMap((tensor) => {
    const rule = names.find(([from]) => from.test(tensor.name));
    if (!rule) return [];
    const renamed = { ...tensor, name: tensor.name.replace(...rule) };
    const { name, shape, values } = family.change?.(renamed, config) ?? renamed;
    return [f32Tensor(name, shape, values)];
  });
  return { fields, tensors };
}
