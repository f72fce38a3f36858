/**
 * The WebAssembly kernel of `topExperts`.
 *
 * @module
 */

import { columnsOf } from "../op.ts";
import type { WasmKernel } from "../wasm_kernel.ts";

/** Arguments: scores, out, address of the token count, experts, count, starts or 0, capacity. */
export const topExpertsWasm: WasmKernel<"topExperts"> = {
  kernels: ["topExperts"],
  encode([scores, starts], output, { count, capacity = 0 }) {
    return {
      kernel: "topExperts",
      args: [
        scores!.address,
        output.address,
        scores!.rows,
        columnsOf(scores!),
        count,
        starts?.address ?? 0,
        capacity,
      ],
    };
  },
};
