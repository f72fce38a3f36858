/**
 * Tiny GGUF files of the architectures `chatglm` and `glm4` in memory, with what llama.cpp's converter
 * writes and what it makes of that.
 *
 * @module
 */

import { encodeRows, LAYOUTS } from "../quant/formats.ts";
import type { GgufTensor } from "../runtime/files/gguf_write.ts";
import type { MetadataValue } from "../runtime/files/gguf_metadata.ts";
import { concat, normalNumbers, randomNumbers } from "./fixtures.ts";
import { tinyContents, type TinyOptions } from "./tiny_model.ts";

/** One model. */
export type Contents = ReturnType<typeof tinyContents>;

const f32 = (value: number): MetadataValue => ({ type: "f32", value });
const u32 = (value: number): MetadataValue => ({ type: "u32", value });
const text = (value: string): MetadataValue => ({ type: "string", value });

const HIDDEN = 32, LAYERS = 2;

/** What differs between the files. */
interface Variant {
  /** Whether queries, keys and values are one tensor. */
  readonly fused?: boolean;
  /** Whether they have biases. */
  readonly biased?: boolean;
  readonly tied?: boolean;
  readonly type?: TinyOptions["type"];
  /** Fields, without the architecture before their names. */
  readonly fields?: Readonly<Record<string, MetadataValue>>;
}

const YARN = {
  "rope.scaling.type": text("yarn"),
  "rope.scaling.factor": f32(4),
  "rope.scaling.original_context_length": u32(16),
};

const VARIANTS: Readonly<Record<string, Variant>> = {
  "fused, biased": { fused: true, biased: true },
  "fused": { fused: true },
  "apart, biased": { biased: true },
  "apart, tied": { tied: true },
  "whole heads rotate": { fused: true, fields: { "rope.dimension_count": u32(8) } },
  "another base": { fused: true, biased: true, fields: { "rope.freq_base": f32(5e6) } },
  "yarn": { fused: true, fields: YARN },
  "linear": {
    biased: true,
    fields: { "rope.scaling.type": text("linear"), "rope.scaling.factor": f32(3) },
  },
  "narrow epsilon": { fields: { "attention.layer_norm_rms_epsilon": f32(0.3) } },
};

/** Architectures and variants that llama.cpp has run. */
export const MODELS: readonly (readonly ["chatglm" | "glm4", string])[] = Object.keys(VARIANTS)
  .flatMap((it) => [["chatglm", it], ["glm4", it]] as const);

/** The text. */
export const IDS: readonly number[] = Array.from({ length: 40 }, (_, i) => (i * 7 + 3) % 40);

/** Tokens whose distributions are compared. */
export const PLACES: readonly number[] = [5, 20, 39];

/** The file of a variant, or of one of your own. */
export function contentsOf(
  architecture: "chatglm" | "glm4",
  variant: string | Variant,
): Contents {
  const own = typeof variant === "string" ? VARIANTS[variant]! : variant;
  const { fused = false, biased = false, tied = false, type = "F32", fields = {} } = own;
  const plain = tinyContents({ context: 256, tokenizer: "bpe", tied, type });
  const metadata = new Map<string, MetadataValue>();
  for (const [name, value] of plain.fields) {
    metadata.set(name.replace(/^llama\./, `${architecture}.`), value);
  }
  metadata.set("general.architecture", text(architecture));
  metadata.set("tokenizer.ggml.pre", text(architecture === "glm4" ? "glm4" : "chatglm-bpe"));
  metadata.set("tokenizer.ggml.add_bos_token", { type: "bool", value: false });
  metadata.set(`${architecture}.rope.dimension_count`, u32(4)); // half of a head
  for (const [name, value] of Object.entries(fields)) {
    metadata.set(`${architecture}.${name}`, value);
  }

  const tensors = new Map(plain.tensors.map((it) => [it.name, it]));
  const random = randomNumbers(7);
  const vector = (name: string, length: number, scale: number, center: number): void => {
    const values = normalNumbers(length, random).map((it) => center + scale * it);
    const data = encodeRows(LAYOUTS.f32, values, length);
    tensors.set(name, { name, shape: [length], type: "F32", data });
  };
  /** Puts tensors on top of each other, under the name of a new one. */
  const stack = (name: string, parts: readonly string[]): void => {
    const all = parts.map((it) => tensors.get(it)!);
    for (const part of parts) tensors.delete(part);
    const [rows, ...rest] = [
      all.reduce((sum, it) => sum + it.shape[0]!, 0),
      ...all[0]!.shape.slice(1),
    ];
    const data = concat(all.map((it) => it.data as Uint8Array));
    tensors.set(name, { ...all[0]!, name, shape: [rows!, ...rest], data } as GgufTensor);
  };
  for (let i = 0; i < LAYERS; i++) {
    const layer = `blk.${i}.`, parts = ["q", "k", "v"].map((it) => `${layer}attn_${it}`);
    if (biased) {
      parts.forEach((it, k) => vector(`${it}.bias`, k === 0 ? HIDDEN : HIDDEN / 2, 0.5, 0));
    }
    if (fused) stack(`${layer}attn_qkv.weight`, parts.map((it) => `${it}.weight`));
    if (fused && biased) stack(`${layer}attn_qkv.bias`, parts.map((it) => `${it}.bias`));
    stack(`${layer}ffn_up.weight`, [`${layer}ffn_gate.weight`, `${layer}ffn_up.weight`]);
    if (architecture === "glm4") {
      for (const it of ["attention", "ffw"]) {
        vector(`${layer}post_${it}_norm.weight`, HIDDEN, 0.2, 1);
      }
    }
  }
  return { fields: metadata, tensors: Array.from(tensors.values()) };
}
