/**
 * The WebGPU kernel of `attention`.
 *
 * @module
 */

import { cacheRowWords } from "../cache_store/webgpu.ts";
import type { TensorType } from "../op.ts";
import { rowShader } from "../row_webgpu.ts";
import { bufferOf, floatBits, rowsIn, type WebgpuKernel } from "../webgpu_kernel.ts";
import code from "./webgpu.wgsl" with { type: "text" };

const SHADER = rowShader("attention", code, ["read", "read", "read", "read", "write"]);

/** Elements of a row of a cache, padding included. */
function stride(cache: TensorType): number {
  return cacheRowWords(cache) * (cache.dtype === "f16" ? 2 : 1);
}

/** One workgroup for each head of each token. */
export const attentionWebgpu: WebgpuKernel<"attention"> = {
  shaders: [SHADER],
  encode: ([q, keys, values, spans], output, { heads, scale }) => {
    const [, kvHeads, headDim] = keys!.shape as readonly [number, number, number];
    return [{
      shader: SHADER,
      constants: {
        WG: headDim <= 64 ? 64 : 128,
        HALF_KEYS: keys!.dtype === "f16" ? 1 : 0,
        HALF_VALUES: values!.dtype === "f16" ? 1 : 0,
      },
      buffers: [q!, keys!, values!, spans!, output].map(bufferOf),
      params: () => [
        heads,
        heads / kvHeads,
        headDim,
        stride(keys!),
        stride(values!),
        floatBits(scale),
      ],
      groups: (tokens) => [heads, rowsIn(q!, tokens)],
    }];
  },
};
