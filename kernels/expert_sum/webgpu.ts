/**
 * The WebGPU kernel of `expertSum`.
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

const SHADER: Shader = { name: "expertSum", code, access: ["read", "read", "write"] };

/** One invocation for each element. */
export const expertSumWebgpu: WebgpuKernel<"expertSum"> = {
  shaders: [SHADER],
  encode: ([x, weights], output) => [{
    shader: SHADER,
    buffers: [bufferOf(x!), bufferOf(weights!), bufferOf(output)],
    params: (tokens) => [elementsOf(output, tokens), columnsOf(output), columnsOf(weights!)],
    groups: (tokens) => groupsFor(elementsOf(output, tokens), 256),
  }],
};
