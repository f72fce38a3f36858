/**
 * The WebAssembly kernels of `matmul`: one for each layout of the weight.
 *
 * @module
 */

import { BackendError } from "../../errors.ts";
import type { LayoutName } from "../../quant/formats.ts";
import { matmulOperands } from "./op.ts";
import { columnsOf } from "../op.ts";
import { PACKED_BLOCK_BYTES } from "../pack/layouts.ts";
import { refuseFused, type WasmKernel } from "../wasm_kernel.ts";

const KERNELS: Readonly<Record<LayoutName, string>> = {
  f32: "matmulF32",
  f16: "matmulF16",
  bf16: "matmulBf16",
  int8: "matmulInt8",
  int4: "matmulInt4",
  int4m: "matmulInt4m",
  int4n: "matmulInt4n",
  int5: "matmulInt5",
  int5m: "matmulInt5m",
  int4k: "matmulInt4k",
  int5k: "matmulInt5k",
  int6k: "matmulInt6k",
};

/**
 * Arguments: weight, x, out, bias or 0, rows and columns of the weight, address of the token count,
 * residual or 0. Integer weights take quantized activations (a8), float weights f32.
 */
export const matmulWasm: WasmKernel<"matmul"> = {
  kernels: Object.values(KERNELS),
  encode(inputs, output, { residual: added, ...attrs }) {
    refuseFused("matmul", attrs);
    const { x, weight, residual, bias } = matmulOperands(inputs, { residual: added === true });
    const layout = weight.dtype as LayoutName;
    const expected = isInteger(layout) ? "a8" : "f32";
    if (x.dtype !== expected) {
      throw new BackendError(
        `Cannot compile matmul: x is ${x.dtype} and the weight ${layout}, expected x as ${expected}`,
      );
    }
    const cols = columnsOf(weight);
    return {
      kernel: KERNELS[layout],
      args: [
        weight.address,
        x.address,
        output.address,
        bias?.address ?? 0,
        weight.shape[0]!,
        cols,
        x.rows,
        residual?.address ?? 0,
      ],
      scratchBytes: matmulScratchBytes(layout, cols),
    };
  },
};

/** Scratch memory of each worker; its parts stand in integer.as.ts and float.as.ts. */
function matmulScratchBytes(layout: LayoutName, cols: number): number {
  if (isInteger(layout)) return 129 * 32 * 4 + PACKED_BLOCK_BYTES.int8;
  const unpacked = 32 * 16 * 4;
  const sums = 16 * 129 * 16 * 4;
  const activations = Math.max(11 * Math.ceil(cols / 32) * 32, 128 * 256) * 4;
  return unpacked + sums + activations;
}

function isInteger(layout: LayoutName): boolean {
  return layout.startsWith("int");
}
