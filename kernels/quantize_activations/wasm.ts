/**
 * The WebAssembly kernels of `quantizeActivations`: plain, with a norm, with a gate.
 *
 * @module
 */

import { ACTIVATIONS } from "../activation/op.ts";
import { columnsOf } from "../op.ts";
import { floatBits } from "../numbers.ts";
import type { WasmKernel } from "../wasm_kernel.ts";

/** Arguments: x, out, columns, address of the row count; then gain and eps, or up and its gate. */
export const quantizeActivationsWasm: WasmKernel<"quantizeActivations"> = {
  kernels: ["quantizeActivations", "quantizeNormed", "quantizeGated"],
  encode([x, second], output, { eps, gate }) {
    const args = [x!.address, output.address, columnsOf(x!), x!.rows];
    const scratchBytes = 448;
    if (gate) {
      return {
        kernel: "quantizeGated",
        args: [...args, second!.address, ACTIVATIONS.indexOf(gate)],
        scratchBytes,
      };
    }
    return eps === undefined ? { kernel: "quantizeActivations", args, scratchBytes } : {
      kernel: "quantizeNormed",
      args: [...args, second!.address, floatBits(eps)],
      scratchBytes,
    };
  },
};
