/**
 * The WebAssembly kernels of `cacheStore`, one per kind of cache and element type.
 *
 * @module
 */

import type { CacheType } from "../op.ts";
import type { WasmKernel } from "../wasm_kernel.ts";
import { headBytes } from "./layout.ts";

/** How kernels of each element type are named. */
const TYPES: Readonly<Record<CacheType, string>> = { f32: "", f16: "F16", int8: "Int8" };

/**
 * Arguments: cache, x, rows, address of the token count, kvHeads, headDim, bytes of one kvHead.
 */
export const cacheStoreWasm: WasmKernel<"cacheStore"> = {
  kernels: ["Keys", "Values"].flatMap((kind) =>
    Object.values(TYPES).map((type) => `cacheStore${kind}${type}`)
  ),
  encode([cache, x, rows]) {
    const kind = cache!.role === "keyCache" ? "Keys" : "Values";
    return {
      kernel: `cacheStore${kind}${TYPES[cache!.dtype as CacheType]}`,
      args: [
        cache!.address,
        x!.address,
        rows!.address,
        x!.rows,
        cache!.shape[1]!,
        cache!.shape[2]!,
        headBytes(cache!),
      ],
    };
  },
};
