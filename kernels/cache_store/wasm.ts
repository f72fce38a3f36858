/**
 * The WebAssembly kernels of `cacheStore`, one per kind of cache and element type.
 *
 * @module
 */

import type { WasmKernel } from "../wasm_kernel.ts";
import { headBytes } from "./layout.ts";

/**
 * Arguments: cache, x, slots, address of the token count, kvHeads, headDim, bytes of one kvHead.
 */
export const cacheStoreWasm: WasmKernel<"cacheStore"> = {
  kernels: ["cacheStoreKeys", "cacheStoreKeysF16", "cacheStoreValues", "cacheStoreValuesF16"],
  encode([cache, x, slots]) {
    const kind = cache!.role === "keyCache" ? "Keys" : "Values";
    return {
      kernel: `cacheStore${kind}${cache!.dtype === "f16" ? "F16" : ""}`,
      args: [
        cache!.address,
        x!.address,
        slots!.address,
        x!.rows,
        cache!.shape[1]!,
        cache!.shape[2]!,
        headBytes(cache!),
      ],
    };
  },
};
