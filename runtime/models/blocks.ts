/**
 * What most models are recorded from: linear layers, norms, attention over a cache. Each takes its
 * weights by name, so that a model's graph reads like its description.
 *
 * @module
 */

import type { AttentionAttributes } from "../../kernels/ops.ts";
import type { Graph, Tensor } from "../graph/graph.ts";
import type { WeightScope } from "./weights.ts";

/** Records blocks in one graph. */
export interface Blocks {
  /** `x W^T + b`, with the bias `NAME.bias` where there is one: `[rows, columns] → [rows, width]`. */
  linear(x: Tensor, name: string): Tensor;
  /** Normalization by mean and variance, with `NAME` and `NAME.bias` where there is one. */
  layerNorm(x: Tensor, name: string, eps: number): Tensor;
  /** Normalization by root mean square, with `NAME`. */
  rmsNorm(x: Tensor, name: string, eps: number): Tensor;
  /** Rows of a table by index, and the sum of what several tables have. */
  embed(...tables: readonly (readonly [indices: Tensor, name: string])[]): Tensor;
  /**
   * Attention of `q [tokens, heads * headDim]` over a cache that has just got `k` and `v`
   * `[tokens, kvHeads * headDim]` in the rows `rows`.
   */
  attend(options: AttendOptions): Tensor;
}

/** What `Blocks.attend` takes. */
export interface AttendOptions extends AttentionAttributes {
  /** Begins the names of the two caches. */
  readonly name: string;
  /** Queries `[tokens, heads * headDim]`. */
  readonly q: Tensor;
  /** Keys and values `[tokens, kvHeads * headDim]`; absent where an earlier run has stored them. */
  readonly stored?: { readonly k: Tensor; readonly v: Tensor; readonly rows: Tensor };
  /** `[cacheRows, kvHeads, headDim]`. */
  readonly shape: readonly [number, number, number];
  /** Element type of the caches. */
  readonly cacheType: "f32" | "f16" | "int8";
  /** `[tokens, 2]`. */
  readonly spans: Tensor;
  /** What the attributes ask for behind the spans: a bias and rows, sinks. */
  readonly extra?: readonly Tensor[];
}

/** The blocks of a graph with a model's weights. */
export function blocks(g: Graph, w: WeightScope): Blocks {
  const optional = (name: string): Tensor[] => w.has(name) ? [w.tensor(name)] : [];
  return {
    linear: (x, name) => g.op("matmul", [x, w.tensor(name), ...optional(`${name}.bias`)]),
    layerNorm: (x, name, eps) =>
      g.op("layerNorm", [x, w.tensor(name), ...optional(`${name}.bias`)], { eps }),
    rmsNorm: (x, name, eps) => g.op("rmsNorm", [x, w.tensor(name)], { eps }),
    embed: (...tables) =>
      tables.map(([indices, name]) => g.op("embed", [indices, w.tensor(name)]))
        .reduce((sum, it) => g.op("add", [sum, it])),
    attend({ name, q, stored, shape, cacheType, spans, extra = [], ...attrs }) {
      const keys = g.cache(`${name}.keys`, "keyCache", shape, cacheType);
      const values = g.cache(`${name}.values`, "valueCache", shape, cacheType);
      if (stored) {
        g.op("cacheStore", [keys, stored.k, stored.rows]);
        g.op("cacheStore", [values, stored.v, stored.rows]);
      }
      return g.op("attention", [q, keys, values, spans, ...extra], attrs);
    },
  };
}
