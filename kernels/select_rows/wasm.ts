/**
 * The WebAssembly kernel of `selectRows`.
 *
 * @module
 */

import { columnsOf } from "../op.ts";
import type { WasmKernel } from "../wasm_kernel.ts";

/** Arguments: x, rows, out, address of the number of rows selected, columns. */
export const selectRowsWasm: WasmKernel<"selectRows"> = {
  kernels: ["selectRows"],
  encode([x, rows], output) {
    return {
      kernel: "selectRows",
      args: [x!.address, rows!.address, output.address, output.rows, columnsOf(output)],
    };
  },
};
