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

/** `code` after the fragments that read a layout's planes; its own bindings begin at 3. */
export function weightShader(
  name: string,
  layout: LayoutName,
  code: string,
  access: Shader["access"],
): Shader {
  return {
    name: `${name} ${layout}`,
    code: eight + PLANE_READERS[layout] + code,
    access: ["read", "read", ...access],
  };
}

/** The buffers of bindings 1 and 2. */
export function planesOf({ planes }: Slice): [GPUBuffer, GPUBuffer] {
  return [planes[0]!, planes[1] ?? planes[0]!];
}
