/**
 * The WebGPU kernel of `activation`.
 *
 * @module
 */

import {
  bufferOf,
  elementsOf,
  groupsFor,
  type Shader,
  type WebgpuKernel,
} from "../webgpu_kernel.ts";
import { CURVES } from "../curves_webgpu.ts";
import { ACTIVATIONS } from "./op.ts";
import code from "./webgpu.wgsl" with { type: "text" };

const SHADER: Shader = { name: "activation", code: CURVES + code, access: ["read", "write"] };

/** One invocation for each element. */
export const activationWebgpu: WebgpuKernel<"activation"> = {
  shaders: [SHADER],
  encode: ([x], output, { kind }) => [{
    shader: SHADER,
    constants: { KIND: ACTIVATIONS.indexOf(kind) },
    buffers: [bufferOf(x!), bufferOf(output)],
    params: (tokens) => [elementsOf(output, tokens)],
    groups: (tokens) => groupsFor(elementsOf(output, tokens), 256),
  }],
};
