/**
 * The WebGPU kernels of `matmul`: which shader (shaders_webgpu.ts) with which workgroups, for few or
 * many tokens, and what is fused with it.
 *
 * @module
 */

import { blocksOf } from "../pack/planes.ts";
import { planesOf } from "../pack/weight_webgpu.ts";
import { rmsNormWebgpu } from "../rms_norm/webgpu.ts";
import { rowConstants, rowGroups } from "../row_webgpu.ts";
import { columnsOf } from "../op.ts";
import { floatBits } from "../numbers.ts";
import {
  bufferOf,
  type Dispatch,
  type GpuOperand,
  rowsIn,
  type Scratch,
  type WebgpuKernel,
} from "../webgpu_kernel.ts";
import { lanesFor, params, prepare, type Prepared, SIDE, tileShape } from "./call_webgpu.ts";
import { HALVE, key, TILE, VECTOR, VECTOR_THREE } from "./shaders_webgpu.ts";

/** Tokens from which on a workgroup unpacks weights for all of them. */
const MANY_TOKENS = 8;

/** Places of scratch buffers: what x was made into, and the product with the gate's weight. */
const MADE = 0, GATES = 1;

/** Bytes of a block of scaled halves; see halve.wgsl. */
const HALVED_BYTES = 72;

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
          ...call.gateConstants,
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
        constants: { ...tile.constants, ...call.gateConstants },
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
  const { x, gain, form, traits } = a;
  const slices = calls.map(({ weight }) => weight.slices[0]!);
  // Biases have second copies, which lie together as the weights do.
  const copies = calls.flatMap(({ bias }) => bias ? bias.slices : []);
  const bias = copies[0]?.planes[1];
  let rows = 0;
  const fits = form !== "float" &&
    (copies.length === 0 || bias && copies.length === calls.length) &&
    calls.every((call, i) => {
      const { base = 0, planes } = slices[i]!, before = rows;
      rows += slices[i]!.rows;
      return call.weight.slices.length === 1 && !call.up && !call.residual &&
        call.layout === a.layout && call.eps === a.eps && bufferOf(call.x) === bufferOf(x) &&
        (call.gain && bufferOf(call.gain)) === (gain && bufferOf(gain)) &&
        planes.every((plane, k) => plane === slices[0]!.planes[k]) &&
        base === (slices[0]!.base ?? 0) + before && before % 4 === 0 &&
        (!bias || copies[i]!.planes[1] === bias && copies[i]!.base === before);
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
      ...[x, gain ?? x].map(bufferOf),
      bias ?? bufferOf(x),
      ...[a.output, b.output, c.output].map(bufferOf),
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
