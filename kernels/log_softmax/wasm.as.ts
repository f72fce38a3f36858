// logSoftmax. Arguments: x, out, address of the row count, columns. Divided by rows.
// Three passes over a row: its maximum, the sum of the exponentials (which out holds meanwhile), the
// differences.

import { scratch, shareStart } from "../common.as";
import { exponentials, maxOf } from "../softmax/wasm.as";
import { loadPart, storePart } from "../vector.as";

/**
 * The natural logarithm of a sum of exponentials, from 1 to 2^52; NaN stays NaN. x = 2^n · m with m
 * from √½ to √2, and ln m = 2 artanh s with s = (m − 1) / (m + 1), |s| ≤ 0.1716: the series up to
 * s^15 leaves 1e-14.
 */
function logarithm(x: f64): f64 {
  if (!(x >= 1)) return NaN;
  const bits = reinterpret<i64>(x);
  let n = <i32>(bits >> 52) - 1023;
  let m = reinterpret<f64>((bits & 0x000fffffffffffff) | 0x3ff0000000000000);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    n++;
  }
  const s = (m - 1) / (m + 1);
  const z = s * s;
  let sum: f64 = 1.0 / 15;
  for (let k: f64 = 13; k > 0; k -= 2) sum = sum * z + 1 / k;
  return 2 * s * sum + <f64>n * 0.6931471805599453;
}

function logSoftmaxRow(x: usize, out: usize, n: i32, spare: usize): void {
  const max = maxOf(x, n);
  const logSum = <f32>logarithm(exponentials(x, out, n, max, spare));
  const less = f32x4.splat(logSum);
  for (; n >= 4; n -= 4) {
    v128.store(out, f32x4.sub(f32x4.sub(v128.load(x), max), less));
    x += 16;
    out += 16;
  }
  if (n > 0) storePart(out, f32x4.sub(f32x4.sub(loadPart(x, n), max), less), n);
}

export function logSoftmax(args: usize, worker: i32, workers: i32): void {
  const rows = load<i32>(load<usize>(args, 8));
  const columns = load<i32>(args, 12);
  const end = shareStart(rows, worker + 1, workers);
  for (let row = shareStart(rows, worker, workers); row < end; row++) {
    const offset = (<usize>row * columns) << 2;
    logSoftmaxRow(
      load<usize>(args) + offset,
      load<usize>(args, 4) + offset,
      columns,
      scratch(worker),
    );
  }
}
