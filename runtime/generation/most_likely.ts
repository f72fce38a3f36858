/**
 * The largest of many logits: the best one, or the k best in order.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";

/**
 * Index of the largest element, the first of equals.
 *
 * @throws ModelError when an element is NaN or Infinity, or all are -Infinity
 */
export function argmax(values: Float32Array): number {
  let best = -1, max = -Infinity;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (!(value < Infinity)) throw notFinite(i, value);
    if (value > max) max = values[best = i]!;
  }
  if (best < 0) throw nothingLeft();
  return best;
}

function notFinite(id: number, value: number): ModelError {
  return new ModelError(
    `Cannot choose a token: the logit of id ${id} is ${value}, expected a finite number, or ` +
      `-Infinity for a word that is ruled out`,
  );
}

function nothingLeft(): ModelError {
  return new ModelError(
    "Cannot choose a token: every logit is -Infinity, so that every word is ruled out",
  );
}

/**
 * Indices of the `count` largest logits (all for 0) that are not -Infinity, largest first; ties by index.
 *
 * @throws ModelError when an element is NaN or Infinity, or all are -Infinity
 */
export function mostLikely(logits: Float32Array, count: number): Uint32Array {
  const all = count === 0 || count >= logits.length;
  const least = all ? -Infinity : leastOfLargest(logits, count);
  // Plain loops: callbacks for 150,000 words would take longer than a small model's token.
  let found = 0;
  const ids = new Uint32Array(logits.length);
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id]!;
    if (!(logit < Infinity)) throw notFinite(id, logit);
    if (logit >= least && logit > -Infinity) ids[found++] = id;
  }
  if (found === 0) throw nothingLeft();
  const order = (a: number, b: number): number => logits[b]! - logits[a]! || a - b;
  return ids.slice(0, found).sort(order).subarray(0, all ? found : count);
}

/** The smallest of the `count` largest logits, through a heap of that many. */
function leastOfLargest(logits: Float32Array, count: number): number {
  const heap = new Float32Array(count).fill(-Infinity); // smallest of the largest first
  for (let i = 0; i < logits.length; i++) {
    const value = logits[i]!;
    if (!(value > heap[0]!)) continue;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= count) break;
      if (child + 1 < count && heap[child + 1]! < heap[child]!) child++;
      if (heap[child]! >= value) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = value;
  }
  return heap[0]!;
}
