/**
 * The WebAssembly kernels of `quantizeActivations`: plain, with a norm, with a gate.
 *
 * @module
 */

import { columnsOf, floatBits, type WasmKernel } from "../wasm_kernel.ts";

/** Arguments: x, out, columns, address of the row count; then gain and eps, or up. */
export const quantizeActivationsWasm: WasmKernel<"quantizeActivations"> = {
  kernels: ["quantizeActivations", "quantizeNormed", "quantizeGated"],
  encode([x, second], output, { eps, gated }) {
    const args = [x!.address, output.address, columnsOf(x!), x!.rows];
    const scratchBytes = 448;
    if (gated) {
      return { kernel: "quantizeGated", args: [...args, second!.address], scratchBytes };
    }
    return eps === undefined ? { kernel: "quantizeActivations", args, scratchBytes } : {
      kernel: "quantizeNormed",
      args: [...args, second!.address, floatBits(eps)],
      scratchBytes,
    };
  },
};
