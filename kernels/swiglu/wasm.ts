/**
 * The WebAssembly kernel of `swiglu`.
 *
 * @module
 */

import { columnsOf, type WasmKernel } from "../wasm_kernel.ts";

/** Arguments: gate, up, out, address of the row count, columns. */
export const swigluWasm: WasmKernel<"swiglu"> = {
  kernels: ["swiglu"],
  encode([gate, up], output) {
    return {
      kernel: "swiglu",
      args: [gate!.address, up!.address, output.address, gate!.rows, columnsOf(gate!)],
    };
  },
};
