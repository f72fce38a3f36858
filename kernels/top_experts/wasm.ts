/**
 * The WebAssembly kernel of `topExperts`.
 *
 * @module
 */

import { columnsOf, type WasmKernel } from "../wasm_kernel.ts";

/** Arguments: scores, out, address of the token count, experts, count. */
export const topExpertsWasm: WasmKernel<"topExperts"> = {
  kernels: ["topExperts"],
  encode([scores], output, { count }) {
    return {
      kernel: "topExperts",
      args: [scores!.address, output.address, scores!.rows, columnsOf(scores!), count],
    };
  },
};
