// topExperts. Arguments: scores, out, address of the token count, experts, count. Divided by rows.
// One pass over the scores for each expert that is taken: there are few.

import { shareStart } from "../common.as";

export function topExperts(args: usize, worker: i32, workers: i32): void {
  const tokens = load<i32>(load<usize>(args, 8));
  const experts = load<i32>(args, 12);
  const count = load<i32>(args, 16);
  const end = shareStart(tokens, worker + 1, workers);
  let t = shareStart(tokens, worker, workers);
  let scores = load<usize>(args) + ((<usize> t * experts) << 2);
  let out = load<usize>(args, 4) + ((<usize> t * count) << 2);
  for (; t < end; t++) {
    takeFrom(scores, experts, out, count);
    scores += <usize> experts << 2;
    out += <usize> count << 2;
  }
}

/** Writes the numbers of the `count` greatest of `n` scores. */
function takeFrom(scores: usize, n: i32, out: usize, count: i32): void {
  // Each is the first of those that come after the last one taken.
  let last: f32 = Infinity;
  let lastAt = -1;
  for (; count > 0; count--) {
    let best: f32 = 0;
    let at = -1;
    for (let i = 0; i < n; i++) {
      let score = load<f32>(scores + (i << 2));
      if (score != score) score = -Infinity;
      const after = score < last || (score == last && i > lastAt);
      if (after && (at < 0 || score > best)) {
        best = score;
        at = i;
      }
    }
    store<i32>(out, at);
    out += 4;
    last = best;
    lastAt = at;
  }
}
