/**
 * `attention`: scaled dot-product attention of every token over its span of the caches.
 *
 * @module
 */

import { quote } from "../../escape.ts";
import { CACHE_TYPES, type Op, type TensorType } from "../op.ts";
import { check, checkCount, checkInput, describe, tensorBytes } from "../shape.ts";

/** Attributes of `attention`. */
export interface AttentionAttributes {
  /** Query heads; a multiple of the caches' kvHeads, which each serve heads / kvHeads of them. */
  readonly heads: number;
  /** Factor of the scores, usually `headDim ** -0.5`. */
  readonly scale: number;
  /** Bounds scaled scores softly: `softCap * tanh(score / softCap)` (Gemma 2, arXiv:2408.00118). */
  readonly softCap?: number;
  /**
   * Takes `bias` and `rows`, and adds to each score an entry of `bias` that is chosen by the distance
   * of the two rows. `shared`: one table for all queries, as in T5 (arXiv:1910.10683) and ALiBi
   * (arXiv:2108.12409). `perQuery`: a table for each, as in Transformer-XL (arXiv:1901.02860).
   */
  readonly bias?: "shared" | "perQuery";
  /** Column of the distance 0, the query's own row; the middle one where absent. */
  readonly center?: number;
  /** Takes `sinks`: a score per head that joins the sum of a softmax and has no value (gpt-oss). */
  readonly sinks?: boolean;
}

/** The inputs of attention by name. */
export interface AttentionOperands<T> {
  /** `[tokens, heads * headDim]`. */
  readonly q: T;
  /** `[rows, kvHeads, headDim]`. */
  readonly keys: T;
  /** As `keys`. */
  readonly values: T;
  /** `[tokens, 2]` of i32. */
  readonly spans: T;
  /** `[heads, width]` or `[tokens, heads * width]`. */
  readonly bias: T | undefined;
  /** `[tokens]` of i32. */
  readonly rows: T | undefined;
  /** `[heads]`. */
  readonly sinks: T | undefined;
}

/** Names the inputs: q, keys, values, spans, then those that the attributes ask for. */
export function attentionOperands<T>(
  [q, keys, values, spans, ...rest]: readonly T[],
  attrs: AttentionAttributes,
): AttentionOperands<T> {
  return {
    q: q!,
    keys: keys!,
    values: values!,
    spans: spans!,
    bias: attrs.bias && rest.shift(),
    rows: attrs.bias && rest.shift(),
    sinks: attrs.sinks ? rest.shift() : undefined,
  };
}

/** Columns of a table of biases, and the one of the distance 0. */
export function biasColumns(
  { bias }: AttentionOperands<{ readonly shape: readonly number[] }>,
  { heads, bias: kind, center }: AttentionAttributes,
): { width: number; center: number } {
  const width = bias ? bias.shape[1]! / (kind === "perQuery" ? heads : 1) : 1;
  return { width, center: center ?? (width - 1) / 2 };
}

/** Farthest center: rows and centers are added in 32 bits. */
const MOST_CENTER = 2 ** 24;

/**
 * `out[t, h] = softmax(score(t, h, s) for s in span t) · V[s, h']` with
 * `score(t, h, s) = scale * q[t, h] · K[s, h']` and `h' = floor(h * kvHeads / heads)` (Vaswani et al.,
 * arXiv:1706.03762; grouped queries: arXiv:2305.13245).
 *
 * Inputs: `q [tokens, heads * headDim]`, `keys` and `values` `[rows, kvHeads, headDim]`,
 * `spans [tokens, 2]`: token t sees cache rows `spans[t, 0]` up to, not including, `spans[t, 1]`.
 * Causal, prefix, bidirectional and windowed masks, padding and batches of sequences are all spans. An
 * empty span gives zeros.
 *
 * With the attribute `softCap`, the score becomes `softCap * tanh(score / softCap)`.
 *
 * With the attribute `bias` two more inputs follow: `bias`, f32, and `rows [tokens]` of i32, the cache
 * row of each query's own token. `score(t, h, s)` is then increased, after the cap, by column
 * `clamp(s - rows[t] + center, 0, width - 1)` of row h of `bias [heads, width]`, or of part h of row t
 * of `bias [tokens, heads * width]`. (A bias that stays the same beyond some distance, as T5's
 * buckets do, needs no column beyond it.)
 *
 * With the attribute `sinks` one more input follows, last of all: `sinks [heads]`. The weights of head
 * h are `exp(score) / (exp(sinks[h]) + sum of exp(score))`: the sink is neither scaled nor capped.
 */
export const attention: Op<AttentionAttributes> = {
  indexes: { input: 3, into: 1, inclusive: true },
  shape(inputs, attrs) {
    const { heads, softCap, bias: kind } = attrs;
    check(
      "attention",
      kind === undefined || kind === "shared" || kind === "perQuery",
      () => `bias is ${quote(kind!)}, expected "shared" or "perQuery"`,
    );
    checkCount("attention", inputs, 4 + (kind ? 2 : 0) + (attrs.sinks ? 1 : 0));
    const operands = attentionOperands(inputs, attrs), { q, keys, values, spans } = operands;
    checkInput("attention", "q", q, { rank: 2 });
    checkInput("attention", "keys", keys, { role: "keyCache", dtype: CACHE_TYPES, rank: 3 });
    checkInput("attention", "values", values, { role: "valueCache", dtype: CACHE_TYPES, rank: 3 });
    checkInput("attention", "spans", spans, { dtype: ["i32"], rank: 2 });
    const [, kvHeads, headDim] = keys.shape;
    check(
      "attention",
      keys.shape.every((extent, i) => extent === values.shape[i]) &&
        q.shape[1] === heads * headDim! && heads % kvHeads! === 0 &&
        spans.shape[0] === q.shape[0] && spans.shape[1] === 2 &&
        spans.perToken === q.perToken,
      () =>
        `q is ${describe(q)} with ${heads} heads, keys ${describe(keys)}, ` +
        `values ${describe(values)}, spans ${describe(spans)}, expected heads of one length ` +
        `in groups of equal size and one span per token`,
    );
    check(
      "attention",
      softCap === undefined || softCap > 0 && Number.isFinite(softCap),
      () => `softCap is ${softCap}, expected a number above 0`,
    );
    checkMore(operands, attrs);
    return q;
  },
  reference(out, inputs, attrs) {
    const { heads, scale, softCap, bias: kind } = attrs;
    const operands = attentionOperands(inputs, attrs);
    const { q, keys, values, spans, bias, rows, sinks } = operands;
    const { width, center } = biasColumns(operands, attrs);
    const [, kvHeads, headDim] = keys.shape as [number, number, number];
    const rowWidth = kvHeads * headDim;
    for (let token = 0; token < q.shape[0]!; token++) {
      const first = spans.data[2 * token], end = spans.data[2 * token + 1];
      const scores = new Float64Array(Math.max(0, end - first));
      for (let head = 0; head < heads; head++) {
        const query = (token * heads + head) * headDim; // [headDim] of q and of out
        const column = Math.floor(head * kvHeads / heads) * headDim;
        const table = (kind === "perQuery" ? token * heads + head : head) * width; // [width] of bias
        let max = -Infinity, sum = 0;
        for (let row = first; row < end; row++) {
          let dot = 0;
          for (let i = 0; i < headDim; i++) {
            dot += q.data[query + i] * keys.data[row * rowWidth + column + i];
          }
          let score = dot * scale;
          if (softCap !== undefined) score = softCap * Math.tanh(score / softCap);
          if (bias) {
            const at = row - rows!.data[token] + center;
            score += bias.data[table + Math.min(Math.max(at, 0), width - 1)];
          }
          scores[row - first] = score;
          max = Math.max(max, score);
        }
        if (sinks) {
          max = Math.max(max, sinks.data[head]);
          sum = Math.exp(sinks.data[head] - max);
        }
        for (let s = 0; s < scores.length; s++) sum += scores[s] = Math.exp(scores[s] - max);
        for (let row = first; row < end; row++) {
          const weight = scores[row - first] / sum;
          for (let i = 0; i < headDim; i++) {
            out.data[query + i] += weight * values.data[row * rowWidth + column + i];
          }
        }
      }
    }
  },
  cost([q, keys, values, , ...more]) {
    // Counted for a full cache: the spans are known only at run time.
    const rows = keys!.shape[0]!;
    return {
      flops: 4 * q!.shape[0]! * q!.shape[1]! * rows,
      bytes: tensorBytes(keys!) + tensorBytes(values!) + 2 * tensorBytes(q!) +
        more.reduce((sum, type) => sum + tensorBytes(type), 0),
    };
  },
};

/** Checks what the attributes ask for. */
function checkMore(operands: AttentionOperands<TensorType>, attrs: AttentionAttributes): void {
  const { q, bias, rows, sinks } = operands, { heads, bias: kind } = attrs;
  if (bias && rows) {
    checkInput("attention", "bias", bias, { rank: 2 });
    checkInput("attention", "rows", rows, { dtype: ["i32"], rank: 1 });
    const { width, center } = biasColumns(operands, attrs);
    check(
      "attention",
      rows.shape[0] === q.shape[0] && rows.perToken === q.perToken &&
        (kind === "shared"
          ? bias.shape[0] === heads && !bias.perToken
          : bias.shape[0] === q.shape[0] && bias.perToken === q.perToken &&
            Number.isInteger(width)),
      () =>
        `bias is ${describe(bias)} and rows ${describe(rows)}, expected ` +
        (kind === "shared" ? `[${heads}, width]` : `[tokens, ${heads} * width]`) +
        ` and one row per token of q, ${describe(q)}`,
    );
    check(
      "attention",
      Number.isInteger(center) && Math.abs(center) <= MOST_CENTER,
      () => `center is ${center} of ${width} columns, expected a whole number up to ${MOST_CENTER}`,
    );
  }
  if (sinks) {
    checkInput("attention", "sinks", sinks, { rank: 1 });
    check(
      "attention",
      sinks.shape[0] === heads && !sinks.perToken,
      () => `sinks is ${describe(sinks)}, expected one number for each of ${heads} heads`,
    );
  }
}
