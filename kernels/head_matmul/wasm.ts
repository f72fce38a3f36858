/**
 * The WebAssembly kernels of `headMatmul`: those of `expertMatmul`, with heads as experts.
 *
 * @module
 */

import { encodeExperts } from "../expert_matmul/wasm.ts";
import type { WasmKernel } from "../wasm_kernel.ts";

const KERNELS: Readonly<Record<string, string>> = {
  f32: "headMatmulF32",
  f16: "headMatmulF16",
  bf16: "headMatmulBf16",
};

/** Arguments: see expert_matmul/wasm.ts. */
export const headMatmulWasm: WasmKernel<"headMatmul"> = {
  kernels: Object.values(KERNELS),
  encode: ([x, weight], output, { heads }) => ({
    ...encodeExperts({
      x: x!,
      weight: weight!,
      output,
      experts: heads,
      // Each row of x and of the result is `heads` pairs of a token and a head.
      pairsOfRow: heads,
      mostPairs: x!.shape[0]! * heads,
      pairsOfSource: 1,
    }),
    kernel: KERNELS[weight!.dtype]!,
  }),
};
