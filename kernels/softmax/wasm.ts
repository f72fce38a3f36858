/**
 * The WebAssembly kernel of `softmax`.
 *
 * @module
 */

import { columnsOf } from "../op.ts";
import type { WasmKernel } from "../wasm_kernel.ts";

/** Arguments: x, out, address of the row count, columns. */
export const softmaxWasm: WasmKernel<"softmax"> = {
  kernels: ["softmax"],
  encode([x], output) {
    return {
      kernel: "softmax",
      args: [x!.address, output.address, x!.rows, columnsOf(x!)],
      scratchBytes: 16,
    };
  },
};
