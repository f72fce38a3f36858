/**
 * The WebAssembly kernel of `logSoftmax`.
 *
 * @module
 */

import { columnsOf } from "../op.ts";
import type { WasmKernel } from "../wasm_kernel.ts";

/** Arguments: x, out, address of the row count, columns. */
export const logSoftmaxWasm: WasmKernel<"logSoftmax"> = {
  kernels: ["logSoftmax"],
  encode([x], output) {
    return {
      kernel: "logSoftmax",
      args: [x!.address, output.address, x!.rows, columnsOf(x!)],
      scratchBytes: 16,
    };
  },
};
