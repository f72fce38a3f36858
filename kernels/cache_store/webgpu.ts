/**
 * The WebGPU kernels of `cacheStore`, and how caches `[rows, kvHeads, headDim]` are stored:
 * row-major, each row padded to whole 32-bit words. In a row of int8, every head has words of its
 * own: its codes, four to a word, then an f32 scale for each 32 of them.
 *
 * @module
 */

import { CACHE_TYPES, type CacheType, elements, type TensorType } from "../op.ts";
import {
  bufferOf,
  type Dispatch,
  type GpuOperand,
  groupsFor,
  rowsIn,
  type Shader,
  type WebgpuKernel,
} from "../webgpu_kernel.ts";
import { CACHE_GROUP } from "./op.ts";
import int8 from "./int8.wgsl" with { type: "text" };
import code from "./webgpu.wgsl" with { type: "text" };

const ACCESS = ["write", "read", "read"] as const;
const FLOATS: Shader = { name: "cacheStore", code, access: ACCESS };
const INT8: Shader = { name: "cacheStore, int8", code: int8, access: ACCESS };

/** The number by which access.wgsl knows a cache's element type. */
export function cacheTypeNumber(cache: TensorType): number {
  return CACHE_TYPES.indexOf(cache.dtype as CacheType);
}

/** 32-bit words of one head of a row; not whole where several heads share a word. */
export function cacheHeadWords(cache: TensorType): number {
  const headDim = cache.shape[2]!;
  if (cache.dtype === "int8") return Math.ceil(headDim / 4) + Math.ceil(headDim / CACHE_GROUP);
  return cache.dtype === "f16" ? headDim / 2 : headDim;
}

/** 32-bit words of a row of a cache. */
export function cacheRowWords(cache: TensorType): number {
  return Math.ceil(cache.shape[1]! * cacheHeadWords(cache));
}

export const cacheStoreWebgpu: WebgpuKernel<"cacheStore"> = {
  shaders: [FLOATS, INT8],
  encode: ([cache, x, slots]) => [
    (cache!.dtype === "int8" ? storeInt8 : storeFloats)(cache!, x!, slots!),
  ],
};

/** One invocation for each word of each token. */
function storeFloats(cache: GpuOperand, x: GpuOperand, slots: GpuOperand): Dispatch {
  const width = elements(cache.shape.slice(1)), words = cacheRowWords(cache);
  return {
    shader: FLOATS,
    constants: { HALF: cache.dtype === "f16" ? 1 : 0 },
    buffers: [cache, x, slots].map(bufferOf),
    params: (tokens) => [rowsIn(x, tokens), width, words],
    groups: (tokens) => groupsFor(rowsIn(x, tokens) * words, 256),
  };
}

/** One invocation for each group of each head of each token. */
function storeInt8(cache: GpuOperand, x: GpuOperand, slots: GpuOperand): Dispatch {
  const [, kvHeads, headDim] = cache.shape as readonly [number, number, number];
  const groups = Math.ceil(headDim / CACHE_GROUP);
  const count = (tokens: number): number => rowsIn(x, tokens) * kvHeads * groups;
  const words = [cacheRowWords(cache), cacheHeadWords(cache)];
  return {
    shader: INT8,
    buffers: [cache, x, slots].map(bufferOf),
    params: (tokens) => [count(tokens), kvHeads, headDim, groups, ...words],
    groups: (tokens) => groupsFor(count(tokens), 64),
  };
}
