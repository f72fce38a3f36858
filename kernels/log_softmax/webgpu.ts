/**
 * The WebGPU kernel of `logSoftmax`.
 *
 * @module
 */

import { rowConstants, rowGroups, rowShader } from "../row_webgpu.ts";
import { columnsOf } from "../op.ts";
import { bufferOf, rowsIn, type WebgpuKernel } from "../webgpu_kernel.ts";
import code from "./webgpu.wgsl" with { type: "text" };

const SHADER = rowShader("logSoftmax", code, ["read", "write"]);

/** One workgroup for each row. */
export const logSoftmaxWebgpu: WebgpuKernel<"logSoftmax"> = {
  shaders: [SHADER],
  encode: ([x], output) => {
    const width = columnsOf(output);
    const rows = (tokens: number): number => rowsIn(output, tokens);
    return [{
      shader: SHADER,
      constants: rowConstants(width),
      buffers: [bufferOf(x!), bufferOf(output)],
      params: (tokens) => [rows(tokens), width],
      groups: (tokens) => rowGroups(rows(tokens)),
    }];
  },
};
