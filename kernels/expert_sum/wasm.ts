/**
 * The WebAssembly kernel of `expertSum`.
 *
 * @module
 */

import { columnsOf } from "../op.ts";
import type { WasmKernel } from "../wasm_kernel.ts";

/** Arguments: x, weights, out, address of the token count, columns, count. */
export const expertSumWasm: WasmKernel<"expertSum"> = {
  kernels: ["expertSum"],
  encode([x, weights], output) {
    return {
      kernel: "expertSum",
      args: [
        x!.address,
        weights!.address,
        output.address,
        output.rows,
        columnsOf(output),
        columnsOf(weights!),
      ],
    };
  },
};
