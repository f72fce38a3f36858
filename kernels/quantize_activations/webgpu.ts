/**
 * The WebGPU kernel of `quantizeActivations`.
 *
 * @module
 */

import { blocksOf } from "../pack/planes.ts";
import {
  bufferOf,
  columnsOf,
  groupsFor,
  rowsIn,
  type Shader,
  type WebgpuKernel,
} from "../webgpu_kernel.ts";
import code from "./webgpu.wgsl" with { type: "text" };

const SHADER: Shader = { name: "quantizeActivations", code, access: ["read", "write"] };

/** Bytes of quantized activations: 32 int8 and one f32 for every block. */
export function gpuActivationBytes(rows: number, columns: number): number {
  return rows * blocksOf(columns) * 36;
}

/** One invocation for each block of 32. */
export const quantizeActivationsWebgpu: WebgpuKernel<"quantizeActivations"> = {
  shaders: [SHADER],
  encode: ([x], output) => {
    const columns = columnsOf(output), blocks = blocksOf(columns);
    return [{
      shader: SHADER,
      buffers: [bufferOf(x!), bufferOf(output)],
      params: (tokens) => [rowsIn(output, tokens), columns, blocks],
      groups: (tokens) => groupsFor(rowsIn(output, tokens) * blocks, 64),
    }];
  },
};
