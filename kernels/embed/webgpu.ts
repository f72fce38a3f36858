/**
 * The WebGPU kernels of `embed`: one for each layout of the table.
 *
 * @module
 */

import { LAYOUT_NAMES, type LayoutName } from "../../quant/formats.ts";
import { blocksOf } from "../pack/planes.ts";
import { planesOf, weightShader } from "../pack/weight_webgpu.ts";
import { columnsOf } from "../op.ts";
import { bufferOf, groupsFor, rowsIn, type Shader, type WebgpuKernel } from "../webgpu_kernel.ts";
import code from "./webgpu.wgsl" with { type: "text" };

const SHADERS = new Map<LayoutName, Shader>(
  LAYOUT_NAMES.map((layout) => [layout, weightShader("embed", layout, code, ["read", "write"])]),
);

/** One invocation for each eight elements; one dispatch for each slice of the table. */
export const embedWebgpu: WebgpuKernel<"embed"> = {
  shaders: Array.from(SHADERS.values()),
  encode: ([ids, table], output, { first = 0 }) => {
    const columns = columnsOf(table!), blocks = blocksOf(columns);
    return table!.slices.map((slice, i) => ({
      shader: SHADERS.get(table!.dtype as LayoutName)!,
      buffers: [...planesOf(slice), bufferOf(ids!), bufferOf(output)],
      params: (tokens) => [
        ...[rowsIn(output, tokens), columns, blocks, first + slice.firstRow, slice.rows, first],
        i === 0 ? table!.shape[0]! : 0xffffffff, // the first dispatch writes the zeros
      ],
      groups: (tokens) => groupsFor(rowsIn(output, tokens) * blocks * 4, 64),
    }));
  },
};
