/**
 * Metadata fields by the types that llama.cpp reads them with.
 *
 * @module
 */

import type { MetadataValue } from "../../runtime/files/gguf.ts";
import type { ModelConfig } from "../../runtime/models/definition.ts";

/** Fields by name. */
export type Fields = Record<string, MetadataValue>;

/** A count. */
export const u32 = (value: number): MetadataValue => ({ type: "u32", value });
/** A number. */
export const f32 = (value: number): MetadataValue => ({ type: "f32", value });
/** A text. */
export const text = (value: string): MetadataValue => ({ type: "string", value });
/** True or false. */
export const flag = (value: boolean): MetadataValue => ({ type: "bool", value });
/** Texts. */
export const texts = (value: readonly string[]): MetadataValue => ({
  ...{ type: "array", items: "string", value },
});
/** Whole numbers. */
export const i32s = (value: readonly number[]): MetadataValue => ({
  ...{ type: "array", items: "i32", value },
});
/** Numbers. */
export const f32s = (value: readonly number[]): MetadataValue => ({
  ...{ type: "array", items: "f32", value },
});

/** The sizes that every architecture names alike. */
export function sizeFields(
  config: ModelConfig & Readonly<Record<"hiddenSize" | "intermediateSize" | "heads", number>>,
): Fields {
  return {
    vocab_size: u32(config.vocabSize),
    context_length: u32(config.maxPositions),
    embedding_length: u32(config.hiddenSize),
    block_count: u32(config.layers),
    feed_forward_length: u32(config.intermediateSize),
    "attention.head_count": u32(config.heads),
  };
}
