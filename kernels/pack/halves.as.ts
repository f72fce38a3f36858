// The header of a packed panel: what kernels need to know of its halves (f16 weights, or scales and
// minimums), namely whether some are Inf or NaN, and the factor from `half << 13` to f32.
//
// Arithmetic on subnormal numbers can be a hundred times slower than on others. Where a panel has
// subnormal halves, all its halves are multiplied by the power of two that takes the largest to the
// top of the range, if that makes every one a normal number; the factor undoes it exactly.

import { PANEL_HEADER as HEADER } from "../constants.as";
import { F16_REBIAS, f16Special } from "../simd.as";


/**
 * Writes the header of a panel whose `count` blocks, `blockBytes` long, start with `vectors` times
 * eight halves: flags (1: Inf or NaN), factor, 8 bytes of zeros.
 */
export function writeHeader(panel: usize, count: i32, blockBytes: usize, vectors: usize): void {
  const magnitude = i16x8.splat(0x7fff);
  const one = i16x8.splat(1);
  const normal = i16x8.splat(0x03ff);
  let largest = i16x8.splat(0);
  let special = i16x8.splat(0);
  let subnormal = i16x8.splat(0);
  const end = panel + HEADER + <usize> count * blockBytes;
  for (let block = panel + HEADER; block < end; block += blockBytes) {
    for (let p = block; p < block + (vectors << 4); p += 16) {
      const v = v128.and(v128.load(p), magnitude);
      largest = i16x8.max_u(largest, v);
      special = v128.or(special, f16Special(v));
      subnormal = v128.or(subnormal, i16x8.lt_u(i16x8.sub(v, one), normal));
    }
  }
  v128.store(panel, i32x4.splat(0));
  store<f32>(panel, F16_REBIAS, 4);
  if (v128.any_true(special)) {
    store<i32>(panel, 1);
    return;
  }
  largest = i16x8.max_u(largest, v128.shuffle<i32>(largest, largest, 2, 3, 0, 1));
  largest = i16x8.max_u(largest, v128.shuffle<i32>(largest, largest, 1, 0, 3, 2));
  const top = max(i16x8.extract_lane_u(largest, 0), i16x8.extract_lane_u(largest, 1));
  const lift = min(30 - <i32> (top >> 10), 15);
  if (lift < 10 || !v128.any_true(subnormal)) return;
  const factor = i32x4.splat((127 + lift) << 23); // 2^lift
  for (let block = panel + HEADER; block < end; block += blockBytes) {
    for (let p = block; p < block + (vectors << 4); p += 16) {
      const v = v128.load(p);
      const low = scaleHalves(i32x4.shl(v, 16), factor);
      v128.store(p, v128.or(i32x4.shr_u(low, 16), scaleHalves(v, factor)));
    }
  }
  store<i32>(panel, (127 + 112 - lift) << 23, 4); // 2^(112 − lift)
}

/** The halves at the top of each lane times `factor`, likewise at the top; all finite. */
@inline
function scaleHalves(v: v128, factor: v128): v128 {
  const bias = i32x4.splat(112 << 23);
  const magnitude = v128.and(v, i32x4.splat(0x7fff0000));
  // Right for normal halves. A subnormal m·2^-24 is read as 2^-15 + m·2^-25: twice that, less 2^-14.
  const y = i32x4.add(i32x4.shr_u(magnitude, 3), bias);
  const value = f32x4.pmin(y, f32x4.sub(f32x4.add(y, y), f32x4.splat(6.103515625e-5)));
  const bits = i32x4.shl(i32x4.sub(f32x4.mul(value, factor), bias), 3);
  const nonzero = i32x4.ne(magnitude, i32x4.splat(0));
  return v128.or(v128.and(bits, nonzero), v128.and(v, i32x4.splat(0x80000000)));
}
