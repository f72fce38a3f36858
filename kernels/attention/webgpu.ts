/**
 * The WebGPU kernels of `attention`.
 *
 * @module
 */

import { BackendError } from "../../errors.ts";
import cacheAccess from "../cache_store/access.wgsl" with { type: "text" };
import { cacheHeadWords, cacheRowWords, cacheTypeNumber } from "../cache_store/webgpu.ts";
import { rowShader } from "../row_webgpu.ts";
import { floatBits } from "../numbers.ts";
import {
  bufferOf,
  type Dispatch,
  type GpuTraits,
  groupsFor,
  rowsIn,
  type Shader,
  type WebgpuKernel,
} from "../webgpu_kernel.ts";
import { CURVES } from "../curves_webgpu.ts";
import combine from "./combine.wgsl" with { type: "text" };
import element from "./element.wgsl" with { type: "text" };
import { attentionOperands, biasColumns } from "./op.ts";
import adjusted from "./scores_adjusted.wgsl" with { type: "text" };
import plain from "./scores_plain.wgsl" with { type: "text" };
import sinksCode from "./sinks.wgsl" with { type: "text" };
import tile from "./tile.wgsl" with { type: "text" };
import vector from "./vector.wgsl" with { type: "text" };

const ACCESS = ["read", "read", "read", "read", "write"] as const;

/** WGSL of what becomes of scores, which every shader of one kind begins with, and its bindings. */
const PLAIN = { name: "", code: plain, access: ACCESS };
const ADJUSTED = {
  name: ", adjusted",
  code: `const SINKS_AT = 8;\n${CURVES}${adjusted}${sinksCode}`,
  access: [...ACCESS, "read", "read", "read"] as const,
};

/** The shaders of one kind. */
function shadersFor({ name, code, access }: typeof PLAIN | typeof ADJUSTED) {
  return {
    element: rowShader(`attention${name}`, code + element, access),
    vector: rowShader(`attention${name}, vectors`, code + cacheAccess + vector, access),
    /** For heads of up to 32 · parts elements: the vectors of them that an invocation sums up. */
    tiles: [2, 4, 8].map((parts) => {
      const sizes = `const PARTS = ${parts}u;\nconst SUMS = ${4 * parts}u;\n`;
      const shader: Shader = {
        name: `attention${name}, tiles of ${parts}`,
        code: sizes + code + cacheAccess + tile,
        access,
      };
      return { parts, shader };
    }),
  };
}
const SHADERS = { plain: shadersFor(PLAIN), adjusted: shadersFor(ADJUSTED) };
const COMBINE: Shader = {
  name: "attention, combined",
  code: plain + combine,
  access: ["read", "read", "write"],
};
const COMBINE_SINKS: Shader = {
  name: "attention, combined with sinks",
  code: `const SINKS_AT = 4;\n${sinksCode}${combine}`,
  access: ["read", "read", "write", "read"],
};

/** Queries of one workgroup of tiles, and tokens from which on they are used. */
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
  shaders: [
    ...Object.values(SHADERS).flatMap(({ element, vector, tiles }) => [
      element,
      vector,
      ...tiles.map(({ shader }) => shader),
    ]),
    COMBINE,
    COMBINE_SINKS,
  ],
  encode: (operands, output, attrs, scratch, traits) => {
    const named = attentionOperands(operands, attrs), { q, keys, values, spans, sinks } = named;
    const { heads, scale, softCap = 0 } = attrs;
    const [rows, kvHeads, headDim] = keys.shape as readonly [number, number, number];
    if (headDim > MOST_ELEMENT) {
      throw new BackendError(
        `Cannot compile attention: heads are ${headDim} long, expected at most ${MOST_ELEMENT} ` +
          `on webgpu`,
      );
    }
    const isAdjusted = named.bias !== undefined || sinks !== undefined || softCap !== 0;
    const shaders = isAdjusted ? SHADERS.adjusted : SHADERS.plain;
    const vectors = headDim % 4 === 0 && headDim <= MOST_VECTOR, columns = headDim / 4;
    const lanes = headDim <= 64 ? 64 : 128;
    const splits = vectors ? splitsOf(q.shape[0]!, rows, heads * lanes, traits) : 1;
    const parts = splits > 1 && scratch(16 * q.shape[0]! * heads * splits * (columns + 1));
    const group = heads / kvHeads;
    const { width, center } = biasColumns(named, attrs);
    const words = [
      ...[keys, values].flatMap((it) => [cacheRowWords(it), Math.floor(cacheHeadWords(it))]),
      width,
      center >>> 0,
      floatBits(softCap),
    ];
    const buffersTo = (out: GPUBuffer): GPUBuffer[] => [
      ...[q, keys, values, spans].map(bufferOf),
      out,
      // What is not there is not read.
      ...(isAdjusted ? [named.bias ?? q, named.rows ?? spans, sinks ?? q].map(bufferOf) : []),
    ];
    const constants = {
      KEY_TYPE: cacheTypeNumber(keys),
      VALUE_TYPE: cacheTypeNumber(values),
      ...(isAdjusted && {
        BIAS: attrs.bias === undefined ? 0 : attrs.bias === "shared" ? 1 : 2,
        CAPPED: softCap === 0 ? 0 : 1,
        SINKS: sinks && !parts ? 1 : 0,
      }),
    };
    const tiles = vectors && shaders.tiles.find((it) => headDim <= 32 * it.parts);
    const isTiled = (tokens: number): boolean => !!tiles && rowsIn(q, tokens) >= MANY_TOKENS;
    const attend: Dispatch = {
      shader: vectors ? shaders.vector : shaders.element,
      constants: { WG: lanes, ...constants, ...(vectors && { SPLITS: splits }) },
      buffers: buffersTo(parts || bufferOf(output)),
      params: () => [heads, group, headDim, floatBits(scale), ...words],
      groups: (tokens) => isTiled(tokens) ? [0, 0] : [heads * splits, rowsIn(q, tokens)],
    };
    if (tiles && isTiled(q.shape[0]!)) {
      const queries = (tokens: number): number => rowsIn(q, tokens) * group;
      return [attend, {
        shader: tiles.shader,
        constants,
        buffers: buffersTo(bufferOf(output)),
        params: (tokens) => [queries(tokens), heads, group, columns, floatBits(scale), ...words],
        groups: (tokens) =>
          isTiled(tokens) ? [kvHeads, Math.ceil(queries(tokens) / TILE_QUERIES)] : [0, 0],
      }];
    }
    if (!parts) return [attend];
    const count = (tokens: number): number => rowsIn(q, tokens) * heads * columns;
    return [attend, {
      shader: sinks ? COMBINE_SINKS : COMBINE,
      ...(sinks && { constants: { SINKS: 1 } }),
      buffers: [parts, spans, output, ...(sinks ? [sinks] : [])].map((it) =>
        "slices" in it ? bufferOf(it) : it
      ),
      params: (tokens) => [count(tokens), heads, columns, splits],
      groups: (tokens) => groupsFor(count(tokens), 64),
    }];
  },
};
