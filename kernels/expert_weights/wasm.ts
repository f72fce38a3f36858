/**
 * The WebAssembly kernel of `expertWeights`.
 *
 * @module
 */

import { columnsOf } from "../op.ts";
import type { WasmKernel } from "../wasm_kernel.ts";

/**
 * Arguments: scores, chosen, out, address of the token count, experts, count, whether the
 * probabilities are over all experts.
 */
export const expertWeightsWasm: WasmKernel<"expertWeights"> = {
  kernels: ["expertWeights"],
  encode([scores, chosen], output, { over }) {
    const experts = columnsOf(scores!), count = columnsOf(chosen!);
    return {
      kernel: "expertWeights",
      args: [
        scores!.address,
        chosen!.address,
        output.address,
        scores!.rows,
        experts,
        count,
        over === "all" ? 1 : 0,
      ],
      scratchBytes: 4 * Math.max(experts, count) + 12,
    };
  },
};
