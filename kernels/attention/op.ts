/**
 * `attention`: scaled dot-product attention of every token over its span of the caches.
 *
 * @module
 */

import { CACHE_TYPES, type Op } from "../op.ts";
import { check, checkCount, checkInput, describe, tensorBytes } from "../shape.ts";

/** Attributes of `attention`. */
export interface AttentionAttributes {
  /** Query heads; a multiple of the caches' kvHeads, which each serve heads / kvHeads of them. */
  readonly heads: number;
  /** Factor of the scores, usually `headDim ** -0.5`. */
  readonly scale: number;
}

/**
 * `out[t, h] = softmax(scale * q[t, h] · K[s, h'] for s in span t) · V[s, h']` with
 * `h' = floor(h * kvHeads / heads)` (Vaswani et al., arXiv:1706.03762; grouped queries:
 * arXiv:2305.13245). Inputs: `q [tokens, heads * headDim]`, `keys` and `values`
 * `[rows, kvHeads, headDim]`, `spans [tokens, 2]`: token t sees cache rows `spans[t, 0]` up to, not
 * including, `spans[t, 1]`. Causal, prefix, bidirectional and windowed masks, padding and batches
 * of sequences are all spans. An empty span gives zeros.
 */
export const attention: Op<AttentionAttributes> = {
  indexes: { input: 3, into: 1, inclusive: true },
  shape(inputs, { heads }) {
    checkCount("attention", inputs, 4);
    const [q, keys, values, spans] = inputs;
    checkInput("attention", "q", q!, { rank: 2 });
    checkInput("attention", "keys", keys!, { role: "keyCache", dtype: CACHE_TYPES, rank: 3 });
    checkInput("attention", "values", values!, { role: "valueCache", dtype: CACHE_TYPES, rank: 3 });
    checkInput("attention", "spans", spans!, { dtype: ["i32"], rank: 2 });
    const [, kvHeads, headDim] = keys!.shape;
    check(
      "attention",
      keys!.shape.every((extent, i) => extent === values!.shape[i]) &&
        q!.shape[1] === heads * headDim! && heads % kvHeads! === 0 &&
        spans!.shape[0] === q!.shape[0] && spans!.shape[1] === 2 &&
        spans!.perToken === q!.perToken,
      `q is ${describe(q!)} with ${heads} heads, keys ${describe(keys!)}, ` +
        `values ${describe(values!)}, spans ${describe(spans!)}, expected heads of one length ` +
        `in groups of equal size and one span per token`,
    );
    return q!;
  },
  reference(out, [q, keys, values, spans], { heads, scale }) {
    const [, kvHeads, headDim] = keys!.shape as [number, number, number];
    const rowWidth = kvHeads * headDim;
    for (let token = 0; token < q!.shape[0]!; token++) {
      const first = spans!.data[2 * token], end = spans!.data[2 * token + 1];
      const scores = new Float64Array(Math.max(0, end - first));
      for (let head = 0; head < heads; head++) {
        const query = (token * heads + head) * headDim; // [headDim] of q and of out
        const column = Math.floor(head * kvHeads / heads) * headDim;
        let max = -Infinity, sum = 0;
        for (let row = first; row < end; row++) {
          let dot = 0;
          for (let i = 0; i < headDim; i++) {
            dot += q!.data[query + i] * keys!.data[row * rowWidth + column + i];
          }
          scores[row - first] = dot * scale;
          max = Math.max(max, scores[row - first]);
        }
        for (let s = 0; s < scores.length; s++) sum += scores[s] = Math.exp(scores[s] - max);
        for (let row = first; row < end; row++) {
          const weight = scores[row - first] / sum;
          for (let i = 0; i < headDim; i++) {
            out.data[query + i] += weight * values!.data[row * rowWidth + column + i];
          }
        }
      }
    }
  },
  cost([q, keys, values]) {
    // Counted for a full cache: the spans are known only at run time.
    const rows = keys!.shape[0]!;
    return {
      flops: 4 * q!.shape[0]! * q!.shape[1]! * rows,
      bytes: tensorBytes(keys!) + tensorBytes(values!) + 2 * tensorBytes(q!),
    };
  },
};
