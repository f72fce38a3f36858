/**
 * The WebGPU kernels of `attention`.
 *
 * @module
 */

import { BackendError } from "../../errors.ts";
import { cacheRowWords } from "../cache_store/webgpu.ts";
import type { TensorType } from "../op.ts";
import { rowShader } from "../row_webgpu.ts";
import { bufferOf, floatBits, rowsIn, type WebgpuKernel } from "../webgpu_kernel.ts";
import element from "./element.wgsl" with { type: "text" };
import vector from "./vector.wgsl" with { type: "text" };

const ACCESS = ["read", "read", "read", "read", "write"] as const;
const ELEMENT = rowShader("attention", element, ACCESS);
const VECTOR = rowShader("attention, vectors", vector, ACCESS);

/** Longest heads that each shader has room for. */
const MOST_ELEMENT = 1024, MOST_VECTOR = 512;

/** Elements of a row of a cache, padding included. */
function stride(cache: TensorType): number {
  return cacheRowWords(cache) * (cache.dtype === "f16" ? 2 : 1);
}

/** One workgroup for each head of each token. */
export const attentionWebgpu: WebgpuKernel<"attention"> = {
  shaders: [ELEMENT, VECTOR],
  encode: ([q, keys, values, spans], output, { heads, scale }) => {
    const [, kvHeads, headDim] = keys!.shape as readonly [number, number, number];
    if (headDim > MOST_ELEMENT) {
      throw new BackendError(
        `Cannot compile attention: heads are ${headDim} long, expected at most ${MOST_ELEMENT} ` +
          `on webgpu`,
      );
    }
    return [{
      shader: headDim % 4 === 0 && headDim <= MOST_VECTOR ? VECTOR : ELEMENT,
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
