/**
 * The WebGPU kernels of `expertMatmul`: for every layout of the weight, every form of the
 * activations, and for few or many pairs of a token and an expert.
 *
 * @module
 */

import { LAYOUT_NAMES, type LayoutName } from "../../quant/formats.ts";
import xA8 from "../matmul/x_a8.wgsl" with { type: "text" };
import xFloat from "../matmul/x_float.wgsl" with { type: "text" };
import xFloat4 from "../matmul/x_float4.wgsl" with { type: "text" };
import { blocksOf } from "../pack/planes.ts";
import { planesOf, weightShader } from "../pack/weight_webgpu.ts";
import { rowShader } from "../row_webgpu.ts";
import { columnsOf } from "../op.ts";
import {
  type Access,
  bufferOf,
  type Dispatch,
  type GpuOperand,
  rowsIn,
  type Shader,
  type WebgpuKernel,
} from "../webgpu_kernel.ts";
import group from "./group.wgsl" with { type: "text" };
import tile from "./tile.wgsl" with { type: "text" };
import vector from "./vector.wgsl" with { type: "text" };

/** WGSL that reads activations, by their form. */
const FORMS = { float4: xFloat4, float: xFloat, a8: xA8 } as const;

/** Experts that group.wgsl has room for, beside none. */
const MOST_EXPERTS = 4095;

/** Pairs for each expert, on average, from which on they are grouped. */
const MANY_PAIRS = 4;

function shadersOf(name: string, code: string, access: readonly Access[]): Map<string, Shader> {
  return new Map(
    LAYOUT_NAMES.flatMap((layout) =>
      Object.entries(FORMS).map(([form, reader]): [string, Shader] => [
        `${form} ${layout}`,
        weightShader(`${name} ${form}`, layout, reader + code, access),
      ])
    ),
  );
}

const GROUP: Shader = { name: "expertMatmul group", code: group, access: ["read", "write"] };
const TILE = shadersOf("expertMatmul tile", tile, ["read", "read", "read", "write"]);
const VECTOR = new Map(
  Array.from(
    shadersOf("expertMatmul vector", vector, ["read", "read", "write"]),
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
 * For every slice of the weight: `vector` takes four rows of one pair, `tile` 64 rows of many pairs
 * of one expert after `group` has listed them; the number of pairs decides which have workgroups.
 */
export const expertMatmulWebgpu: WebgpuKernel<"expertMatmul"> = {
  shaders: [...VECTOR.values(), GROUP, ...TILE.values()],
  encode: ([x, weight, chosen], output, { experts }, scratch) => {
    const columns = columnsOf(weight!), blocks = blocksOf(columns), width = columnsOf(output);
    const each = x!.shape.length === 3 ? 1 : columnsOf(chosen!);
    const shader = `${formOf(x!)} ${weight!.dtype as LayoutName}`;
    const pairs = (tokens: number): number => rowsIn(output, tokens);
    const isMany = (tokens: number): boolean =>
      experts <= MOST_EXPERTS && pairs(tokens) >= MANY_PAIRS * experts;
    const most = pairs(output.shape[0]!);
    const quads = most / experts <= 16 ? 4 : 8, tilePairs = 4 * quads;
    /** The last tile of every group may be filled in part. */
    const tiles = (tokens: number): number =>
      Math.floor(pairs(tokens) / tilePairs) + Math.min(experts + 1, pairs(tokens));
    const dispatches: Dispatch[] = [];
    const list = isMany(output.shape[0]!)
      ? scratch(4 * tilePairs * tiles(output.shape[0]!))
      : undefined;
    if (list) {
      dispatches.push({
        shader: GROUP,
        buffers: [bufferOf(chosen!), list],
        params: (tokens) => [pairs(tokens), tilePairs, tilePairs * tiles(tokens), experts],
        groups: (tokens) => isMany(tokens) ? [1, 1] : [0, 0],
      });
    }
    for (const slice of weight!.slices) {
      const params = (tokens: number): number[] => [
        pairs(tokens),
        columns,
        blocks,
        slice.rows,
        slice.firstRow,
        width,
        each,
      ];
      const operands = [...planesOf(slice), bufferOf(x!), bufferOf(chosen!)];
      dispatches.push({
        shader: VECTOR.get(shader)!,
        constants: { WG: lanesFor(4 * blocks) },
        buffers: [...operands, bufferOf(output)],
        params,
        groups: (tokens) => isMany(tokens) ? [0, 0] : [Math.ceil(width / 4), pairs(tokens)],
      });
      if (!list) continue;
      dispatches.push({
        shader: TILE.get(shader)!,
        constants: { QUADS: quads },
        buffers: [...operands, list, bufferOf(output)],
        params,
        groups: (tokens) => isMany(tokens) ? [Math.ceil(width / 64), tiles(tokens)] : [0, 0],
      });
    }
    return dispatches;
  },
};
