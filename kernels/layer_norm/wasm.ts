/**
 * The WebAssembly kernel of `layerNorm`.
 *
 * @module
 */

import { columnsOf } from "../op.ts";
import { floatBits } from "../numbers.ts";
import type { WasmKernel } from "../wasm_kernel.ts";

/** Arguments: x, weight, bias or 0, out, address of the row count, columns, eps. */
export const layerNormWasm: WasmKernel<"layerNorm"> = {
  kernels: ["layerNorm"],
  encode([x, weight, bias], output, { eps }) {
    return {
      kernel: "layerNorm",
      args: [
        x!.address,
        weight!.address,
        bias?.address ?? 0,
        output.address,
        x!.rows,
        columnsOf(x!),
        floatBits(eps),
      ],
    };
  },
};
