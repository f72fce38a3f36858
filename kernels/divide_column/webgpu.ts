/**
 * The WebGPU kernel of `divideColumn`.
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

const SHADER: Shader = { name: "divideColumn", code, access: ["read", "read", "write"] };

/** One invocation for each element of the result. */
export const divideColumnWebgpu: WebgpuKernel<"divideColumn"> = {
  shaders: [SHADER],
  encode: ([x, parts], output, { column }) => [{
    shader: SHADER,
    buffers: [bufferOf(x!), bufferOf(parts!), bufferOf(output)],
    params: (tokens) => [elementsOf(output, tokens), columnsOf(x!), columnsOf(parts!), column],
    groups: (tokens) => groupsFor(elementsOf(output, tokens), 64),
  }],
};
