/**
 * `headMatmul` on WebGPU: `expertMatmul` with heads as experts.
 *
 * @module
 */

import { expertMatmulWebgpu } from "../expert_matmul/webgpu.ts";
import { columnsOf } from "../op.ts";
import {
  bufferOf,
  type Dispatch,
  type GpuOperand,
  groupsFor,
  rowsIn,
  type Shader,
  type WebgpuKernel,
} from "../webgpu_kernel.ts";
import code from "./webgpu.wgsl" with { type: "text" };

const HEADS: Shader = { name: "headMatmul, heads", code, access: ["write"] };

/** The scratch buffer of the heads' numbers; `expertMatmul` has the first place. */
const PLACE = 1;

/** A dispatch that numbers the heads, and then those of `expertMatmul`. */
export const headMatmulWebgpu: WebgpuKernel<"headMatmul"> = {
  shaders: [HEADS],
  encode([x, weight], output, { heads }, scratch, traits) {
    const most = x!.shape[0]!, buffer = scratch(4 * most * heads, PLACE);
    const pairs = (tokens: number): number => rowsIn(x!, tokens) * heads;
    const chosen: GpuOperand = {
      shape: [most, heads],
      dtype: "i32",
      role: "dense",
      perToken: x!.perToken,
      slices: [{ firstRow: 0, rows: most, planes: [buffer] }],
    };
    /** The same numbers with a dimension for heads. */
    const divided = (it: GpuOperand): GpuOperand => ({
      ...it,
      shape: [most, heads, columnsOf(it) / heads],
    });
    const number: Dispatch = {
      shader: HEADS,
      buffers: [bufferOf(chosen)],
      params: (tokens) => [pairs(tokens), heads],
      groups: (tokens) => groupsFor(pairs(tokens), 64),
    };
    const multiply = expertMatmulWebgpu.encode(
      [divided(x!), weight!, chosen],
      divided(output),
      { experts: heads },
      scratch,
      traits,
    );
    return [number, ...multiply];
  },
};
