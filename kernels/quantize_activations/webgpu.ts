/**
 * The WebGPU kernel of `quantizeActivations`.
 *
 * @module
 */

import { BackendError } from "../../errors.ts";
import { blocksOf } from "../pack/planes.ts";
import { rowShader } from "../row_webgpu.ts";
import { columnsOf } from "../op.ts";
import { floatBits } from "../numbers.ts";
import { bufferOf, groupsFor, rowsIn } from "../webgpu_kernel.ts";
import type { WebgpuKernel } from "../webgpu_kernel.ts";
import code from "./webgpu.wgsl" with { type: "text" };

const SHADER = rowShader("quantizeActivations", code, ["read", "read", "write"]);

/** Invocations of a workgroup. */
const LANES = 64;

/** Bytes of quantized activations: 32 int8 and one f32 for every block. */
export function gpuActivationBytes(rows: number, columns: number): number {
  return rows * blocksOf(columns) * 36;
}

/** One invocation for each block of 32. */
export const quantizeActivationsWebgpu: WebgpuKernel<"quantizeActivations"> = {
  shaders: [SHADER],
  encode: ([x, gain], output, { eps = 0, gate }) => {
    if (gate) {
      throw new BackendError("Cannot compile quantizeActivations: webgpu has no gated one");
    }
    const columns = columnsOf(output),
      blocks = blocksOf(columns),
      groups = Math.ceil(blocks / LANES);
    const rows = (tokens: number): number => rowsIn(output, tokens);
    return [{
      shader: SHADER,
      constants: { WG: LANES, NORMED: gain ? 1 : 0 },
      buffers: [bufferOf(x!), bufferOf(gain ?? x!), bufferOf(output)],
      params: (tokens) => [rows(tokens), columns, blocks, groups, floatBits(eps)],
      groups: (tokens) => groupsFor(rows(tokens) * groups, 1),
    }];
  },
};
