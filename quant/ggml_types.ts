/**
 * The tensor types of the GGUF specification: which exist, their block sizes, how those that can be
 * used are decoded, and which weight layout each is kept in. Turning a file's bytes into a layout
 * is `transcode.ts`.
 *
 * @module
 */

import { checkBlocks, type LayoutName, LAYOUTS } from "./formats.ts";
import { decodeMxfp4, decodeTq1, decodeTq2 } from "./ggml_blocks.ts";
import { decodeQ2K, decodeQ3K } from "./ggml_k.ts";

/** A tensor type: enough to find its tensors in a file. */
export interface TensorBlocks {
  /** Name in the specification, such as `"Q4_K"`. */
  readonly name: string;
  /** Number in the file. */
  readonly id: number;
  /** Elements per block, along the innermost dimension. */
  readonly blockSize: number;
  /** Bytes per block. */
  readonly blockBytes: number;
}

/** A tensor type whose tensors can be used as weights. */
export interface GgmlType extends TensorBlocks {
  /** The weight layout nearest to it. */
  readonly layout: LayoutName;
  /** Whether every block keeps its decoded values in that layout. */
  readonly exact: boolean;
  /**
   * Expands whole blocks to the float32 numbers that the specification's implementation gives.
   *
   * @throws ShapeError when `out` does not have exactly the elements of the blocks
   */
  decode(bytes: Uint8Array, out: Float32Array): void;
}

function row(
  name: string,
  id: number,
  blockSize: number,
  blockBytes: number,
  layout: LayoutName,
  exact: boolean,
  decode: (bytes: Uint8Array, out: Float32Array) => void,
): GgmlType {
  const block = { name, id, blockSize, blockBytes };
  return {
    ...block,
    layout,
    exact,
    decode(bytes: Uint8Array, out: Float32Array): void {
      checkBlocks("decode", block, bytes, out);
      decode(bytes, out);
    },
  };
}

/** Types that can be used as weights. */
export const GGML_TYPES: readonly GgmlType[] = [
  row("F32", 0, 1, 4, "f32", true, LAYOUTS.f32.decode),
  row("F16", 1, 1, 2, "f16", true, LAYOUTS.f16.decode),
  row("Q4_0", 2, 32, 18, "int4", true, LAYOUTS.int4.decode),
  row("Q4_1", 3, 32, 20, "int4m", true, LAYOUTS.int4m.decode),
  row("Q5_0", 6, 32, 22, "int5", true, LAYOUTS.int5.decode),
  row("Q5_1", 7, 32, 24, "int5m", true, LAYOUTS.int5m.decode),
  row("Q8_0", 8, 32, 34, "int8", true, LAYOUTS.int8.decode),
  row("Q2_K", 10, 256, 84, "int8", false, decodeQ2K),
  row("Q3_K", 11, 256, 110, "int6k", true, decodeQ3K),
  row("Q4_K", 12, 256, 144, "int4k", true, LAYOUTS.int4k.decode),
  row("Q5_K", 13, 256, 176, "int5k", true, LAYOUTS.int5k.decode),
  row("Q6_K", 14, 256, 210, "int6k", true, LAYOUTS.int6k.decode),
  row("IQ4_NL", 20, 32, 18, "int4n", true, LAYOUTS.int4n.decode),
  row("BF16", 30, 1, 2, "bf16", true, LAYOUTS.bf16.decode),
  row("TQ1_0", 34, 256, 54, "int8", false, decodeTq1),
  row("TQ2_0", 35, 256, 66, "int8", false, decodeTq2),
  row("MXFP4", 39, 32, 17, "int8", false, decodeMxfp4),
];

/** Types that files may hold but that cannot be used: tensors are listed, and take their room. */
const LISTED_TYPES: readonly TensorBlocks[] = [
  { name: "Q8_1", id: 9, blockSize: 32, blockBytes: 36 },
  { name: "Q8_K", id: 15, blockSize: 256, blockBytes: 292 },
  { name: "IQ2_XXS", id: 16, blockSize: 256, blockBytes: 66 },
  { name: "IQ2_XS", id: 17, blockSize: 256, blockBytes: 74 },
  { name: "IQ3_XXS", id: 18, blockSize: 256, blockBytes: 98 },
  { name: "IQ1_S", id: 19, blockSize: 256, blockBytes: 50 },
  { name: "IQ3_S", id: 21, blockSize: 256, blockBytes: 110 },
  { name: "IQ2_S", id: 22, blockSize: 256, blockBytes: 82 },
  { name: "IQ4_XS", id: 23, blockSize: 256, blockBytes: 136 },
  { name: "I8", id: 24, blockSize: 1, blockBytes: 1 },
  { name: "I16", id: 25, blockSize: 1, blockBytes: 2 },
  { name: "I32", id: 26, blockSize: 1, blockBytes: 4 },
  { name: "I64", id: 27, blockSize: 1, blockBytes: 8 },
  { name: "F64", id: 28, blockSize: 1, blockBytes: 8 },
  { name: "IQ1_M", id: 29, blockSize: 256, blockBytes: 56 },
];

const known: readonly TensorBlocks[] = [...GGML_TYPES, ...LISTED_TYPES];
const byKey = new Map<number | string, TensorBlocks>(
  known.flatMap((type) => [[type.id, type], [type.name, type]]),
);
const usable = new Map(GGML_TYPES.map((type) => [type.name, type]));

/** The block sizes of the type with this number or name, usable or not; undefined if unknown. */
export function tensorBlocks(key: number | string): TensorBlocks | undefined {
  return byKey.get(key);
}

/** The type called `name`, if its tensors can be used. */
export function ggmlType(name: string): GgmlType | undefined {
  return usable.get(name);
}

/** The tensor type whose bytes are a layout's exchange form. */
export const LAYOUT_TYPES: Readonly<Record<LayoutName, string>> = {
  f32: "F32",
  f16: "F16",
  bf16: "BF16",
  int8: "Q8_0",
  int4: "Q4_0",
  int4n: "IQ4_NL",
  int5: "Q5_0",
  int4m: "Q4_1",
  int5m: "Q5_1",
  int4k: "Q4_K",
  int5k: "Q5_K",
  int6k: "Q6_K",
};
