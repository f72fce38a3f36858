/**
 * The WebAssembly kernel of `rmsNorm`.
 *
 * @module
 */

import { columnsOf } from "../op.ts";
import { floatBits } from "../numbers.ts";
import type { WasmKernel } from "../wasm_kernel.ts";

/** Arguments: x, weight, out, address of the row count, columns, length of weight, eps. */
export const rmsNormWasm: WasmKernel<"rmsNorm"> = {
  kernels: ["rmsNorm"],
  encode([x, weight], output, { eps }) {
    return {
      kernel: "rmsNorm",
      args: [
        x!.address,
        weight!.address,
        output.address,
        x!.rows,
        columnsOf(x!),
        columnsOf(weight!),
        floatBits(eps),
      ],
    };
  },
};
