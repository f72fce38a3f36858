/**
 * The encoder behind the binary elementwise kernels.
 *
 * @module
 */

import { isOneRow } from "./elementwise.ts";
import { columnsOf } from "./op.ts";
import type { WasmKernel } from "./wasm_kernel.ts";

/** The kernel `name`, whose arguments are those of kernels/elementwise.as.ts. */
export function binaryWasm<N extends "add" | "mul">(name: N): WasmKernel<N> {
  return {
    kernels: [name],
    encode([a, b], output) {
      return {
        kernel: name,
        args: [
          a!.address,
          b!.address,
          output.address,
          a!.rows,
          columnsOf(a!),
          isOneRow(a!, b!) ? columnsOf(b!) : 0,
        ],
      };
    },
  };
}
