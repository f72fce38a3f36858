/**
 * The WebGPU kernels of `rope`: for one tensor, and for two that follow each other.
 *
 * @module
 */

import { columnsOf } from "../op.ts";
import {
  bufferOf,
  type Dispatch,
  elementsOf,
  type GpuCall,
  groupsFor,
  type Shader,
  type WebgpuKernel,
} from "../webgpu_kernel.ts";
import one from "./one.wgsl" with { type: "text" };
import two from "./two.wgsl" with { type: "text" };
import code from "./webgpu.wgsl" with { type: "text" };

const ONE: Shader = { name: "rope", code: one + code, access: ["read", "read", "read", "write"] };
const TWO: Shader = {
  name: "rope, two",
  code: two + code,
  access: ["read", "read", "read", "read", "write", "write"],
};

/** One invocation for each element. */
export const ropeWebgpu: WebgpuKernel<"rope"> = {
  shaders: [ONE, TWO],
  encode: (inputs, output, attrs) => [dispatch(ONE, [{ inputs, output, attrs }])],
  together: 2,
  encodeTogether(calls) {
    const [a, b] = calls as readonly [GpuCall<"rope">, GpuCall<"rope">];
    const [x, ...tables] = a.inputs, [y, ...others] = b.inputs;
    const outputs = [bufferOf(a.output), bufferOf(b.output)];
    const fits = tables.every((it, i) => bufferOf(it) === bufferOf(others[i]!)) &&
      a.attrs.pairing === b.attrs.pairing && (a.attrs.offset ?? 0) === (b.attrs.offset ?? 0) &&
      headDimOf(a) === headDimOf(b) && outputs[0] !== outputs[1] &&
      !outputs.includes(bufferOf(x!)) && !outputs.includes(bufferOf(y!));
    return fits ? [dispatch(TWO, calls)] : undefined;
  },
};

function headDimOf({ output, attrs }: GpuCall<"rope">): number {
  return columnsOf(output) / attrs.heads;
}

/** The dispatch of one call, or of two that differ in x alone. */
function dispatch(shader: Shader, calls: readonly GpuCall<"rope">[]): Dispatch {
  const [first, last] = [calls[0]!, calls.at(-1)!];
  const [, positions, table] = first.inputs, { pairing, offset = 0 } = first.attrs;
  const count = (tokens: number): number =>
    calls.reduce((sum, { output }) => sum + elementsOf(output, tokens), 0);
  const operands = [
    positions!,
    table!,
    ...calls.map(({ inputs }) => inputs[0]!),
    ...calls.map(({ output }) => output),
  ];
  return {
    shader,
    buffers: operands.map(bufferOf),
    params: (tokens) => [
      count(tokens),
      elementsOf(first.output, tokens),
      columnsOf(first.output),
      columnsOf(last.output),
      headDimOf(first),
      columnsOf(table!),
      offset,
      pairing === "interleaved" ? 1 : 0,
    ],
    groups: (tokens) => groupsFor(count(tokens), 256),
  };
}
