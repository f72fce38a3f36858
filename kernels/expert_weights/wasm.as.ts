// expertWeights. Arguments: scores, chosen, out, address of the token count, experts, count, whether
// over all experts. Divided by rows. Scratch: the scores that count, padded to whole vectors.

import { scratch, shareStart } from "../common.as";
import { expShifted } from "../math.as";
import { sumLanes } from "../vector.as";

export function expertWeights(args: usize, worker: i32, workers: i32): void {
  const tokens = load<i32>(load<usize>(args, 12));
  const experts = load<i32>(args, 16);
  const count = load<i32>(args, 20);
  const all = load<i32>(args, 24) != 0;
  const spare = scratch(worker);
  const end = shareStart(tokens, worker + 1, workers);
  let t = shareStart(tokens, worker, workers);
  let scores = load<usize>(args) + ((<usize> t * experts) << 2);
  let chosen = load<usize>(args, 4) + ((<usize> t * count) << 2);
  let out = load<usize>(args, 8) + ((<usize> t * count) << 2);
  for (; t < end; t++) {
    weigh(scores, chosen, out, all ? experts : count, count, all, spare);
    scores += <usize> experts << 2;
    chosen += <usize> count << 2;
    out += <usize> count << 2;
  }
}

/** The weights of one token; `n` scores count. */
function weigh(
  scores: usize,
  chosen: usize,
  out: usize,
  n: i32,
  count: i32,
  all: bool,
  spare: usize,
): void {
  let most: f32 = -Infinity;
  for (let i = 0; i < n; i++) {
    const at = all ? i : load<i32>(chosen + (i << 2));
    const score: f32 = at < 0 ? -Infinity : load<f32>(scores + (at << 2));
    store<f32>(spare + (i << 2), score);
    if (score > most) most = score;
  }
  const padded = (n + 3) & ~3;
  for (let i = n; i < padded; i++) store<f32>(spare + (i << 2), -Infinity);
  const sum = sumLanes(expShifted(spare, spare, padded >> 2, f32x4.splat(most)));
  for (let j = 0; j < count; j++) {
    const expert = load<i32>(chosen + (j << 2));
    const at = all ? expert : j;
    const weight = expert < 0 ? 0 : <f64> load<f32>(spare + (at << 2)) / sum;
    store<f32>(out + (j << 2), <f32> weight);
  }
}
