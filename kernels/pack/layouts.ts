/**
 * How the WebAssembly kernels hold weights: the sizes of the packed layouts. Packing is done by
 * `kernels/pack/*.as.ts`, from the exchange form (`quant/formats.ts`).
 *
 * A packed matrix `[rows, cols]` is a sequence of panels of 16 rows, the last padded with zero
 * rows. A panel is a 16-byte header and then, along k, blocks of 16 rows × 32 k, so that a product
 * reads memory as one sequential stream. In layouts whose blocks share halves, these come first and
 * then the eight blocks of 32 k, or as many as the row has left. The order of bytes within a block
 * is drawn at the head of `kernels/matmul/int4.as.ts`, `int8.as.ts`, `fine_codes.as.ts` and
 * `float_blocks.as.ts`.
 *
 * The header is an int32, 1 if some half (scale, minimum, or f16 weight) is infinite or NaN, and a
 * float32, the factor that undoes a scaling of the halves (`kernels/pack/halves.as.ts`).
 *
 * @module
 */

import type { LayoutName } from "../../quant/formats.ts";

/** Bytes before the blocks of a panel. */
export const PANEL_HEADER_BYTES = 16;

/** Bytes of a block of 16 rows × 32 columns, by layout. */
export const PACKED_BLOCK_BYTES: Readonly<Record<LayoutName, number>> = {
  f32: 2048,
  f16: 1024,
  bf16: 1024,
  int8: 32 + 512, // scales, bytes
  int4: 32 + 256, // scales, nibbles
  int4m: 32 + 32 + 256, // scales, minimums, nibbles
  int4n: 32 + 256, // scales, nibbles
  int5: 32 + 64 + 256, // scales, fifth bits, nibbles
  int5m: 32 + 32 + 64 + 256, // scales, minimums, fifth bits, nibbles
  int4k: 32 + 256, // scales and minimums, nibbles
  int5k: 32 + 64 + 256, // scales and minimums, fifth bits, nibbles
  int6k: 32 + 128 + 256, // scales, pairs of bits, nibbles
};

/** Bytes of the halves that eight blocks share, where they share some. */
export const PACKED_SHARED_BYTES: Readonly<Partial<Record<LayoutName, number>>> = {
  int4k: 64,
  int5k: 64,
  int6k: 32,
};

/** Rows of a panel; every chunk handed to a pack kernel starts at a multiple of it. */
export const PACK_ROWS = 16;

/** Bytes of a packed matrix `[rows, cols]`. */
export function packedBytes(layout: LayoutName, rows: number, cols: number): number {
  const blocks = Math.ceil(cols / 32), shared = PACKED_SHARED_BYTES[layout] ?? 0;
  const panelBytes = PANEL_HEADER_BYTES + blocks * PACKED_BLOCK_BYTES[layout] +
    Math.ceil(blocks / 8) * shared;
  return Math.ceil(rows / PACK_ROWS) * panelBytes;
}

/** Bytes of one quantized activation block (a8): 32 columns of one token. */
export const ACTIVATION_BLOCK_BYTES = 48;

/** Bytes of quantized activations `[tokens, cols]`. */
export function activationBytes(tokens: number, cols: number): number {
  return tokens * Math.ceil(cols / 32) * ACTIVATION_BLOCK_BYTES;
}
