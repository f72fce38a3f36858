/**
 * What the ops that give each row a workgroup share on WebGPU: the reductions, and the size.
 *
 * @module
 */

import reduce from "./reduce.wgsl" with { type: "text" };
import reduceSubgroups from "./reduce_subgroups.wgsl" with { type: "text" };
import { type Access, type Groups, groupsFor, type Shader } from "./webgpu_kernel.ts";

/** A shader that may call the functions of reduce.wgsl. */
export function rowShader(name: string, code: string, access: readonly Access[]): Shader {
  return { name, code: reduce + code, subgroups: reduceSubgroups + code, access };
}

/** Invocations for a row of so many elements: few for short rows, which are many. */
export function rowConstants(width: number): Record<string, number> {
  return { WG: width <= 32 ? 16 : width <= 256 ? 64 : 256 };
}

/** One workgroup for each row. */
export function rowGroups(rows: number): Groups {
  return groupsFor(rows, 1);
}
