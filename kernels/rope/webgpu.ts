/**
 * The WebGPU kernel of `rope`.
 *
 * @module
 */

import {
  bufferOf,
  columnsOf,
  elementsOf,
  groupsFor,
  type Shader,
  type WebgpuKernel,
} from "../webgpu_kernel.ts";
import code from "./webgpu.wgsl" with { type: "text" };

const SHADER: Shader = { name: "rope", code, access: ["read", "read", "read", "write"] };

/** One invocation for each element. */
export const ropeWebgpu: WebgpuKernel<"rope"> = {
  shaders: [SHADER],
  encode: ([x, positions, table], output, { heads, pairing, offset = 0 }) => [{
    shader: SHADER,
    buffers: [bufferOf(x!), bufferOf(positions!), bufferOf(table!), bufferOf(output)],
    params: (tokens) => [
      elementsOf(output, tokens),
      columnsOf(output),
      columnsOf(output) / heads,
      columnsOf(table!),
      offset,
      pairing === "interleaved" ? 1 : 0,
    ],
    groups: (tokens) => groupsFor(elementsOf(output, tokens), 256),
  }],
};
