/**
 * The WebAssembly kernel of `attention`.
 *
 * @module
 */

import { headBytes, VALUE_COLUMNS, VALUE_ROWS } from "../cache_store/layout.ts";
import { CACHE_GROUP } from "../cache_store/op.ts";
import { CACHE_TYPES, type CacheType } from "../op.ts";
import { floatBits } from "../numbers.ts";
import type { WasmKernel } from "../wasm_kernel.ts";
import { attentionOperands, biasColumns } from "./op.ts";

/** Queries that go through the cache together: four lanes each, as in attention/wasm.as.ts. */
const QUAD = 4;
/** Queries that a task has at least, where there are as many tokens. */
const TASK_QUERIES = 16;
/**
 * Rows whose scores a quad holds at once, a power of two and at least the 128 rows of a block of values;
 * those of several quads together are to stay in the nearest cache.
 */
export const QUAD_CHUNK = 256;
/** Parts that a worker may keep, each in a set of quads: most that a token's rows are divided into. */
export const MOST_PARTS = 32;
/** Bytes of a quad's record. */
export const QUAD_RECORD_BYTES = 128;

/**
 * Arguments: q, keys, values, spans, out, address of the token count, kvHeads, query heads per
 * kvHead, headDim, scale, bytes of one kvHead's keys, of its values, type of the keys, of the
 * values (places in CACHE_TYPES), tokens per tile; bias or 0, rows or 0, columns of a table of
 * biases, the one of the distance 0, numbers of bias for a token (0 where shared), sinks or 0, the
 * cap of the scores or 0.
 */
export const attentionWasm: WasmKernel<"attention"> = {
  kernels: ["attention"],
  encode(inputs, output, attrs) {
    const operands = attentionOperands(inputs, attrs), { heads, scale } = attrs;
    const { q, keys, values, spans, bias, rows, sinks } = operands;
    const { width, center } = biasColumns(operands, attrs);
    const [, kvHeads, headDim] = keys.shape as readonly [number, number, number];
    const group = heads / kvHeads;
    // Successive tokens share quads: as many as fill whole ones.
    const step = [1, 2, 4].find((it) => it * group % QUAD === 0)!;
    const tileTokens = Math.min(step * Math.ceil(TASK_QUERIES / (step * group)), q.shape[0]!);
    const quads = Math.ceil(tileTokens * group / QUAD);
    const pieces = Math.ceil(headDim / VALUE_COLUMNS);
    const steps = Math.ceil(headDim / CACHE_GROUP);
    const quadBytes = QUAD_RECORD_BYTES + 16 * (headDim + steps + QUAD_CHUNK) +
      16 * VALUE_COLUMNS * pieces;
    const roomBytes = 4 * 2 * Math.max(8 * headDim, VALUE_ROWS * VALUE_COLUMNS);
    return {
      kernel: "attention",
      args: [
        q.address,
        keys.address,
        values.address,
        spans.address,
        output.address,
        q.rows,
        kvHeads,
        group,
        headDim,
        floatBits(scale),
        headBytes(keys),
        headBytes(values),
        CACHE_TYPES.indexOf(keys.dtype as CacheType),
        CACHE_TYPES.indexOf(values.dtype as CacheType),
        tileTokens,
        bias?.address ?? 0,
        rows?.address ?? 0,
        width,
        center,
        attrs.bias === "perQuery" ? heads * width : 0,
        sinks?.address ?? 0,
        floatBits(attrs.softCap ?? 0),
      ],
      scratchBytes: roomBytes + (2 + MOST_PARTS) * quads * quadBytes,
    };
  },
};
