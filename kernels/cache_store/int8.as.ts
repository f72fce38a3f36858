// cacheStore into int8; the layouts are in layout.ts, the rounding is in op.ts. Arguments as in
// wasm.as.ts. Divided by heads, then tokens.

import { shareStart } from "../common.as";
import { loadPart } from "../vector.as";

/** Smallest normal number. */
@inline const LEAST_SCALE: f32 = 1.1754943508222875e-38;

/** Bits of the greatest magnitude of `n` floats; Inf and NaN are above all numbers. */
function greatest(x: usize, n: i32): i32 {
  const magnitude = i32x4.splat(0x7fffffff);
  let m = i32x4.splat(0);
  for (; n >= 4; n -= 4) {
    m = i32x4.max_s(m, v128.and(v128.load(x), magnitude));
    x += 16;
  }
  if (n > 0) m = i32x4.max_s(m, v128.and(loadPart(x, n), magnitude));
  m = i32x4.max_s(m, v128.shuffle<i32>(m, m, 2, 3, 0, 1));
  m = i32x4.max_s(m, v128.shuffle<i32>(m, m, 1, 0, 3, 2));
  return i32x4.extract_lane(m, 0);
}

/** Codes of `n` floats, four bytes at a time, to the place of the first of a row of keys. */
@inline
function storeKeyCodes(x: usize, n: i32, inverse: v128, mask: v128, to: usize): void {
  for (; n > 0; n -= 4) {
    const codes = roundFour(n < 4 ? loadPart(x, n) : v128.load(x), inverse, mask);
    v128.store8_lane(to, codes, 0);
    v128.store8_lane(to, codes, 1, 2);
    if (n > 2) {
      v128.store8_lane(to, codes, 2, 16);
      v128.store8_lane(to, codes, 3, 18);
    }
    x += 16;
    to += 32;
  }
}

/** As `storeKeyCodes` for a row of values. */
@inline
function storeValueCodes(x: usize, n: i32, inverse: v128, mask: v128, to: usize): void {
  for (; n > 0; n -= 4) {
    const codes = roundFour(n < 4 ? loadPart(x, n) : v128.load(x), inverse, mask);
    v128.store8_lane(to, codes, 0);
    v128.store8_lane(to, codes, 1, 1);
    if (n > 2) {
      v128.store8_lane(to, codes, 2, 256);
      v128.store8_lane(to, codes, 3, 257);
    }
    x += 16;
    to += 512;
  }
}

/** Four floats as int8 in the first four bytes. */
@inline
function roundFour(x: v128, inverse: v128, mask: v128): v128 {
  // Adding 1.5·2^23 rounds, halves to even, and leaves the integer in the low bits.
  const magic = f32x4.splat(12582912);
  const codes = v128.and(i32x4.sub(f32x4.add(f32x4.mul(x, inverse), magic), magic), mask);
  const halves = i16x8.narrow_i32x4_s(codes, codes);
  return i8x16.narrow_i16x8_s(halves, halves);
}

/** One worker's share; `keys` is a constant. */
@inline
function storeTokens(keys: bool, args: usize, worker: i32, workers: i32): void {
  const tokens = load<i32>(load<usize>(args, 12));
  const kvHeads = load<i32>(args, 16);
  const headDim = load<i32>(args, 20);
  const headBytes = load<usize>(args, 24);
  const groups = <usize>((headDim + 31) >> 5);
  const keyBlock = (<usize>((headDim + 1) >> 1) << 4) + (groups << 5);
  const valueBlock = (<usize>((headDim + 1) >> 1) << 8) + (groups << 9);
  const end = shareStart(kvHeads * tokens, worker + 1, workers);
  for (let unit = shareStart(kvHeads * tokens, worker, workers); unit < end; unit++) {
    const head = unit / tokens;
    const token = unit % tokens;
    const row = <usize>load<i32>(load<usize>(args, 8) + (<usize>token << 2));
    let x = load<usize>(args, 4) + ((<usize>(token * kvHeads + head) * headDim) << 2);
    let to = load<usize>(args) + <usize>head * headBytes;
    to += keys ? (row >> 3) * keyBlock : (row >> 7) * valueBlock;
    // Where the row is among eight: rows r and r + 4 are neighbours.
    const key = ((row & 3) << 2) + (row >> 2 & 1);
    const value = ((row & 0x78) << 1) + ((row & 3) << 2) + (row >> 2 & 1 ? 2 : 0);
    for (let left = headDim; left > 0; left -= 32) {
      const n = min(left, 32);
      const bits = greatest(x, n);
      const most = reinterpret<f32>(bits);
      let scale = most / 127;
      if (bits >= 0x7f800000) scale = NaN;
      if (scale < LEAST_SCALE) scale = 0;
      const inverse = f32x4.splat(<f32>127 / most);
      const mask = i32x4.splat(scale > 0 ? -1 : 0);
      if (keys) {
        storeKeyCodes(x, n, inverse, mask, to + key);
        to += <usize>((n + 1) >> 1) << 4;
        store<f32>(to + ((row & 7) << 2), scale);
        to += 32;
      } else {
        store<f32>(to + ((row & 127) << 2), scale);
        to += 512;
        storeValueCodes(x, n, inverse, mask, to + value);
        to += 4096;
      }
      x += 128;
    }
  }
}

export function cacheStoreKeysInt8(args: usize, worker: i32, workers: i32): void {
  storeTokens(true, args, worker, workers);
}

export function cacheStoreValuesInt8(args: usize, worker: i32, workers: i32): void {
  storeTokens(false, args, worker, workers);
}
