// layerNorm. Arguments: x, weight, bias or 0, out, address of the row count, columns, eps.
// Divided by elements, as rmsNorm is.

import { madd } from "../simd.as";
import { flatStart, loadPart, storePart, sumOf, sumOfSquares } from "../vector.as";

/** out = (x − mean)·scale·weight + bias for `n` floats; bias may be 0. */
function normalize(
  x: usize,
  weight: usize,
  bias: usize,
  out: usize,
  n: i32,
  mean: f64,
  factor: f32,
): void {
  // The mean in two parts: x − mean is small where x is large, and would lose what f32 cuts off.
  const high = f32x4.splat(<f32>mean);
  const low = f32x4.splat(<f32>(mean - <f64>(<f32>mean)));
  const scale = f32x4.splat(factor);
  const zero = f32x4.splat(0);
  for (; n > 0; n -= 4) {
    const part = n < 4;
    const v = part ? loadPart(x, n) : v128.load(x);
    const w = part ? loadPart(weight, n) : v128.load(weight);
    const b = bias == 0 ? zero : part ? loadPart(bias, n) : v128.load(bias);
    const d = f32x4.sub(f32x4.sub(v, high), low);
    const y = madd(f32x4.mul(d, scale), w, b);
    if (part) {
      storePart(out, y, n);
      return;
    }
    v128.store(out, y);
    x += 16;
    weight += 16;
    if (bias != 0) bias += 16;
    out += 16;
  }
}

export function layerNorm(args: usize, worker: i32, workers: i32): void {
  const bias = load<usize>(args, 8);
  const width = load<i32>(args, 20);
  const count = load<i32>(load<usize>(args, 16)) * width;
  const eps = <f64>load<f32>(args, 24);
  const end = flatStart(count, worker + 1, workers);
  for (let at = flatStart(count, worker, workers); at < end;) {
    const column = at % width;
    const n = min(width - column, end - at);
    const offset = <usize>at << 2;
    const skip = <usize>column << 2;
    const x = load<usize>(args) + offset;
    const mean = sumOf(x - skip, width) / <f64>width;
    const scale = <f32>(1 / sqrt<f64>(sumOfSquares(x - skip, width, mean) / <f64>width + eps));
    normalize(
      x,
      load<usize>(args, 4) + skip,
      bias == 0 ? 0 : bias + skip,
      load<usize>(args, 12) + offset,
      n,
      mean,
      scale,
    );
    at += n;
  }
}
