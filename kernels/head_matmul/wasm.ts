/**
 * `headMatmul` on WebAssembly: the kernels of `expertMatmul`, with heads as experts.
 *
 * @module
 */

import { encodeExperts } from "../expert_matmul/wasm.ts";
import type { WasmKernel } from "../wasm_kernel.ts";

/** Arguments: see expert_matmul/wasm.ts. */
export const headMatmulWasm: WasmKernel<"headMatmul"> = {
  kernels: [], // those of expertMatmul
  encode: ([x, weight], output, { heads }) =>
    encodeExperts({
      x: x!,
      weight: weight!,
      output,
      experts: heads,
      // Each row of x and of the result is `heads` pairs of a token and a head.
      pairsOfRow: heads,
      mostPairs: x!.shape[0]! * heads,
      pairsOfSource: 1,
    }),
};
