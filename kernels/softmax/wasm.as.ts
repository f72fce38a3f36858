// softmax. Arguments: x, out, address of the row count, columns. Divided by rows.
// Three passes over a row: its maximum, the exponentials and their sum, the division.

import { scratch, shareStart } from "../common.as";
import { expShifted } from "../math.as";
import { loadPart, storePart, sumLanes } from "../vector.as";

/** Vectors that are summed in f32 before the sum goes on in float64. */
@inline const RUN: i32 = 256;

/** The greatest of `n` floats in every lane; NaN is passed over. */
export function maxOf(x: usize, n: i32): v128 {
  let m0 = f32x4.splat(-Infinity);
  let m1 = m0;
  let m2 = m0;
  let m3 = m0;
  for (; n >= 16; n -= 16) {
    m0 = f32x4.pmax(m0, v128.load(x));
    m1 = f32x4.pmax(m1, v128.load(x, 16));
    m2 = f32x4.pmax(m2, v128.load(x, 32));
    m3 = f32x4.pmax(m3, v128.load(x, 48));
    x += 64;
  }
  for (; n >= 4; n -= 4) {
    m0 = f32x4.pmax(m0, v128.load(x));
    x += 16;
  }
  if (n > 0) m1 = f32x4.pmax(m1, loadPart(x, n));
  let m = f32x4.pmax(f32x4.pmax(m0, m1), f32x4.pmax(m2, m3));
  m = f32x4.pmax(m, v128.shuffle<i32>(m, m, 2, 3, 0, 1));
  return f32x4.pmax(m, v128.shuffle<i32>(m, m, 1, 0, 3, 2));
}

/** out = exp(x − max) for `n` floats; returns the sum. `spare` has 16 bytes. */
export function exponentials(x: usize, out: usize, n: i32, max: v128, spare: usize): f64 {
  const tail = n & 3;
  let sum: f64 = 0;
  for (let left = n >> 2, at: usize = 0; left > 0; left -= RUN, at += RUN << 4) {
    sum += sumLanes(expShifted(x + at, out + at, min(left, RUN), max));
  }
  if (tail > 0) {
    const last = <usize>(n - tail) << 2;
    v128.store(spare, loadPart(x + last, tail));
    expShifted(spare, spare, 1, max);
    storePart(out + last, v128.load(spare), tail);
    for (let i = 0; i < tail; i++) sum += <f64>load<f32>(spare + (i << 2));
  }
  return sum;
}

function softmaxRow(x: usize, out: usize, n: i32, spare: usize): void {
  const sum = exponentials(x, out, n, maxOf(x, n), spare);
  const tail = n & 3;
  const inverse = f32x4.splat(<f32>(1 / sum));
  for (n -= tail; n > 0; n -= 4) {
    v128.store(out, f32x4.mul(v128.load(out), inverse));
    out += 16;
  }
  if (tail > 0) storePart(out, f32x4.mul(loadPart(out, tail), inverse), tail);
}

export function softmax(args: usize, worker: i32, workers: i32): void {
  const rows = load<i32>(load<usize>(args, 8));
  const columns = load<i32>(args, 12);
  const end = shareStart(rows, worker + 1, workers);
  for (let row = shareStart(rows, worker, workers); row < end; row++) {
    const offset = (<usize>row * columns) << 2;
    softmaxRow(load<usize>(args) + offset, load<usize>(args, 4) + offset, columns, scratch(worker));
  }
}
