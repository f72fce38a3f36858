/**
 * The WebGPU kernel of `rmsNorm`.
 *
 * @module
 */

import { rowConstants, rowGroups, rowShader } from "../row_webgpu.ts";
import { columnsOf } from "../op.ts";
import { floatBits } from "../numbers.ts";
import { bufferOf, elementsOf, type WebgpuKernel } from "../webgpu_kernel.ts";
import code from "./webgpu.wgsl" with { type: "text" };

const SHADER = rowShader("rmsNorm", code, ["read", "read", "write"]);

/** One workgroup for each group as long as the weight. */
export const rmsNormWebgpu: WebgpuKernel<"rmsNorm"> = {
  shaders: [SHADER],
  encode: ([x, weight], output, { eps }) => {
    const width = columnsOf(weight!);
    const rows = (tokens: number): number => elementsOf(output, tokens) / width;
    return [{
      shader: SHADER,
      constants: rowConstants(width),
      buffers: [bufferOf(x!), bufferOf(weight!), bufferOf(output)],
      params: (tokens) => [rows(tokens), width, floatBits(eps)],
      groups: (tokens) => rowGroups(rows(tokens)),
    }];
  },
};
