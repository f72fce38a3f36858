// rmsNorm. Arguments: x, weight, out, address of the row count, columns, length of weight, eps.
// Divided by elements: a group that falls to two workers is summed by both and written in parts,
// so that the single row of a decode step is shared too.

import { flatStart, loadPart, storePart, sumOfSquares } from "../vector.as";

/** out = x·scale·weight for `n` floats. */
function scaleRow(x: usize, weight: usize, out: usize, n: i32, factor: f32): void {
  const scale = f32x4.splat(factor);
  for (; n >= 8; n -= 8) {
    v128.store(out, f32x4.mul(f32x4.mul(v128.load(x), scale), v128.load(weight)));
    v128.store(out, f32x4.mul(f32x4.mul(v128.load(x, 16), scale), v128.load(weight, 16)), 16);
    x += 32;
    weight += 32;
    out += 32;
  }
  if (n >= 4) {
    n -= 4;
    v128.store(out, f32x4.mul(f32x4.mul(v128.load(x), scale), v128.load(weight)));
    x += 16;
    weight += 16;
    out += 16;
  }
  if (n > 0) {
    storePart(out, f32x4.mul(f32x4.mul(loadPart(x, n), scale), loadPart(weight, n)), n);
  }
}

export function rmsNorm(args: usize, worker: i32, workers: i32): void {
  const count = load<i32>(load<usize>(args, 12)) * load<i32>(args, 16);
  const width = load<i32>(args, 20);
  const eps = <f64>load<f32>(args, 24);
  const end = flatStart(count, worker + 1, workers);
  for (let at = flatStart(count, worker, workers); at < end;) {
    const column = at % width;
    const n = min(width - column, end - at);
    const offset = <usize>at << 2;
    const skip = <usize>column << 2;
    const x = load<usize>(args) + offset;
    const scale = <f32>(1 / sqrt<f64>(sumOfSquares(x - skip, width) / <f64>width + eps));
    scaleRow(x, load<usize>(args, 4) + skip, load<usize>(args, 8) + offset, n, scale);
    at += n;
  }
}
