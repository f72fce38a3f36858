/**
 * The WebGPU kernel of `cacheStore`, and how caches `[rows, kvHeads, headDim]` are stored:
 * row-major, each row padded to whole 32-bit words.
 *
 * @module
 */

import { elements, type TensorType } from "../op.ts";
import { bufferOf, groupsFor, rowsIn, type Shader, type WebgpuKernel } from "../webgpu_kernel.ts";
import code from "./webgpu.wgsl" with { type: "text" };

const SHADER: Shader = { name: "cacheStore", code, access: ["write", "read", "read"] };

/** 32-bit words of a row of a cache. */
export function cacheRowWords(cache: TensorType): number {
  const width = elements(cache.shape.slice(1));
  return cache.dtype === "f16" ? Math.ceil(width / 2) : width;
}

/** One invocation for each word of each token. */
export const cacheStoreWebgpu: WebgpuKernel<"cacheStore"> = {
  shaders: [SHADER],
  encode: ([cache, x, slots]) => {
    const width = elements(cache!.shape.slice(1)), words = cacheRowWords(cache!);
    return [{
      shader: SHADER,
      constants: { HALF: cache!.dtype === "f16" ? 1 : 0 },
      buffers: [bufferOf(cache!), bufferOf(x!), bufferOf(slots!)],
      params: (tokens) => [rowsIn(x!, tokens), width, words],
      groups: (tokens) => groupsFor(rowsIn(x!, tokens) * words, 256),
    }];
  },
};
