/**
 * The WebAssembly kernel of `scale`.
 *
 * @module
 */

import { columnsOf } from "../op.ts";
import { floatBits } from "../numbers.ts";
import type { WasmKernel } from "../wasm_kernel.ts";

/** Arguments: x, out, address of the row count, columns, factor. */
export const scaleWasm: WasmKernel<"scale"> = {
  kernels: ["scale"],
  encode([x], output, { factor }) {
    return {
      kernel: "scale",
      args: [x!.address, output.address, x!.rows, columnsOf(x!), floatBits(factor)],
    };
  },
};
