/**
 * The WebAssembly kernel of `divideColumn`.
 *
 * @module
 */

import { columnsOf } from "../op.ts";
import type { WasmKernel } from "../wasm_kernel.ts";

/** Arguments: x, parts, out, address of the row count, columns of x, of parts, the divided column. */
export const divideColumnWasm: WasmKernel<"divideColumn"> = {
  kernels: ["divideColumn"],
  encode([x, parts], output, { column }) {
    return {
      kernel: "divideColumn",
      args: [
        x!.address,
        parts!.address,
        output.address,
        output.rows,
        columnsOf(x!),
        columnsOf(parts!),
        column,
      ],
    };
  },
};
