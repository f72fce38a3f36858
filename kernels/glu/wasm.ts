/**
 * The WebAssembly kernel of `glu`.
 *
 * @module
 */

import { ACTIVATIONS } from "../activation/op.ts";
import { columnsOf } from "../op.ts";
import type { WasmKernel } from "../wasm_kernel.ts";

/** Arguments: gate, up, out, address of the row count, columns, place in ACTIVATIONS. */
export const gluWasm: WasmKernel<"glu"> = {
  kernels: ["glu"],
  encode([gate, up], output, { kind }) {
    return {
      kernel: "glu",
      args: [
        gate!.address,
        up!.address,
        output.address,
        gate!.rows,
        columnsOf(gate!),
        ACTIVATIONS.indexOf(kind),
      ],
    };
  },
};
