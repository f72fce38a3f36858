/**
 * The WebGPU kernels of `matmul`: for every layout of the weight, every form of the activations, and
 * for few or many tokens.
 *
 * @module
 */

import { LAYOUT_NAMES, type LayoutName } from "../../quant/formats.ts";
import { blocksOf } from "../pack/planes.ts";
import { rowShader } from "../row_webgpu.ts";
import { planesOf, weightShader } from "../pack/weight_webgpu.ts";
import {
  bufferOf,
  columnsOf,
  type Dispatch,
  type GpuOperand,
  rowsIn,
  type Shader,
  type WebgpuKernel,
} from "../webgpu_kernel.ts";
import tile from "./tile.wgsl" with { type: "text" };
import vector from "./vector.wgsl" with { type: "text" };
import vectorInteger from "./vector_integer.wgsl" with { type: "text" };
import xA8 from "./x_a8.wgsl" with { type: "text" };
import xFloat from "./x_float.wgsl" with { type: "text" };
import xFloat4 from "./x_float4.wgsl" with { type: "text" };

/** WGSL that reads activations, by their form. */
const FORMS = { float4: xFloat4, float: xFloat, a8: xA8 } as const;

/** Tokens from which on a workgroup unpacks weights for all of them. */
const MANY_TOKENS = 8;

/** A shader for every form of the activations and layout of the weight. */
function shadersOf(name: string, code: string): Map<string, Shader> {
  return new Map(
    LAYOUT_NAMES.flatMap((layout) =>
      Object.entries(FORMS).map(([form, reader]): [string, Shader] => [
        `${form} ${layout}`,
        weightShader(`${name} ${form}`, layout, reader + code, ["read", "read", "write"]),
      ])
    ),
  );
}

/** Products of bytes, where both sides are. */
const INTEGER = (["int8", "int4", "int4m"] as const).map((layout): [string, Shader] => [
  `a8 ${layout}`,
  weightShader("matmul bytes", layout, vectorInteger, ["read", "read", "write"]),
]);
const TILE = shadersOf("matmul tile", tile);
const VECTOR = new Map(
  Array.from(
    [...shadersOf("matmul vector", vector), ...INTEGER],
    ([key, { name, code, access }]) => [key, rowShader(name, code, access)],
  ),
);

function formOf(x: GpuOperand): keyof typeof FORMS {
  if (x.dtype === "a8") return "a8";
  return columnsOf(x) % 4 === 0 ? "float4" : "float";
}

/** Invocations that divide a row's runs of eight between them. */
function lanesFor(runs: number): number {
  return [8, 16, 32].find((lanes) => runs <= lanes) ?? 64;
}

/**
 * For every slice of the weight: `vector` takes four rows of one token, `tile` 64 rows of many
 * tokens; the number of tokens decides which of them has workgroups.
 */
export const matmulWebgpu: WebgpuKernel<"matmul"> = {
  shaders: [...VECTOR.values(), ...TILE.values()],
  encode: ([x, weight, bias], output) => {
    const columns = columnsOf(weight!), blocks = blocksOf(columns);
    const shader = `${formOf(x!)} ${weight!.dtype as LayoutName}`;
    const most = rowsIn(output, output.shape[0]!);
    const quads = most <= 32 ? 8 : 16;
    return weight!.slices.flatMap((slice) => {
      const shared = {
        buffers: [...planesOf(slice), bufferOf(x!), bufferOf(bias ?? x!), bufferOf(output)],
        params: (tokens: number): number[] => [
          rowsIn(output, tokens),
          columns,
          blocks,
          slice.rows,
          slice.firstRow,
          columnsOf(output),
          bias ? 1 : 0,
        ],
      };
      const few: Dispatch = {
        ...shared,
        shader: VECTOR.get(shader)!,
        constants: { WG: lanesFor(4 * blocks) },
        groups(tokens) {
          const rows = rowsIn(output, tokens);
          return rows < MANY_TOKENS ? [Math.ceil(slice.rows / 4), rows] : [0, 0];
        },
      };
      const many: Dispatch = {
        ...shared,
        shader: TILE.get(shader)!,
        constants: { QUADS: quads },
        groups(tokens) {
          const rows = rowsIn(output, tokens);
          if (rows < MANY_TOKENS) return [0, 0];
          return [Math.ceil(slice.rows / 64), Math.ceil(rows / (4 * quads))];
        },
      };
      return most < MANY_TOKENS ? [few] : [few, many];
    });
  },
};
