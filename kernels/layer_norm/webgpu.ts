/**
 * The WebGPU kernel of `layerNorm`.
 *
 * @module
 */

import { rowConstants, rowGroups, rowShader } from "../row_webgpu.ts";
import { columnsOf } from "../op.ts";
import { floatBits } from "../numbers.ts";
import { bufferOf, rowsIn, type WebgpuKernel } from "../webgpu_kernel.ts";
import code from "./webgpu.wgsl" with { type: "text" };

const SHADER = rowShader("layerNorm", code, ["read", "read", "read", "write"]);

/** One workgroup for each row. */
export const layerNormWebgpu: WebgpuKernel<"layerNorm"> = {
  shaders: [SHADER],
  encode: ([x, weight, bias], output, { eps }) => {
    const width = columnsOf(output);
    const rows = (tokens: number): number => rowsIn(output, tokens);
    return [{
      shader: SHADER,
      constants: rowConstants(width),
      buffers: [bufferOf(x!), bufferOf(weight!), bufferOf(bias ?? weight!), bufferOf(output)],
      params: (tokens) => [rows(tokens), width, floatBits(eps), bias ? 1 : 0],
      groups: (tokens) => rowGroups(rows(tokens)),
    }];
  },
};
