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

/** Places of scratch buffers: x as tiles take it, and the product with the gate's weight. */
const TILE_INPUT = 0, GATES = 1;

/** Bytes of a block of scaled halves; see halve.wgsl. */
const HALVED_BYTES = 72;

/** One pass over a matrix: what is fused with its product, and where that goes. */
interface Pass {
  readonly matrix: GpuOperand;
  /** Whether the other matrix of a gate is multiplied in the same dispatch. */
  readonly gated?: boolean;
  readonly side: number;
  readonly other: GPUBuffer | undefined;
  readonly to: GPUBuffer;
}

/** The passes of a call; `together` says that both of a gate can be one dispatch. */
function passesOf(call: Prepared, most: number, scratch: Scratch, together: boolean): Pass[] {
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
function vectorDispatches(call: Prepared, most: number, scratch: Scratch): Dispatch[] {
  const { x, gain, bias, output, traits } = call, blocks = blocksOf(columnsOf(call.weight));
  return passesOf(call, Math.min(most, MANY_TOKENS), scratch, isPair(call)).flatMap((pass) =>
    pass.matrix.slices.map((slice): Dispatch => {
      const workgroups = Math.ceil(slice.rows / 4);
      return {
        shader: VECTOR.get(key(call.form, call.layout, call.product))!,
        constants: {
          WG: lanesFor(4 * blocks, workgroups, traits),
          NORMED: gain ? 1 : 0,
          GATED: pass.gated ? 1 : 0,
          ...call.gateConstants,
        },
        buffers: [
          ...planesOf(slice),
          ...[x, gain ?? x, bias ?? x].map(bufferOf),
          pass.other ?? bufferOf(x),
          pass.to,
        ],
        params: (tokens) => params(call, slice, tokens, pass.side),
        groups(tokens) {
          const rows = rowsIn(output, tokens);
          return rows < MANY_TOKENS ? [workgroups, rows] : [0, 0];
        },
      };
    })
  );
}

/** x as tiles take it: normalized, and in halves for products of them. */
function tileInput(call: Prepared, most: number, scratch: Scratch): [GPUBuffer, Dispatch[]] {
  const { x, gain, product, eps } = call, columns = columnsOf(x), blocks = blocksOf(columns);
  const rows = (tokens: number): number => rowsIn(call.output, tokens);
  const onlyTiles = (dispatch: Dispatch): Dispatch => ({
    ...dispatch,
    groups: (tokens) => rows(tokens) < MANY_TOKENS ? [0, 0] : dispatch.groups(tokens),
  });
  if (product === "f16") {
    const halves = scratch(most * blocks * HALVED_BYTES, TILE_INPUT);
    return [halves, [onlyTiles({
      shader: HALVE,
      constants: rowConstants(columns),
      buffers: [bufferOf(x), bufferOf(gain ?? x), halves],
      params: (tokens) => [rows(tokens), columns, blocks, gain ? 1 : 0, floatBits(eps)],
      groups: (tokens) => rowGroups(rows(tokens)),
    })]];
  }
  if (!gain) return [bufferOf(x), []];
  const buffer = scratch(4 * most * columns, TILE_INPUT);
  const output = { ...x, slices: [{ firstRow: 0, rows: most, planes: [buffer] }] };
  const dispatches = rmsNormWebgpu.encode([x, gain], output, { eps }, scratch, call.traits);
  return [buffer, dispatches.map(onlyTiles)];
}

/** The dispatches for many tokens: a tile of rows and tokens to a workgroup. */
function tileDispatches(call: Prepared, most: number, scratch: Scratch): Dispatch[] {
  const { bias, output, product } = call, tile = tileShape(call, most);
  const shader = TILE.get(key(product === "f16" ? "float" : call.form, call.layout, product))!;
  const [x, dispatches] = tileInput(call, most, scratch);
  const passes = passesOf(call, most, scratch, false);
  return dispatches.concat(
    passes.flatMap(({ matrix, side, other, to }) =>
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
function vectorDispatchOfThree(calls: readonly Prepared[]): Dispatch | undefined {
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
  vectors = (most: number) => vectorDispatches(call, most, scratch),
): Dispatch[] {
  const most = rowsIn(call.output, call.output.shape[0]!), dispatches = vectors(most);
  return most < MANY_TOKENS ? dispatches : dispatches.concat(tileDispatches(call, most, scratch));
}

/**
 * For every slice of a weight the vector shader or the tile shader has workgroups, as the number of
 * tokens decides. Queries, keys and values of few tokens are one dispatch where their weights lie
 * together.
 */
export const matmulWebgpu: WebgpuKernel<"matmul"> = {
  shaders: [...VECTOR.values(), ...VECTOR_THREE.values(), HALVE, ...TILE.values()],
  encode: (inputs, output, attrs, scratch, traits) =>
    encode(prepare({ inputs, output, attrs }, traits), scratch),
  together: 3,
  encodeTogether(calls, scratch, traits) {
    const prepared = calls.map((call) => prepare(call, traits));
    const one = vectorDispatchOfThree(prepared);
    return one &&
      prepared.flatMap((call, i) => encode(call, scratch, () => i === 0 ? [one] : []));
  },
};
