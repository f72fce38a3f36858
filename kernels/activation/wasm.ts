/**
 * The WebAssembly kernel of `activation`.
 *
 * @module
 */

import { columnsOf } from "../op.ts";
import type { WasmKernel } from "../wasm_kernel.ts";
import { ACTIVATIONS } from "./op.ts";

/** Arguments: x, out, address of the row count, columns, place in ACTIVATIONS. */
export const activationWasm: WasmKernel<"activation"> = {
  kernels: ["activation"],
  encode([x], output, { kind }) {
    return {
      kernel: "activation",
      args: [x!.address, output.address, x!.rows, columnsOf(x!), ACTIVATIONS.indexOf(kind)],
    };
  },
};
