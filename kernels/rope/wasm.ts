/**
 * The WebAssembly kernels of `rope`, one per pairing.
 *
 * @module
 */

import { columnsOf } from "../op.ts";
import type { WasmKernel } from "../wasm_kernel.ts";

/**
 * Arguments: x, positions, table, out, address of the row count, heads, headDim, rotaryDim, offset.
 */
export const ropeWasm: WasmKernel<"rope"> = {
  kernels: ["ropeHalf", "ropeInterleaved"],
  encode([x, positions, table], output, { heads, pairing, offset = 0 }) {
    return {
      kernel: pairing === "half" ? "ropeHalf" : "ropeInterleaved",
      args: [
        x!.address,
        positions!.address,
        table!.address,
        output.address,
        x!.rows,
        heads,
        columnsOf(x!) / heads,
        columnsOf(table!),
        offset,
      ],
    };
  },
};
