// cacheStore: one kernel per kind of cache and element type; the layouts are in layout.ts.
// Arguments: cache, x, rows, address of the token count, kvHeads, headDim, bytes of a head's part.
// Divided by heads, then tokens.

import { shareStart } from "../common.as";
import { loadPart } from "../vector.as";

/**
 * Four floats as halves in the low 16 bits of the lanes, to nearest, ties to even; too large
 * becomes Inf, NaN a quiet NaN.
 */
@inline
function toHalves(v: v128): v128 {
  const bits = v128.and(v, i32x4.splat(0x7fffffff));
  const sign = v128.and(i32x4.shr_u(v, 16), i32x4.splat(0x8000));
  // Normal: round at bit 13 and move the exponent's bias from 127 to 15.
  const odd = v128.and(i32x4.shr_u(bits, 13), i32x4.splat(1));
  const rounded = i32x4.add(i32x4.add(bits, odd), i32x4.splat(0xfff - (112 << 23)));
  let half = i32x4.shr_u(rounded, 13);
  // Below 2^-14: adding 0.5 rounds to a multiple of 2^-24, which is left in the low bits.
  const shifted = i32x4.sub(f32x4.add(bits, f32x4.splat(0.5)), i32x4.splat(0x3f000000));
  half = v128.bitselect(shifted, half, i32x4.lt_s(bits, i32x4.splat(113 << 23)));
  // From 65520 on: Inf, or NaN.
  half = v128.bitselect(i32x4.splat(0x7c00), half, i32x4.ge_s(bits, i32x4.splat(0x477ff000)));
  half = v128.bitselect(i32x4.splat(0x7e00), half, i32x4.gt_s(bits, i32x4.splat(0x7f800000)));
  return v128.or(half, sign);
}

/** Elements `n` and up of one token's key to its row; `to` is element 0's place. */
@inline
function storeKey(half: bool, x: usize, to: usize, n: i32): void {
  if (half) {
    for (; n >= 4; n -= 4) {
      const h = toHalves(v128.load(x));
      v128.store16_lane(to, h, 0);
      v128.store16_lane(to, h, 2, 16);
      v128.store16_lane(to, h, 4, 32);
      v128.store16_lane(to, h, 6, 48);
      x += 16;
      to += 64;
    }
    for (; n > 0; n--) {
      v128.store16_lane(to, toHalves(v128.load32_splat(x)), 0);
      x += 4;
      to += 16;
    }
  } else {
    for (; n > 0; n--) {
      store<f32>(to, load<f32>(x));
      x += 4;
      to += 32;
    }
  }
}

/** One token's value to its row; `to` is the place of its first eight elements. */
@inline
function storeValue(half: bool, x: usize, to: usize, n: i32): void {
  // Pieces of eight elements are 64 rows of eight apart; the padding of the last one is not read.
  const piece: usize = half ? 1024 : 2048;
  const mid: usize = half ? 8 : 16;
  for (let odd: usize = 0; n > 0; n -= 4) {
    const v = n < 4 ? loadPart(x, n) : v128.load(x);
    const at = to + odd * mid;
    if (half) {
      const h = toHalves(v);
      v128.store64_lane(at, i16x8.narrow_i32x4_u(h, h), 0);
    } else {
      v128.store(at, v);
    }
    x += 16;
    to += odd * piece;
    odd ^= 1;
  }
}

/** One worker's share; `keys` and `half` are constants. */
@inline
function storeTokens(keys: bool, half: bool, args: usize, worker: i32, workers: i32): void {
  const tokens = load<i32>(load<usize>(args, 12));
  const kvHeads = load<i32>(args, 16);
  const headDim = load<i32>(args, 20);
  const headBytes = load<usize>(args, 24);
  const size: usize = half ? 2 : 4;
  const end = shareStart(kvHeads * tokens, worker + 1, workers);
  for (let unit = shareStart(kvHeads * tokens, worker, workers); unit < end; unit++) {
    const head = unit / tokens;
    const token = unit % tokens;
    const row = <usize>load<i32>(load<usize>(args, 8) + (<usize>token << 2));
    const x = load<usize>(args, 4) + ((<usize>(token * kvHeads + head) * headDim) << 2);
    const part = load<usize>(args) + <usize>head * headBytes;
    if (keys) {
      storeKey(half, x, part + ((row >> 3) * (headDim << 3) + (row & 7)) * size, headDim);
    } else {
      const block = <usize>((headDim + 7) >> 3) << 9; // elements of 64 rows
      storeValue(half, x, part + ((row >> 6) * block + ((row & 63) << 3)) * size, headDim);
    }
  }
}

export function cacheStoreKeys(args: usize, worker: i32, workers: i32): void {
  storeTokens(true, false, args, worker, workers);
}

export function cacheStoreKeysF16(args: usize, worker: i32, workers: i32): void {
  storeTokens(true, true, args, worker, workers);
}

export function cacheStoreValues(args: usize, worker: i32, workers: i32): void {
  storeTokens(false, false, args, worker, workers);
}

export function cacheStoreValuesF16(args: usize, worker: i32, workers: i32): void {
  storeTokens(false, true, args, worker, workers);
}
