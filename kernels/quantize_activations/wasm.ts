/**
 * The WebAssembly kernel of `quantizeActivations`.
 *
 * @module
 */

import { columnsOf, refuseFused, type WasmKernel } from "../wasm_kernel.ts";

/** Arguments: x, out, columns, address of the row count. */
export const quantizeActivationsWasm: WasmKernel<"quantizeActivations"> = {
  kernels: ["quantizeActivations"],
  encode([x], output, attrs) {
    refuseFused("quantizeActivations", attrs);
    return {
      kernel: "quantizeActivations",
      args: [x!.address, output.address, columnsOf(x!), x!.rows],
      scratchBytes: 128,
    };
  },
};
