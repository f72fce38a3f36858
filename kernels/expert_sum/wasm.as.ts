// expertSum. Arguments: x, weights, out, address of the token count, columns, count. Divided by
// elements, so one token is shared too.

import { madd } from "../simd.as";
import { flatStart, loadPart, storePart } from "../vector.as";

export function expertSum(args: usize, worker: i32, workers: i32): void {
  const columns = load<i32>(args, 16);
  const count = load<i32>(args, 20);
  const all = load<i32>(load<usize>(args, 12)) * columns;
  const end = flatStart(all, worker + 1, workers);
  for (let at = flatStart(all, worker, workers); at < end;) {
    const row = at / columns;
    const column = at - row * columns;
    const n = min(columns - column, end - at);
    const x = load<usize>(args) + ((<usize> row * count * columns + column) << 2);
    const weights = load<usize>(args, 4) + ((<usize> row * count) << 2);
    sumRows(x, weights, load<usize>(args, 8) + (<usize> at << 2), n, count, <usize> columns << 2);
    at += n;
  }
}

/** out = Σ weight·x over `count` rows of `n` floats, `stride` bytes apart. */
function sumRows(x: usize, weights: usize, out: usize, n: i32, count: i32, stride: usize): void {
  const end = weights + (<usize> count << 2);
  for (; n >= 4; n -= 4) {
    let sum = f32x4.splat(0);
    let from = x;
    for (let w = weights; w < end; w += 4) {
      sum = madd(v128.load32_splat(w), v128.load(from), sum);
      from += stride;
    }
    v128.store(out, sum);
    x += 16;
    out += 16;
  }
  if (n > 0) {
    let sum = f32x4.splat(0);
    for (let w = weights; w < end; w += 4) {
      sum = madd(v128.load32_splat(w), loadPart(x, n), sum);
      x += stride;
    }
    storePart(out, sum, n);
  }
}
