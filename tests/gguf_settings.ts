/**
 * Settings of GGUF metadata of which llama.cpp makes something, for tiny models in memory.
 *
 * @module
 */

import { encodeRows, LAYOUTS } from "../quant/formats.ts";
import type { MetadataValue } from "../runtime/files/gguf_metadata.ts";
import { tinyContents } from "./tiny_model.ts";

/** One model. */
export type Contents = ReturnType<typeof tinyContents>;

const f32 = (value: number): MetadataValue => ({ type: "f32", value });
const u32 = (value: number): MetadataValue => ({ type: "u32", value });
const text = (value: string): MetadataValue => ({ type: "string", value });
const counts = (...value: number[]): MetadataValue => ({ type: "array", items: "u32", value });
const vector = (name: string, values: readonly number[]): Contents["tensors"][number] => ({
  name,
  shape: [values.length],
  type: "F32",
  data: encodeRows(LAYOUTS.f32, Float32Array.from(values), values.length),
});

const WINDOW = { "attention.sliding_window": u32(7) };
const YARN = {
  "rope.scaling.type": text("yarn"),
  "rope.scaling.factor": f32(4),
  "rope.scaling.original_context_length": u32(16),
};
// llama.cpp takes contexts of 256 tokens and more.
const longrope = (original: number): Record<string, MetadataValue> => ({
  "rope.scaling.type": text("longrope"),
  "rope.scaling.factor": f32(1.5),
  "rope.scaling.attn_factor": f32(1.2),
  "rope.scaling.original_context_length": u32(original),
});

/** Fields, without the architecture before their names. */
export const SETTINGS: Readonly<Record<string, Readonly<Record<string, MetadataValue>>>> = {
  "nothing else": {},
  "window": WINDOW,
  "window and pattern": {
    ...WINDOW,
    "attention.sliding_window_pattern": { type: "array", items: "bool", value: [true, false] },
  },
  "window of nothing": { "attention.sliding_window": u32(0) },
  "scale_linear": { "rope.scale_linear": f32(4) },
  "factor without type": { "rope.scaling.factor": f32(3) },
  "both factors": { "rope.scaling.factor": f32(3), "rope.scale_linear": f32(4) },
  "factor of nothing": { "rope.scaling.factor": f32(0) },
  "no scaling": { "rope.scaling.type": text("none"), "rope.scaling.factor": f32(3) },
  "attn_factor": { "rope.scaling.attn_factor": f32(1.4) },
  "yarn": YARN,
  "yarn, attn_factor": { ...YARN, "rope.scaling.attn_factor": f32(1.3) },
  "yarn, betas": { ...YARN, "rope.scaling.yarn_beta_fast": f32(4) },
  "lists of equal numbers": {
    "attention.head_count": counts(4, 4),
    "attention.head_count_kv": counts(2, 2),
    "feed_forward_length": counts(64, 64),
  },
  "longrope, short": longrope(256),
  "longrope, long": longrope(16),
};

/** The file of a setting. */
export function contentsOf(architecture: "llama" | "qwen2" | "qwen3", name: string): Contents {
  const contents = tinyContents({ architecture, context: 256, tokenizer: "bpe" });
  for (const [field, value] of Object.entries(SETTINGS[name]!)) {
    contents.fields.set(`${architecture}.${field}`, value);
  }
  if (name.startsWith("longrope")) {
    contents.tensors.push(vector("rope_factors_long.weight", [2, 3, 4, 5]));
    contents.tensors.push(vector("rope_factors_short.weight", [1.1, 1.3, 1.7, 2]));
  }
  return contents;
}

/** Architectures and settings; llama.cpp knows longrope for llama only. */
export const MODELS: readonly (readonly ["llama" | "qwen2" | "qwen3", string])[] = [
  ...Object.keys(SETTINGS).map((it) => ["llama", it] as const),
  ...["nothing else", "window", "scale_linear", "attn_factor", "yarn"].flatMap((it) =>
    [["qwen2", it], ["qwen3", it]] as const
  ),
];

/** The text. */
export const IDS: readonly number[] = Array.from({ length: 40 }, (_, i) => (i * 7 + 3) % 40);

/** Tokens whose distributions are compared. */
export const PLACES: readonly number[] = [5, 20, 39];
