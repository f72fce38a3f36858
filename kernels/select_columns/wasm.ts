/**
 * The WebAssembly kernel of `selectColumns`.
 *
 * @module
 */

import { columnsOf } from "../op.ts";
import type { WasmKernel } from "../wasm_kernel.ts";

/** Arguments: x, columns, out, address of the row count, width of x, columns selected. */
export const selectColumnsWasm: WasmKernel<"selectColumns"> = {
  kernels: ["selectColumns"],
  encode([x, columns], output) {
    return {
      kernel: "selectColumns",
      args: [
        ...[x!.address, columns!.address, output.address],
        ...[x!.rows, columnsOf(x!), columnsOf(output)],
      ],
    };
  },
};
