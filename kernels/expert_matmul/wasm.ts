/**
 * The WebAssembly kernels of `expertMatmul`: one for each layout of the weight.
 *
 * @module
 */

import { BackendError } from "../../errors.ts";
import type { LayoutName } from "../../quant/formats.ts";
import { elements } from "../op.ts";
import { ACTIVATION_BLOCK_BYTES } from "../pack/layouts.ts";
import { columnsOf, type WasmKernel } from "../wasm_kernel.ts";

const FLOAT_KERNELS: Readonly<Record<string, string>> = {
  f32: "expertMatmulF32",
  f16: "expertMatmulF16",
  bf16: "expertMatmulBf16",
};
const INTEGER_KERNELS: Readonly<Record<string, string>> = {
  int8: "expertMatmulInt8",
  int4: "expertMatmulInt4",
  int4m: "expertMatmulInt4m",
};

/** Pairs of a token and an expert that are worked on together. */
const PAIRS_AT_ONCE = 64;

/**
 * Arguments: weight, x, out, chosen, rows of an expert, columns, experts, pairs that a row of x
 * belongs to, address of the number of rows of x, address of the number of pairs. Integer weights
 * take quantized activations (a8), float weights f32.
 */
export const expertMatmulWasm: WasmKernel<"expertMatmul"> = {
  kernels: [...Object.values(FLOAT_KERNELS), ...Object.values(INTEGER_KERNELS)],
  encode([x, weight, chosen], output, { experts }) {
    const layout = weight!.dtype as LayoutName;
    const integer = Object.hasOwn(INTEGER_KERNELS, layout);
    if (x!.dtype !== (integer ? "a8" : "f32")) {
      throw new BackendError(
        `Cannot compute expertMatmul: x is ${x!.dtype} and the weight ${layout}, expected x as ` +
          `${integer ? "a8" : "f32"}`,
      );
    }
    const columns = columnsOf(weight!), pairs = elements(chosen!.shape);
    return {
      kernel: (integer ? INTEGER_KERNELS : FLOAT_KERNELS)[layout]!,
      args: [
        weight!.address,
        x!.address,
        output.address,
        chosen!.address,
        weight!.shape[0]! / experts,
        columns,
        experts,
        x!.shape.length === 3 ? 1 : columnsOf(chosen!),
        x!.rows,
        output.rows,
      ],
      scratchBytes: 4 * (2 * experts + 2 + 2 * pairs) +
        (integer ? integerScratchBytes(columns) : floatScratchBytes()),
    };
  },
};

/** Sums of four panels, and activation blocks; the parts stand in integer.as.ts. */
function integerScratchBytes(columns: number): number {
  const blocks = Math.max(Math.ceil(columns / 32), PAIRS_AT_ONCE);
  return 2 * (PAIRS_AT_ONCE + 1) * 32 * 4 + blocks * ACTIVATION_BLOCK_BYTES;
}

/** An unpacked block, sums of eight panels, eight blocks of activations: see float.as.ts. */
function floatScratchBytes(): number {
  return 32 * 64 + 8 * (PAIRS_AT_ONCE + 1) * 64 + PAIRS_AT_ONCE * 8 * 128;
}
