/**
 * What the binary elementwise ops share on WebGPU: one shader, chosen by a constant.
 *
 * @module
 */

import {
  bufferOf,
  elementsOf,
  groupsFor,
  type Shader,
  type WebgpuKernel,
} from "./webgpu_kernel.ts";
import code from "./elementwise.wgsl" with { type: "text" };

const SHADER: Shader = { name: "elementwise", code, access: ["read", "read", "write"] };

/** The functions, by their code in the shader. */
const OPERATIONS = ["add", "mul"] as const;

/** Kernel of `out[i] = f(a[i], b[i % length of b])`. */
export function binaryWebgpu<N extends typeof OPERATIONS[number]>(op: N): WebgpuKernel<N> {
  return {
    shaders: [SHADER],
    encode: ([a, b], output) => [{
      shader: SHADER,
      constants: { OP: OPERATIONS.indexOf(op) },
      buffers: [bufferOf(a!), bufferOf(b!), bufferOf(output)],
      params: (tokens) => [elementsOf(output, tokens), elementsOf(b!, tokens)],
      groups: (tokens) => groupsFor(elementsOf(output, tokens), 256),
    }],
  };
}
