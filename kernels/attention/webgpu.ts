/**
 * The WebGPU kernels of `attention`.
 *
 * @module
 */

import { BackendError } from "../../errors.ts";
import access from "../cache_store/access.wgsl" with { type: "text" };
import { cacheHeadWords, cacheRowWords, cacheTypeNumber } from "../cache_store/webgpu.ts";
import { rowShader } from "../row_webgpu.ts";
import {
  bufferOf,
  type Dispatch,
  floatBits,
  type GpuTraits,
  groupsFor,
  rowsIn,
  type Shader,
  type WebgpuKernel,
} from "../webgpu_kernel.ts";
import combine from "./combine.wgsl" with { type: "text" };
import element from "./element.wgsl" with { type: "text" };
import tile from "./tile.wgsl" with { type: "text" };
import vector from "./vector.wgsl" with { type: "text" };

const ACCESS = ["read", "read", "read", "read", "write"] as const;
const ELEMENT = rowShader("attention", element, ACCESS);
const VECTOR = rowShader("attention, vectors", access + vector, ACCESS);
const COMBINE: Shader = {
  name: "attention, combined",
  code: combine,
  access: ["read", "read", "write"],
};

/** For heads of up to 32 · parts elements: the vectors of them that an invocation sums up. */
const TILES = [2, 4, 8].map((parts) => {
  const sizes = `const PARTS = ${parts}u;\nconst SUMS = ${4 * parts}u;\n`;
  const shader: Shader = {
    name: `attention, tiles of ${parts}`,
    code: sizes + access + tile,
    access: ACCESS,
  };
  return { parts, shader };
});
/** Queries of one of their workgroups, and tokens from which on they are used. */
const TILE_QUERIES = 32, MANY_TOKENS = 16;

/** Longest heads that each shader has room for. */
const MOST_ELEMENT = 1024, MOST_VECTOR = 512;

/** Cache rows from which on one token's spans are divided, and the most parts. */
const SPLIT_ROWS = 256, MOST_SPLITS = 16;

/** Parts of a span: several only where a plan has so few tokens that a GPU would be idle. */
function splitsOf(tokens: number, rows: number, invocations: number, traits: GpuTraits): number {
  if (tokens > 1 || 4 * invocations >= traits.invocations) return 1;
  return Math.min(MOST_SPLITS, Math.max(1, Math.floor(rows / SPLIT_ROWS)));
}

/**
 * For few tokens a workgroup for each head of each token, or for each part of its span; for many, one
 * for each tile of queries that share keys and values.
 */
export const attentionWebgpu: WebgpuKernel<"attention"> = {
  shaders: [ELEMENT, VECTOR, COMBINE, ...TILES.map(({ shader }) => shader)],
  encode: ([q, keys, values, spans], output, { heads, scale }, scratch, traits) => {
    const [rows, kvHeads, headDim] = keys!.shape as readonly [number, number, number];
    if (headDim > MOST_ELEMENT) {
      throw new BackendError(
        `Cannot compile attention: heads are ${headDim} long, expected at most ${MOST_ELEMENT} ` +
          `on webgpu`,
      );
    }
    const vectors = headDim % 4 === 0 && headDim <= MOST_VECTOR, columns = headDim / 4;
    const lanes = headDim <= 64 ? 64 : 128;
    const splits = vectors ? splitsOf(q!.shape[0]!, rows, heads * lanes, traits) : 1;
    const parts = splits > 1 && scratch(16 * q!.shape[0]! * heads * splits * (columns + 1));
    const group = heads / kvHeads;
    const types = { KEY_TYPE: cacheTypeNumber(keys!), VALUE_TYPE: cacheTypeNumber(values!) };
    const words = [keys!, values!].flatMap(
      (it) => [cacheRowWords(it), Math.floor(cacheHeadWords(it))],
    );
    const inputs = [q!, keys!, values!, spans!].map(bufferOf);
    const tiles = vectors && TILES.find((it) => headDim <= 32 * it.parts);
    const isTiled = (tokens: number): boolean => !!tiles && rowsIn(q!, tokens) >= MANY_TOKENS;
    const attend: Dispatch = {
      shader: vectors ? VECTOR : ELEMENT,
      constants: {
        WG: lanes,
        ...types,
        ...(vectors && { SPLITS: splits }),
      },
      buffers: [...inputs, parts || bufferOf(output)],
      params: () => [heads, group, headDim, floatBits(scale), ...words],
      groups: (tokens) => isTiled(tokens) ? [0, 0] : [heads * splits, rowsIn(q!, tokens)],
    };
    if (tiles && isTiled(q!.shape[0]!)) {
      const queries = (tokens: number): number => rowsIn(q!, tokens) * group;
      return [attend, {
        shader: tiles.shader,
        constants: types,
        buffers: [...inputs, bufferOf(output)],
        params: (tokens) => [queries(tokens), heads, group, columns, floatBits(scale), ...words],
        groups: (tokens) =>
          isTiled(tokens) ? [kvHeads, Math.ceil(queries(tokens) / TILE_QUERIES)] : [0, 0],
      }];
    }
    if (!parts) return [attend];
    const count = (tokens: number): number => rowsIn(q!, tokens) * heads * columns;
    return [attend, {
      shader: COMBINE,
      buffers: [parts, bufferOf(spans!), bufferOf(output)],
      params: (tokens) => [count(tokens), heads, columns, splits],
      groups: (tokens) => groupsFor(count(tokens), 64),
    }];
  },
};
