/**
 * What the dispatches of `matmul` on WebGPU are made from: a call's operands by name, its parameters,
 * and the sizes of workgroups.
 *
 * @module
 */

import type { LayoutName } from "../../quant/formats.ts";
import { blocksOf } from "../pack/planes.ts";
import { columnsOf } from "../op.ts";
import { floatBits } from "../numbers.ts";
import {
  type GpuCall,
  type GpuOperand,
  type GpuTraits,
  rowsIn,
  type Slice,
} from "../webgpu_kernel.ts";
import { ACTIVATIONS } from "../activation/op.ts";
import { type MatmulOperands, matmulOperands } from "./op.ts";
import { type Form, type Product, productOf } from "./shaders_webgpu.ts";

/** What becomes of the tensor `side`; see finish.wgsl. */
export const SIDE = { none: 0, added: 1, gate: 2 } as const;

/** A tile: rows and tokens of a workgroup, and how its invocations divide them. */
export interface TileShape {
  /** Rows of the weight that a workgroup multiplies. */
  readonly rows: number;
  /** Tokens that it multiplies them with. */
  readonly tokens: number;
  /** Values of the shader's overrides. */
  readonly constants: Readonly<Record<string, number>>;
}

/** A call, with what follows from it. */
export interface Prepared extends MatmulOperands<GpuOperand> {
  /** `[tokens, N]`. */
  readonly output: GpuOperand;
  /** Of the norm of x. */
  readonly eps: number;
  /** How x lies in memory. */
  readonly form: Form;
  /** Of the weight. */
  readonly layout: LayoutName;
  /** What is multiplied. */
  readonly product: Product;
  /** Values of the shader's overrides that say what a gate does; none for the usual one. */
  readonly gateConstants: Readonly<Record<string, number>>;
  /** Of the device. */
  readonly traits: GpuTraits;
}

/** Names the operands of a call, and finds out how it is done. */
export function prepare(
  { inputs, output, attrs }: GpuCall<"matmul">,
  traits: GpuTraits,
): Prepared {
  const operands = matmulOperands(inputs, attrs), { x, weight } = operands;
  const layout = weight.dtype as LayoutName;
  const form = x.dtype === "a8" ? "a8" : columnsOf(x) % 4 === 0 ? "float4" : "float";
  const product = productOf(form, layout, traits.arithmetic);
  const { eps = 0, gate = "silu" } = attrs;
  // One pipeline serves gates of silu, the shader's default, and products without a gate.
  const gateConstants = gate === "silu" ? {} : { GATE_KIND: ACTIVATIONS.indexOf(gate) };
  return { ...operands, output, eps, form, layout, product, gateConstants, traits };
}

/** Words of params.wgsl; `ends` are rows of the slice where the first two of three outs end. */
export function params(
  call: Prepared,
  slice: Slice,
  tokens: number,
  side: number,
  ends: readonly number[] = [0, 0],
): number[] {
  const columns = columnsOf(call.weight);
  return [
    rowsIn(call.output, tokens),
    columns,
    blocksOf(columns),
    slice.rows,
    slice.base ?? 0,
    slice.firstRow,
    columnsOf(call.output),
    call.bias ? 1 : 0,
    side,
    floatBits(call.eps),
    call.up?.slices[0]?.base ?? 0,
    ...ends,
  ];
}

/** Invocations that divide a row's runs of eight between them, when so many workgroups do. */
export function lanesFor(runs: number, workgroups: number, { invocations }: GpuTraits): number {
  const wanted = Math.min(256, Math.max(64, invocations / workgroups));
  return [8, 16, 32, 64, 128].find((lanes) => lanes >= runs / 2 || lanes >= wanted) ?? 256;
}

/**
 * Small tiles for few tokens, large ones where there are enough of them to keep a GPU busy and its
 * workgroups have the memory.
 */
export function tileShape({ output, product, traits }: Prepared, most: number): TileShape {
  const shape = (rowLanes: number, rowQuads: number, tokenLanes: number, tokenQuads: number) => ({
    rows: 4 * rowQuads,
    tokens: 4 * tokenQuads,
    constants: {
      ROW_LANES: rowLanes,
      ROW_QUADS: rowQuads,
      TOKEN_LANES: tokenLanes,
      ...(product !== "bytes" && { TOKEN_QUADS: tokenQuads }),
    },
  });
  if (most <= 32) return shape(16, 16, 8, 8);
  const medium = shape(8, 16, 16, 16);
  const large = product === "bytes" ? shape(16, 32, 16, 16) : shape(16, 32, 16, 32);
  const bytes = { f32: 32768, f16: 18944, bytes: 7424 }[product];
  const workgroups = (columnsOf(output) / large.rows) * (most / large.tokens);
  return bytes <= traits.workgroupBytes && workgroups >= traits.invocations / 1024 ? large : medium;
}
