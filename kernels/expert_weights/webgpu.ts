/**
 * The WebGPU kernel of `expertWeights`.
 *
 * @module
 */

import { rowConstants, rowGroups, rowShader } from "../row_webgpu.ts";
import { columnsOf } from "../op.ts";
import { bufferOf, rowsIn, type WebgpuKernel } from "../webgpu_kernel.ts";
import code from "./webgpu.wgsl" with { type: "text" };

const SHADER = rowShader("expertWeights", code, ["read", "read", "write"]);

/** One workgroup for each token. */
export const expertWeightsWebgpu: WebgpuKernel<"expertWeights"> = {
  shaders: [SHADER],
  encode: ([scores, chosen], output, { over }) => {
    const experts = columnsOf(scores!), count = columnsOf(chosen!);
    const counted = over === "all" ? experts : count;
    const rows = (tokens: number): number => rowsIn(output, tokens);
    return [{
      shader: SHADER,
      constants: { ...rowConstants(counted), OVER_ALL: over === "all" ? 1 : 0 },
      buffers: [bufferOf(scores!), bufferOf(chosen!), bufferOf(output)],
      params: (tokens) => [rows(tokens), experts, count, counted],
      groups: (tokens) => rowGroups(rows(tokens)),
    }];
  },
};
