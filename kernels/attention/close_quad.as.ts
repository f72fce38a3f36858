// The end of a quad: what it has summed becomes results.

import { addSinks } from "./adjust.as";
import { END, FIRST, OUT, sumsOf, TOTAL } from "./quad.as";

/** Adds sinks, divides the sums by the totals, and writes them to the results. */
export function closeQuad(quad: usize, args: usize, headDim: i32): void {
  if (load<usize>(args, 80)) addSinks(quad, args, headDim);
  const sums = sumsOf(quad, headDim);
  const empty = i32x4.ge_s(v128.load(quad, FIRST), v128.load(quad, END));
  const inverse = f32x4.div(f32x4.splat(1), v128.load(quad, TOTAL));
  let sum = sums;
  for (let left = headDim; left > 0; left--) {
    v128.store(sum, v128.andnot(f32x4.mul(v128.load(sum), inverse), empty));
    sum += 16;
  }
  for (let lane: usize = 0; lane < 4; lane++) {
    let out = load<usize>(quad + (lane << 2), OUT);
    if (out == 0) continue;
    sum = sums + (lane << 2);
    for (let left = headDim; left > 0; left--) {
      store<f32>(out, load<f32>(sum));
      out += 4;
      sum += 16;
    }
  }
}
