/**
 * How the WebAssembly kernels hold weights: the sizes of the packed layouts. Packing is done by
 * `kernels/pack/*.as.ts`, from the exchange form (`quant/formats.ts`).
 *
 * A packed matrix `[rows, cols]` is a sequence of panels of 16 rows (block layouts) or 8 rows
 * (float layouts), the last padded with zero rows. A panel is a 16-byte header and then, along k,
 * blocks of all its rows, so that a product reads memory as one sequential stream.
 *
 * | layout | header | block |
 * | --- | --- | --- |
 * | `int4` | flags, factor | 16 rows × 32 k in 288 bytes: 16 scales, 256 bytes of nibbles |
 * | `int4m` | flags, factor | 320 bytes: 16 scales, 16 minimums, 256 bytes of nibbles |
 * | `int8` | flags, factor | 544 bytes: 16 scales, 512 bytes |
 * | `f32` | | 8 rows × 1 k in 32 bytes |
 * | `f16` | flags, factor | 8 rows × 1 k in 16 bytes |
 * | `bf16` | | 8 rows × 1 k in 16 bytes |
 *
 * Halves (scales, minimums, f16 weights) may be scaled by a power of two, which `factor` undoes;
 * flag 1 says that some are infinite or NaN (kernels/pack/halves.as.ts). The order of bytes within a block is drawn at the head of `kernels/matmul/*.as.ts`.
 *
 * @module
 */

import type { LayoutName } from "../../quant/formats.ts";

/** Bytes before the blocks of a panel. */
export const PANEL_HEADER_BYTES = 16;

/** One packed layout. */
export interface PackedLayout {
  /** Rows of a panel. */
  readonly panelRows: number;
  /** Columns of a block. */
  readonly blockCols: number;
  /** Bytes of a block of `panelRows` rows. */
  readonly blockBytes: number;
}

/** Every packed layout by name. */
export const PACKED_LAYOUTS: Readonly<Record<LayoutName, PackedLayout>> = {
  f32: { panelRows: 8, blockCols: 1, blockBytes: 32 },
  f16: { panelRows: 8, blockCols: 1, blockBytes: 16 },
  bf16: { panelRows: 8, blockCols: 1, blockBytes: 16 },
  int8: { panelRows: 16, blockCols: 32, blockBytes: 544 },
  int4: { panelRows: 16, blockCols: 32, blockBytes: 288 },
  int4m: { panelRows: 16, blockCols: 32, blockBytes: 320 },
};

/** Rows that every chunk handed to a pack kernel starts at a multiple of. */
export const PACK_ROWS = 16;

/** Bytes of a packed matrix `[rows, cols]`. */
export function packedBytes(layout: LayoutName, rows: number, cols: number): number {
  const { panelRows, blockCols, blockBytes } = PACKED_LAYOUTS[layout];
  const panelBytes = PANEL_HEADER_BYTES + Math.ceil(cols / blockCols) * blockBytes;
  return Math.ceil(rows / panelRows) * panelBytes;
}

/** Bytes of one quantized activation block (a8): 32 columns of one token. */
export const ACTIVATION_BLOCK_BYTES = 48;

/** Bytes of quantized activations `[tokens, cols]`. */
export function activationBytes(tokens: number, cols: number): number {
  return tokens * Math.ceil(cols / 32) * ACTIVATION_BLOCK_BYTES;
}
