/**
 * The WebGPU kernel of `selectRows`.
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

const SHADER: Shader = { name: "selectRows", code, access: ["read", "read", "write"] };

/** One invocation for each element. */
export const selectRowsWebgpu: WebgpuKernel<"selectRows"> = {
  shaders: [SHADER],
  encode: ([x, rows], output) => [{
    shader: SHADER,
    buffers: [bufferOf(x!), bufferOf(rows!), bufferOf(output)],
    params: (tokens) => [elementsOf(output, tokens), columnsOf(output)],
    groups: (tokens) => groupsFor(elementsOf(output, tokens), 64),
  }],
};
