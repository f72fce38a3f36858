/**
 * The WebGPU kernel of `scale`.
 *
 * @module
 */

import { floatBits } from "../numbers.ts";
import {
  bufferOf,
  elementsOf,
  groupsFor,
  type Shader,
  type WebgpuKernel,
} from "../webgpu_kernel.ts";
import code from "./webgpu.wgsl" with { type: "text" };

const SHADER: Shader = { name: "scale", code, access: ["read", "write"] };

/** One invocation for each element. */
export const scaleWebgpu: WebgpuKernel<"scale"> = {
  shaders: [SHADER],
  encode: ([x], output, { factor }) => [{
    shader: SHADER,
    buffers: [bufferOf(x!), bufferOf(output)],
    params: (tokens) => [elementsOf(output, tokens), floatBits(factor)],
    groups: (tokens) => groupsFor(elementsOf(output, tokens), 256),
  }],
};
