/**
 * The WebGPU kernels of `matmul`: which shader (shaders_webgpu.ts) with which workgroups, for few or
 * many tokens, and what is fused with it.
 *
 * @module
 */

import type { LayoutName } from "../../quant/formats.ts";
import { blocksOf } from "../pack/planes.ts";
import { planesOf } from "../pack/weight_webgpu.ts";
import { rmsNormWebgpu } from "../rms_norm/webgpu.ts";
import { rowConstants, rowGroups } from "../row_webgpu.ts";
import {
  bufferOf,
  columnsOf,
  type Dispatch,
  floatBits,
  type GpuCall,
  type GpuOperand,
  type GpuTraits,
  rowsIn,
  type Scratch,
  type Slice,
  type WebgpuKernel,
} from "../webgpu_kernel.ts";
import { type MatmulOperands, matmulOperands } from "./op.ts";
import {
  type Form,
  HALVE,
  key,
  type Product,
  productOf,
  TILE,
  VECTOR,
  VECTOR_THREE,
} from "./shaders_webgpu.ts";

/** Tokens from which on a workgroup unpacks weights for all of them. */
const MANY_TOKENS = 8;

/** What becomes of the tensor `side`; see finish.wgsl. */
const SIDE = { none: 0, added: 1, gate: 2 } as const;

/** Places of scratch buffers: what x was made into, and the product with the gate's weight. */
const MADE = 0, GATES = 1;

/** Bytes of a block of scaled halves; see halve.wgsl. */
const HALVED_BYTES = 72;

/** A tile: rows and tokens of a workgroup, and how its invocations divide them. */
interface TileShape {
  readonly rows: number;
  readonly tokens: number;
  readonly constants: Readonly<Record<string, number>>;
}

/** A call, with what follows from it. */
interface Prepared extends MatmulOperands<GpuOperand> {
  readonly output: GpuOperand;
  readonly eps: number;
  readonly form: Form;
  readonly layout: LayoutName;
  readonly product: Product;
  readonly traits: GpuTraits;
}

function prepare({ inputs, output, attrs }: GpuCall<"matmul">, traits: GpuTraits): Prepared {
  const operands = matmulOperands(inputs, attrs), { x, weight } = operands;
  const layout = weight.dtype as LayoutName;
  const form = x.dtype === "a8" ? "a8" : columnsOf(x) % 4 === 0 ? "float4" : "float";
  const product = productOf(form, layout, traits.arithmetic);
  return { ...operands, output, eps: attrs.eps ?? 0, form, layout, product, traits };
}

/** Words of `params.wgsl`. */
function params(
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
function lanesFor(runs: number, workgroups: number, { invocations }: GpuTraits): number {
  const wanted = Math.min(256, Math.max(64, invocations / workgroups));
  return [8, 16, 32, 64, 128].find((lanes) => lanes >= runs / 2 || lanes >= wanted) ?? 256;
}

/** What one product of a call is multiplied with, and where it goes. */
interface Part {
  readonly matrix: GpuOperand;
  /** Whether the other matrix of a gate is multiplied in the same dispatch. */
  readonly gated?: boolean;
  readonly side: number;
  readonly other: GPUBuffer | undefined;
  readonly to: GPUBuffer;
}

/** The products of a call; `together` says that both of a gate can be one dispatch. */
function partsOf(call: Prepared, most: number, scratch: Scratch, together: boolean): Part[] {
  const { weight, up, residual, output } = call, to = bufferOf(output);
  const side = residual ? SIDE.added : SIDE.none, other = residual && bufferOf(residual);
  if (!up) return [{ matrix: weight, side, other, to }];
  if (together) return [{ matrix: weight, gated: true, side, other, to }];
  const gates = scratch(4 * most * columnsOf(output), GATES);
  return [
    { matrix: weight, side: SIDE.none, other: undefined, to: gates },
    { matrix: up, side: SIDE.gate, other: gates, to },
  ];
}

/** Whether a gate and its partner lie in one place, so that one dispatch can read both. */
function isPair({ weight, up }: Prepared): boolean {
  const [a, ...others] = weight.slices, [b, ...more] = up?.slices ?? [];
  return b !== undefined && others.length === 0 && more.length === 0 &&
    a!.planes.every((plane, i) => plane === b.planes[i]);
}

/** The dispatches for few tokens: four rows and one token to a workgroup. */
function few(call: Prepared, most: number, scratch: Scratch): Dispatch[] {
  const { x, gain, bias, output, traits } = call, blocks = blocksOf(columnsOf(call.weight));
  return partsOf(call, Math.min(most, MANY_TOKENS), scratch, isPair(call)).flatMap((part) =>
    part.matrix.slices.map((slice): Dispatch => {
      const workgroups = Math.ceil(slice.rows / 4);
      return {
        shader: VECTOR.get(key(call.form, call.layout, call.product))!,
        constants: {
          WG: lanesFor(4 * blocks, workgroups, traits),
          NORMED: gain ? 1 : 0,
          GATED: part.gated ? 1 : 0,
        },
        buffers: [
          ...planesOf(slice),
          ...[x, gain ?? x, bias ?? x].map(bufferOf),
          part.other ?? bufferOf(x),
          part.to,
        ],
        params: (tokens) => params(call, slice, tokens, part.side),
        groups(tokens) {
          const rows = rowsIn(output, tokens);
          return rows < MANY_TOKENS ? [workgroups, rows] : [0, 0];
        },
      };
    })
  );
}

/**
 * Small tiles for few tokens, large ones where there are enough of them to keep a GPU busy and its
 * workgroups have the memory.
 */
function tileShape({ output, product, traits }: Prepared, most: number): TileShape {
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

/** x as tiles take it: normalized, and in halves for products of them. */
function made(call: Prepared, most: number, scratch: Scratch): [GPUBuffer, Dispatch[]] {
  const { x, gain, product, eps } = call, columns = columnsOf(x), blocks = blocksOf(columns);
  const rows = (tokens: number): number => rowsIn(call.output, tokens);
  const onlyMany = (dispatch: Dispatch): Dispatch => ({
    ...dispatch,
    groups: (tokens) => rows(tokens) < MANY_TOKENS ? [0, 0] : dispatch.groups(tokens),
  });
  if (product === "f16") {
    const halves = scratch(most * blocks * HALVED_BYTES, MADE);
    return [halves, [onlyMany({
      shader: HALVE,
      constants: rowConstants(columns),
      buffers: [bufferOf(x), bufferOf(gain ?? x), halves],
      params: (tokens) => [rows(tokens), columns, blocks, gain ? 1 : 0, floatBits(eps)],
      groups: (tokens) => rowGroups(rows(tokens)),
    })]];
  }
  if (!gain) return [bufferOf(x), []];
  const buffer = scratch(4 * most * columns, MADE);
  const output = { ...x, slices: [{ firstRow: 0, rows: most, planes: [buffer] }] };
  const dispatches = rmsNormWebgpu.encode([x, gain], output, { eps }, scratch, call.traits);
  return [buffer, dispatches.map(onlyMany)];
}

/** The dispatches for many tokens: a tile of rows and tokens to a workgroup. */
function many(call: Prepared, most: number, scratch: Scratch): Dispatch[] {
  const { bias, output, product } = call, tile = tileShape(call, most);
  const shader = TILE.get(key(product === "f16" ? "float" : call.form, call.layout, product))!;
  const [x, dispatches] = made(call, most, scratch);
  const parts = partsOf(call, most, scratch, false);
  return dispatches.concat(
    parts.flatMap(({ matrix, side, other, to }) =>
      matrix.slices.map((slice): Dispatch => ({
        shader,
        constants: tile.constants,
        buffers: [...planesOf(slice), x, x, bias ? bufferOf(bias) : x, other ?? x, to],
        params: (tokens) => params(call, slice, tokens, side),
        groups(tokens) {
          const rows = rowsIn(output, tokens);
          if (rows < MANY_TOKENS) return [0, 0];
          return [Math.ceil(slice.rows / tile.rows), Math.ceil(rows / tile.tokens)];
        },
      }))
    ),
  );
}

/** One dispatch for few tokens and three weights that lie one after another, if these do. */
function three(calls: readonly Prepared[]): Dispatch | undefined {
  const [a, b, c] = calls as [Prepared, Prepared, Prepared];
  const { x, gain, form, traits } = a, last = calls.length - 1;
  const slices = calls.map(({ weight }) => weight.slices[0]!);
  const fits = form !== "float" &&
    calls.every(({ weight, up, residual, bias, ...call }, i) => {
      const { base = 0, rows, planes } = slices[i]!;
      return weight.slices.length === 1 && !up && !residual && !bias &&
        bufferOf(call.x) === bufferOf(x) && call.layout === a.layout && call.eps === a.eps &&
        (gain ? call.gain && bufferOf(call.gain) === bufferOf(gain) : !call.gain) &&
        planes.every((plane, k) => plane === slices[0]!.planes[k]) &&
        (i === last || (slices[i + 1]!.base ?? 0) === base + rows && rows % 4 === 0);
    });
  if (!fits) return undefined;
  const ends = [slices[0]!.rows, slices[0]!.rows + slices[1]!.rows];
  const whole = { ...slices[0]!, rows: ends[1]! + slices[2]!.rows };
  const workgroups = Math.ceil(whole.rows / 4);
  return {
    shader: VECTOR_THREE.get(key(form, a.layout, a.product))!,
    constants: {
      WG: lanesFor(4 * blocksOf(columnsOf(a.weight)), workgroups, traits),
      NORMED: gain ? 1 : 0,
      GATED: 0,
    },
    buffers: [
      ...planesOf(whole),
      ...[x, gain ?? x, a.output, b.output, c.output].map(bufferOf),
    ],
    params: (tokens) => params(a, whole, tokens, SIDE.none, ends),
    groups(tokens) {
      const rows = rowsIn(a.output, tokens);
      return rows < MANY_TOKENS ? [workgroups, rows] : [0, 0];
    },
  };
}

/** Dispatches for few tokens, and for many where there can be as many. */
function encode(
  call: Prepared,
  scratch: Scratch,
  forFew = (most: number) => few(call, most, scratch),
): Dispatch[] {
  const most = rowsIn(call.output, call.output.shape[0]!), dispatches = forFew(most);
  return most < MANY_TOKENS ? dispatches : dispatches.concat(many(call, most, scratch));
}

/**
 * For every slice of a weight: `few` or `many` has workgroups, as the number of tokens decides.
 * Queries, keys and values of few tokens are one dispatch where their weights lie together.
 */
export const matmulWebgpu: WebgpuKernel<"matmul"> = {
  shaders: [...VECTOR.values(), ...VECTOR_THREE.values(), HALVE, ...TILE.values()],
  encode: (inputs, output, attrs, scratch, traits) =>
    encode(prepare({ inputs, output, attrs }, traits), scratch),
  together: 3,
  encodeTogether(calls, scratch, traits) {
    const prepared = calls.map((call) => prepare(call, traits));
    const one = three(prepared);
    return one &&
      prepared.flatMap((call, i) => encode(call, scratch, () => i === 0 ? [one] : []));
  },
};
