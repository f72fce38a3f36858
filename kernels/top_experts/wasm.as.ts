// topExperts. Arguments: scores, out, address of the token count, experts, count, starts or 0,
// capacity. Divided by rows. One pass over the scores for each expert that is taken: there are few.
// With a capacity, one worker then goes through the choices of all: they are few numbers.

import { barrier } from "../barrier.as";
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
  const starts = load<usize>(args, 20);
  if (starts == 0) return;
  barrier(workers);
  if (worker == 0) drop(load<usize>(args, 4), starts, tokens, count, load<i32>(args, 24));
}

/**
 * Writes −1 over experts that more than `capacity` tokens of a sequence chose. From the last token to
 * the first, so that what each meets before it is still there.
 */
function drop(chosen: usize, starts: usize, tokens: i32, count: i32, capacity: i32): void {
  for (let t = tokens - 1; t >= 0; t--) {
    const first = max(0, load<i32>(starts + (<usize> t << 2)));
    const own = chosen + ((<usize> t * count) << 2);
    const end = own + (<usize> count << 2);
    for (let p = own; p < end; p += 4) {
      const expert = load<i32>(p);
      let found = 1;
      for (let q = chosen + ((<usize> first * count) << 2); q < own; q += 4) {
        if (load<i32>(q) == expert) found++;
      }
      if (found > capacity) store<i32>(p, -1);
    }
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
