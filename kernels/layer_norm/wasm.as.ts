// layerNorm. Arguments: x, weight, bias or 0, out, address of the row count, columns, eps.
// Divided by elements, as rmsNorm is.

import { madd } from "../simd.as";
import { flatStart, loadPart, storePart, sumOf, sumOfDeviations } from "../vector.as";

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
  for (; n >= 4; n -= 4) {
    const d = f32x4.sub(f32x4.sub(v128.load(x), high), low);
    const b = bias == 0 ? zero : v128.load(bias);
    v128.store(out, madd(f32x4.mul(d, scale), v128.load(weight), b));
    x += 16;
    weight += 16;
    if (bias != 0) bias += 16;
    out += 16;
  }
  if (n > 0) {
    const d = f32x4.sub(f32x4.sub(loadPart(x, n), high), low);
    const b = bias == 0 ? zero : loadPart(bias, n);
    storePart(out, madd(f32x4.mul(d, scale), loadPart(weight, n), b), n);
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
    const scale = <f32>(1 / sqrt<f64>(sumOfDeviations(x - skip, width, mean) / <f64>width + eps));
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
