/**
 * The tensor runtime without a language model: record a graph of ops, compile it on a backend, run
 * it with typed arrays.
 *
 * @module
 */

export { compile, type CompileOptions, type Program } from "./runtime/compile.ts";
export {
  type Extents,
  Graph,
  type GraphNode,
  type GraphOptions,
  type Origin,
  type Segment,
  type Tensor,
} from "./runtime/graph/graph.ts";
export type { BackendName, TensorData } from "./runtime/backends/backend.ts";
export type {
  ActivationAttributes,
  ActivationName,
  AttentionAttributes,
  CacheType,
  DType,
  LayerNormAttributes,
  NoAttributes,
  OpAttributes,
  OpName,
  RmsNormAttributes,
  Role,
  RopeAttributes,
  TensorType,
} from "./kernels/ops.ts";
export type { LayoutName } from "./quant/formats.ts";
