/**
 * What the ops that read weight matrices share on WebGPU: a shader for each layout, and a dispatch
 * for each slice of the rows.
 *
 * @module
 */

import type { LayoutName } from "../../quant/formats.ts";
import type { Shader, Slice } from "../webgpu_kernel.ts";
import eight from "./eight.wgsl" with { type: "text" };
import { PLANE_READERS } from "./planes.ts";

/**
 * `code` after the fragments that read a layout's planes; its own bindings begin at 3. Weights are
 * numbers of type `real`, which is the arithmetic's.
 */
export function weightShader(
  name: string,
  layout: LayoutName,
  code: string,
  access: Shader["access"],
  arithmetic: "f32" | "f16" = "f32",
): Shader {
  return {
    name: `${name} ${layout}`,
    code: `alias real = ${arithmetic};\n` + eight + PLANE_READERS[layout] + code,
    access: ["read", "read", ...access],
    ...(arithmetic === "f16" && { f16: true }),
  };
}

/** The buffers of bindings 1 and 2. */
export function planesOf({ planes }: Slice): [GPUBuffer, GPUBuffer] {
  return [planes[0]!, planes[1] ?? planes[0]!];
}
