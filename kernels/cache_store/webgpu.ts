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
import one from "./one.wgsl" with { type: "text" };
import two from "./two.wgsl" with { type: "text" };
import code from "./webgpu.wgsl" with { type: "text" };

const FLOATS: Shader = {
  name: "cacheStore",
  code: one + code,
  access: ["read", "read", "write"],
};
const TWO: Shader = {
  name: "cacheStore, two",
  code: two + code,
  access: ["read", "read", "read", "write", "write"],
};
const INT8: Shader = { name: "cacheStore, int8", code: int8, access: ["write", "read", "read"] };

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

/** One or two stores to a dispatch. */
export const cacheStoreWebgpu: WebgpuKernel<"cacheStore"> = {
  shaders: [FLOATS, TWO, INT8],
  encode: (inputs) => [
    inputs[0]!.dtype === "int8"
      ? storeInt8(inputs[0]!, inputs[1]!, inputs[2]!)
      : storeFloats(FLOATS, [inputs]),
  ],
  together: 2,
  encodeTogether(calls) {
    const all = calls.map(({ inputs }) => inputs);
    const [[cache, x, rows], [other, y, places]] = all as [GpuOperand[], GpuOperand[]];
    const fits = cache!.dtype !== "int8" && cache!.dtype === other!.dtype &&
      bufferOf(cache!) !== bufferOf(other!) && bufferOf(rows!) === bufferOf(places!) &&
      elements(cache!.shape.slice(1)) === elements(other!.shape.slice(1)) &&
      x!.perToken === y!.perToken && elements(x!.shape) === elements(y!.shape);
    return fits ? [storeFloats(TWO, all)] : undefined;
  },
};

/** One invocation for each word of each token; the calls differ in their caches and x alone. */
function storeFloats(shader: Shader, calls: readonly (readonly GpuOperand[])[]): Dispatch {
  const [cache, x, rows] = calls[0]!;
  const width = elements(cache!.shape.slice(1)), words = cacheRowWords(cache!);
  const operands = [rows!, ...calls.map((inputs) => inputs[1]!), ...calls.map(([it]) => it!)];
  return {
    shader,
    constants: { HALF: cache!.dtype === "f16" ? 1 : 0 },
    buffers: operands.map(bufferOf),
    params: (tokens) => [rowsIn(x!, tokens), width, words],
    groups: (tokens) => groupsFor(calls.length * rowsIn(x!, tokens) * words, 256),
  };
}

/** One invocation for each group of each head of each token. */
function storeInt8(cache: GpuOperand, x: GpuOperand, rows: GpuOperand): Dispatch {
  const [, kvHeads, headDim] = cache.shape as readonly [number, number, number];
  const groups = Math.ceil(headDim / CACHE_GROUP);
  const count = (tokens: number): number => rowsIn(x, tokens) * kvHeads * groups;
  const words = [cacheRowWords(cache), cacheHeadWords(cache)];
  return {
    shader: INT8,
    buffers: [cache, x, rows].map(bufferOf),
    params: (tokens) => [count(tokens), kvHeads, headDim, groups, ...words],
    groups: (tokens) => groupsFor(count(tokens), 64),
  };
}
