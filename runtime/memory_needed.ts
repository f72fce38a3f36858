/**
 * What a model takes in memory: its weights in their layouts, and the caches of its sequences.
 *
 * @module
 */

import { CACHE_GROUP } from "../kernels/cache_store/op.ts";
import type { CacheType } from "../kernels/op.ts";
import type { ModelConfig } from "./models/definition.ts";
import { type ResolvedWeights, weightBytes } from "./weights.ts";

/** Memory of a loaded model, in bytes. */
export interface MemoryNeeded {
  /** All weights, in their layouts' exchange form. */
  readonly weightBytes: number;
  /** Keys and values of every sequence at full length. */
  readonly cacheBytes: number;
  /** Both. */
  readonly totalBytes: number;
}

/** Most tokens of a sequence where nobody names a number: the model's own limit, but at most 4096. */
export function defaultContext({ maxPositions }: ModelConfig): number {
  return Math.min(maxPositions, 4096);
}

/**
 * Adds up weights and caches; one sequence of f32 caches where the options are silent. The first
 * `elsewhere` layers do not count.
 */
export function memoryNeeded(
  weights: ResolvedWeights,
  { layers, kvHeads, headDim }: ModelConfig,
  contextLength: number,
  { sequences = 1, cacheType = "f32" }: { sequences?: number; cacheType?: CacheType } = {},
  elsewhere = 0,
): MemoryNeeded {
  const here = Array.from(weights.values()).filter(({ name }) => !(parseInt(name) < elsewhere) // names of a layer's weights begin with its number
  );
  const packed = here.map(weightBytes).reduce((a, b) => a + b, 0);
  const headBytes = {
    f32: 4 * headDim,
    f16: 2 * headDim,
    int8: headDim + 4 * Math.ceil(headDim / CACHE_GROUP),
  };
  const rows = sequences > 1 ? Math.ceil(contextLength / 128) * 128 : contextLength;
  const cacheBytes = 2 * (layers - elsewhere) * sequences * rows * kvHeads *
    headBytes[cacheType];
  return { weightBytes: packed, cacheBytes, totalBytes: packed + cacheBytes };
}
