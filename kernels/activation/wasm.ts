/**
 * The WebAssembly kernels of `activation`, one per function.
 *
 * @module
 */

import { columnsOf, type WasmKernel } from "../wasm_kernel.ts";
import type { ActivationName } from "./op.ts";

const KERNELS: Readonly<Record<ActivationName, string>> = {
  relu: "activationRelu",
  gelu: "activationGelu",
  geluTanh: "activationGeluTanh",
  silu: "activationSilu",
  sigmoid: "activationSigmoid",
  tanh: "activationTanh",
};

/** Arguments: x, out, address of the row count, columns. */
export const activationWasm: WasmKernel<"activation"> = {
  kernels: Object.values(KERNELS),
  encode([x], output, { kind }) {
    return {
      kernel: KERNELS[kind],
      args: [x!.address, output.address, x!.rows, columnsOf(x!)],
    };
  },
};
