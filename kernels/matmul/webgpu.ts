/**
 * The WebGPU kernels of `matmul`: for every layout of the weight and every form of the activations.
 *
 * @module
 */

import { LAYOUT_NAMES, type LayoutName } from "../../quant/formats.ts";
import { blocksOf } from "../pack/planes.ts";
import { planesOf, weightShader } from "../pack/weight_webgpu.ts";
import {
  bufferOf,
  columnsOf,
  type GpuOperand,
  rowsIn,
  type Shader,
  type WebgpuKernel,
} from "../webgpu_kernel.ts";
import vector from "./vector.wgsl" with { type: "text" };
import xA8 from "./x_a8.wgsl" with { type: "text" };
import xFloat from "./x_float.wgsl" with { type: "text" };
import xFloat4 from "./x_float4.wgsl" with { type: "text" };

/** WGSL that reads activations, by their form. */
const FORMS = { float4: xFloat4, float: xFloat, a8: xA8 } as const;

const SHADERS = new Map<string, Shader>(
  LAYOUT_NAMES.flatMap((layout) =>
    Object.entries(FORMS).map(([form, reader]): [string, Shader] => {
      const name = `matmul ${form}`;
      const shader = weightShader(name, layout, reader + vector, ["read", "read", "write"]);
      return [shader.name, shader];
    })
  ),
);

function formOf(x: GpuOperand): keyof typeof FORMS {
  if (x.dtype === "a8") return "a8";
  return columnsOf(x) % 4 === 0 ? "float4" : "float";
}

/** One workgroup for each four rows and each token; one dispatch for each slice of the weight. */
export const matmulWebgpu: WebgpuKernel<"matmul"> = {
  shaders: Array.from(SHADERS.values()),
  encode: ([x, weight, bias], output) => {
    const columns = columnsOf(weight!), blocks = blocksOf(columns);
    return weight!.slices.map((slice) => ({
      shader: SHADERS.get(`matmul ${formOf(x!)} ${weight!.dtype as LayoutName}`)!,
      constants: { WG: blocks <= 8 ? 32 : 64 },
      buffers: [...planesOf(slice), bufferOf(x!), bufferOf(bias ?? x!), bufferOf(output)],
      params: (tokens) => [
        rowsIn(output, tokens),
        columns,
        blocks,
        slice.rows,
        slice.firstRow,
        columnsOf(output),
        bias ? 1 : 0,
      ],
      groups: (tokens) => [Math.ceil(slice.rows / 4), rowsIn(output, tokens)],
    }));
  },
};
