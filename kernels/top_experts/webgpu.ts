/**
 * The WebGPU kernel of `topExperts`.
 *
 * @module
 */

import {
  bufferOf,
  type Dispatch,
  groupsFor,
  rowsIn,
  type Shader,
  type WebgpuKernel,
} from "../webgpu_kernel.ts";
import { columnsOf, elements } from "../op.ts";
import drop from "./drop.wgsl" with { type: "text" };
import code from "./webgpu.wgsl" with { type: "text" };

const SHADER: Shader = { name: "topExperts", code, access: ["read", "write"] };
const DROP: Shader = { name: "topExperts, drop", code: drop, access: ["read", "read", "write"] };

/** One workgroup for each token; with a capacity, then one invocation for each choice. */
export const topExpertsWebgpu: WebgpuKernel<"topExperts"> = {
  shaders: [SHADER, DROP],
  encode: ([scores, starts], output, { count, capacity = 0 }, scratch) => {
    const rows = (tokens: number): number => rowsIn(output, tokens);
    const chosen = starts ? scratch(4 * elements(output.shape)) : bufferOf(output);
    const choose: Dispatch = {
      shader: SHADER,
      buffers: [bufferOf(scores!), chosen],
      params: (tokens) => [rows(tokens), columnsOf(scores!), count],
      groups: (tokens) => groupsFor(rows(tokens), 1),
    };
    if (!starts) return [choose];
    return [choose, {
      shader: DROP,
      buffers: [chosen, bufferOf(starts), bufferOf(output)],
      params: (tokens) => [rows(tokens) * count, count, capacity],
      groups: (tokens) => groupsFor(rows(tokens) * count, 64),
    }];
  },
};
