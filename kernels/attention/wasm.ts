/**
 * The WebAssembly kernel of `attention`.
 *
 * @module
 */

import { headBytes, VALUE_COLUMNS, VALUE_ROWS } from "../cache_store/layout.ts";
import { CACHE_GROUP } from "../cache_store/op.ts";
import { CACHE_TYPES, type CacheType } from "../op.ts";
import { floatBits, type WasmKernel } from "../wasm_kernel.ts";

/** Queries that go through the cache together: four lanes each, as in attention/wasm.as.ts. */
const QUAD = 4;
/** Queries that a task has at least, where there are as many tokens. */
const TASK_QUERIES = 16;
/** Rows whose scores a quad holds. */
const CHUNK = 512;
/** Bytes of a quad's record. */
const RECORD_BYTES = 128;

/**
 * Arguments: q, keys, values, spans, out, address of the token count, kvHeads, query heads per
 * kvHead, headDim, scale, bytes of one kvHead's keys, of its values, type of the keys, of the
 * values (places in CACHE_TYPES), tokens per tile.
 */
export const attentionWasm: WasmKernel<"attention"> = {
  kernels: ["attention"],
  encode([q, keys, values, spans], output, { heads, scale }) {
    const [, kvHeads, headDim] = keys!.shape as readonly [number, number, number];
    const group = heads / kvHeads;
    // Successive tokens share quads: as many as fill whole ones.
    const step = [1, 2, 4].find((it) => it * group % QUAD === 0)!;
    const tileTokens = Math.min(step * Math.ceil(TASK_QUERIES / (step * group)), q!.shape[0]!);
    const quads = Math.ceil(tileTokens * group / QUAD);
    const pieces = Math.ceil(headDim / VALUE_COLUMNS);
    const steps = Math.ceil(headDim / CACHE_GROUP);
    const quadBytes = RECORD_BYTES + 16 * (headDim + steps + CHUNK) + 16 * VALUE_COLUMNS * pieces;
    const roomBytes = 4 * Math.max(8 * headDim, VALUE_ROWS * VALUE_COLUMNS);
    return {
      kernel: "attention",
      args: [
        q!.address,
        keys!.address,
        values!.address,
        spans!.address,
        output.address,
        q!.rows,
        kvHeads,
        group,
        headDim,
        floatBits(scale),
        headBytes(keys!),
        headBytes(values!),
        CACHE_TYPES.indexOf(keys!.dtype as CacheType),
        CACHE_TYPES.indexOf(values!.dtype as CacheType),
        tileTokens,
      ],
      // Two sets of quads, for parts of two kvHeads.
      scratchBytes: roomBytes + 2 * quads * quadBytes,
    };
  },
};
