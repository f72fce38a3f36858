/**
 * Metadata fields by the types that llama.cpp reads them with.
 *
 * @module
 */

import type { MetadataValue } from "../../runtime/files/gguf.ts";

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
