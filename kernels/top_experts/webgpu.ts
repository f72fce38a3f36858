/**
 * The WebGPU kernel of `topExperts`.
 *
 * @module
 */

import {
  bufferOf,
  columnsOf,
  groupsFor,
  rowsIn,
  type Shader,
  type WebgpuKernel,
} from "../webgpu_kernel.ts";
import code from "./webgpu.wgsl" with { type: "text" };

const SHADER: Shader = { name: "topExperts", code, access: ["read", "write"] };

/** One workgroup for each token. */
export const topExpertsWebgpu: WebgpuKernel<"topExperts"> = {
  shaders: [SHADER],
  encode: ([scores], output, { count }) => [{
    shader: SHADER,
    buffers: [bufferOf(scores!), bufferOf(output)],
    params: (tokens) => [rowsIn(output, tokens), columnsOf(scores!), count],
    groups: (tokens) => groupsFor(rowsIn(output, tokens), 1),
  }],
};
