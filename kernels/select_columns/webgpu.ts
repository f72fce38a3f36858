/**
 * The WebGPU kernel of `selectColumns`.
 *
 * @module
 */

import { columnsOf } from "../op.ts";
import {
  bufferOf,
  elementsOf,
  groupsFor,
  type Shader,
  type WebgpuKernel,
} from "../webgpu_kernel.ts";
import code from "./webgpu.wgsl" with { type: "text" };

const SHADER: Shader = { name: "selectColumns", code, access: ["read", "read", "write"] };

/** One invocation for each element. */
export const selectColumnsWebgpu: WebgpuKernel<"selectColumns"> = {
  shaders: [SHADER],
  encode: ([x, columns], output) => [{
    shader: SHADER,
    buffers: [bufferOf(x!), bufferOf(columns!), bufferOf(output)],
    params: (tokens) => [elementsOf(output, tokens), columnsOf(x!), columnsOf(output)],
    groups: (tokens) => groupsFor(elementsOf(output, tokens), 64),
  }],
};
