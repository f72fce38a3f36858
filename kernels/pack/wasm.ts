/**
 * The kernels that bring weights into their final form (kernels/pack/*.as.ts): not ops, but run by
 * the same workers. A file's rows become rows in exchange form, and these packed panels.
 *
 * @module
 */

import type { LayoutName } from "../../quant/formats.ts";
import type { EncodedStep } from "../wasm_kernel.ts";

const KERNELS: Readonly<Record<LayoutName, string>> = {
  f32: "packF32",
  f16: "packF16",
  bf16: "packBf16",
  int8: "packInt8",
  int4: "packInt4",
  int4m: "packInt4m",
  int4n: "packInt4n",
  int5: "packInt5",
  int5m: "packInt5m",
  int4k: "packInt4k",
  int5k: "packInt5k",
  int6k: "packInt6k",
};

/** Numbers of the layouts, as the kernel `transcode` knows them. */
export const LAYOUT_NUMBERS: Readonly<Record<LayoutName, number>> = {
  f32: 0,
  f16: 1,
  bf16: 2,
  int8: 3,
  int4: 4,
  int4m: 5,
  int5: 6,
  int4n: 7,
  int5m: 8,
  int4k: 9,
  int5k: 10,
  int6k: 11,
};

/** Names of these kernels. */
export const PACK_KERNELS: readonly string[] = [...Object.values(KERNELS), "transcode"];

/** The kernel that packs a layout. */
export function packKernel(layout: LayoutName): string {
  return KERNELS[layout];
}

/** Some rows of a matrix in exchange form, and the packed matrix that they belong to. */
export interface PackRequest {
  /** Layout of both. */
  readonly layout: LayoutName;
  /** Address of row `firstRow` in exchange form; need not be aligned. */
  readonly source: number;
  /** Address of the whole packed matrix. */
  readonly target: number;
  /** First row, a multiple of `PACK_ROWS`. */
  readonly firstRow: number;
  /** Row after the last: a multiple of `PACK_ROWS`, or the number of rows of the matrix. */
  readonly endRow: number;
  /** Columns of the matrix. */
  readonly cols: number;
}

/** The step that packs rows; workers share the panels evenly. */
export function encodePack(request: PackRequest): EncodedStep {
  const { layout, source, target, firstRow, endRow, cols } = request;
  return { kernel: packKernel(layout), args: [source, target, firstRow, endRow, cols] };
}
