/**
 * The WebAssembly kernel of `attention`.
 *
 * @module
 */

import { headBytes, VALUE_COLUMNS, VALUE_ROWS } from "../cache_store/layout.ts";
import { floatBits, type WasmKernel } from "../wasm_kernel.ts";

/** Queries that go through the cache together: four lanes each, as in attention/wasm.as.ts. */
const QUAD = 4;
/** Queries that a task has at least, where there are as many tokens. */
const TASK_QUERIES = 16;
/** Rows whose scores a quad holds. */
const CHUNK = 256;
/** Bytes of a quad's record. */
const RECORD_BYTES = 128;

/**
 * Arguments: q, keys, values, spans, out, address of the token count, kvHeads, query heads per
 * kvHead, headDim, scale, bytes of one kvHead's keys, of its values, 1 where the keys are f16, 1
 * where the values are, tokens per tile.
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
    const quadBytes = RECORD_BYTES + 16 * (headDim + CHUNK) + 16 * VALUE_COLUMNS * pieces;
    const floatBytes = 4 * Math.max(8 * headDim, VALUE_ROWS * VALUE_COLUMNS);
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
        keys!.dtype === "f16" ? 1 : 0,
        values!.dtype === "f16" ? 1 : 0,
        tileTokens,
      ],
      scratchBytes: floatBytes + quads * quadBytes,
    };
  },
};
