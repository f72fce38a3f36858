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
  groupsFor,
  rowsIn,
  type Shader,
  type WebgpuKernel,
} from "../webgpu_kernel.ts";
import combine from "./combine.wgsl" with { type: "text" };
import element from "./element.wgsl" with { type: "text" };
import vector from "./vector.wgsl" with { type: "text" };

const ACCESS = ["read", "read", "read", "read", "write"] as const;
const ELEMENT = rowShader("attention", element, ACCESS);
const VECTOR = rowShader("attention, vectors", access + vector, ACCESS);
const COMBINE: Shader = {
  name: "attention, combined",
  code: combine,
  access: ["read", "read", "write"],
};

/** Longest heads that each shader has room for. */
const MOST_ELEMENT = 1024, MOST_VECTOR = 512;

/** Cache rows from which on one token's spans are divided, and the most parts. */
const SPLIT_ROWS = 256, MOST_SPLITS = 16;

/** Parts of a span: several only where a plan has so few tokens that a GPU would be idle. */
function splitsOf(tokens: number, rows: number): number {
  return tokens > 1 ? 1 : Math.min(MOST_SPLITS, Math.max(1, Math.floor(rows / SPLIT_ROWS)));
}

/** One workgroup for each head of each token, or for each part of its span. */
export const attentionWebgpu: WebgpuKernel<"attention"> = {
  shaders: [ELEMENT, VECTOR, COMBINE],
  encode: ([q, keys, values, spans], output, { heads, scale }, scratch) => {
    const [rows, kvHeads, headDim] = keys!.shape as readonly [number, number, number];
    if (headDim > MOST_ELEMENT) {
      throw new BackendError(
        `Cannot compile attention: heads are ${headDim} long, expected at most ${MOST_ELEMENT} ` +
          `on webgpu`,
      );
    }
    const vectors = headDim % 4 === 0 && headDim <= MOST_VECTOR, columns = headDim / 4;
    const splits = vectors ? splitsOf(q!.shape[0]!, rows) : 1;
    const parts = splits > 1 && scratch(16 * q!.shape[0]! * heads * splits * (columns + 1));
    const attend: Dispatch = {
      shader: vectors ? VECTOR : ELEMENT,
      constants: {
        WG: headDim <= 64 ? 64 : 128,
        KEY_TYPE: cacheTypeNumber(keys!),
        VALUE_TYPE: cacheTypeNumber(values!),
        ...(vectors && { SPLITS: splits }),
      },
      buffers: [...[q!, keys!, values!, spans!].map(bufferOf), parts || bufferOf(output)],
      params: () => [
        heads,
        heads / kvHeads,
        headDim,
        floatBits(scale),
        ...[keys!, values!].flatMap((it) => [cacheRowWords(it), Math.floor(cacheHeadWords(it))]),
      ],
      groups: (tokens) => [heads * splits, rowsIn(q!, tokens)],
    };
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
