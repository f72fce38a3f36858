/**
 * The WebGPU kernel of `glu`.
 *
 * @module
 */

import { ACTIVATIONS } from "../activation/op.ts";
import { CURVES } from "../curves_webgpu.ts";
import {
  bufferOf,
  elementsOf,
  groupsFor,
  type Shader,
  type WebgpuKernel,
} from "../webgpu_kernel.ts";
import code from "./webgpu.wgsl" with { type: "text" };

const SHADER: Shader = { name: "glu", code: CURVES + code, access: ["read", "read", "write"] };

/** One invocation for each element. */
export const gluWebgpu: WebgpuKernel<"glu"> = {
  shaders: [SHADER],
  encode: ([gate, up], output, { kind }) => [{
    shader: SHADER,
    constants: { KIND: ACTIVATIONS.indexOf(kind) },
    buffers: [bufferOf(gate!), bufferOf(up!), bufferOf(output)],
    params: (tokens) => [elementsOf(output, tokens)],
    groups: (tokens) => groupsFor(elementsOf(output, tokens), 256),
  }],
};
