// Sums over the inputs of a matrix: quantize/products.ts, in f32 over a text and in f64 over all of them.
// Matrices have `n` columns, a multiple of 8, row-major.

import { madd } from "../simd.as";

/** Panels of 8 columns `[count, 8]`, one after another, of `x` `[count, columns]`; zeros behind the last. */
export function packInputs(
  x: usize,
  minus: usize,
  columns: i32,
  count: i32,
  to: usize,
  first: i32,
  end: i32,
): void {
  const panelBytes = <usize> count << 5;
  for (let panel = first; panel < end; panel++) {
    const width = min(8, columns - (panel << 3));
    let out = to + <usize> panel * panelBytes;
    for (let t = 0; t < count; t++, out += 32) {
      const at = (<usize> t * columns + (<usize> panel << 3)) << 2;
      if (width == 8) {
        let low = v128.load(x + at);
        let high = v128.load(x + at, 16);
        if (minus) {
          low = f32x4.sub(low, v128.load(minus + at));
          high = f32x4.sub(high, v128.load(minus + at, 16));
        }
        v128.store(out, low);
        v128.store(out, high, 16);
        continue;
      }
      v128.store(out, i32x4.splat(0));
      v128.store(out, i32x4.splat(0), 16);
      for (let j = 0; j < width; j++) {
        const from = at + (<usize> j << 2);
        const value = load<f32>(x + from) - (minus ? load<f32>(minus + from) : 0);
        store<f32>(out + (<usize> j << 2), value);
      }
    }
  }
}

/**
 * Adds Σ a·bᵀ over packed inputs to rows of panels `first` to `end` of `sums` `[n, n]`: f64 and only from
 * the diagonal on, or f32 and all of it.
 */
export function addSums(
  a: usize,
  b: usize,
  n: i32,
  count: i32,
  sums: usize,
  isUpper: i32,
  first: i32,
  end: i32,
): void {
  const panelBytes = <usize> count << 5;
  for (let panel = first; panel < end; panel++) {
    for (let part = 0; part < 2; part++) {
      const row = (panel << 3) + (part << 2);
      const from = a + <usize> panel * panelBytes + (<usize> part << 4);
      for (let other = isUpper ? panel : 0; other < n >> 3; other++) {
        const at = <usize> row * n + (<usize> other << 3);
        if (isUpper) addTile(from, b + <usize> other * panelBytes, count, sums + (at << 3), n, 3);
        else addTile(from, b + <usize> other * panelBytes, count, sums + (at << 2), n, 2);
      }
    }
  }
}

/** Adds four rows by eight columns; numbers of `sums` have 1 << `shift` bytes. */
function addTile(a: usize, b: usize, count: i32, sums: usize, n: i32, shift: usize): void {
  let c00 = f32x4.splat(0);
  let c01 = f32x4.splat(0);
  let c10 = f32x4.splat(0);
  let c11 = f32x4.splat(0);
  let c20 = f32x4.splat(0);
  let c21 = f32x4.splat(0);
  let c30 = f32x4.splat(0);
  let c31 = f32x4.splat(0);
  const end = a + (<usize> count << 5);
  for (; a < end; a += 32, b += 32) {
    const low = v128.load(b);
    const high = v128.load(b, 16);
    let x = v128.load32_splat(a);
    c00 = madd(x, low, c00);
    c01 = madd(x, high, c01);
    x = v128.load32_splat(a, 4);
    c10 = madd(x, low, c10);
    c11 = madd(x, high, c11);
    x = v128.load32_splat(a, 8);
    c20 = madd(x, low, c20);
    c21 = madd(x, high, c21);
    x = v128.load32_splat(a, 12);
    c30 = madd(x, low, c30);
    c31 = madd(x, high, c31);
  }
  const stride = <usize> n << shift;
  addEight(sums, c00, c01, shift);
  addEight(sums + stride, c10, c11, shift);
  addEight(sums + 2 * stride, c20, c21, shift);
  addEight(sums + 3 * stride, c30, c31, shift);
}

@inline
function addEight(to: usize, low: v128, high: v128, shift: usize): void {
  if (shift == 2) {
    v128.store(to, f32x4.add(v128.load(to), low));
    v128.store(to, f32x4.add(v128.load(to, 16), high), 16);
    return;
  }
  const lowEnd = v128.shuffle<i64>(low, low, 1, 0);
  const highEnd = v128.shuffle<i64>(high, high, 1, 0);
  v128.store(to, f64x2.add(v128.load(to), f64x2.promote_low_f32x4(low)));
  v128.store(to, f64x2.add(v128.load(to, 16), f64x2.promote_low_f32x4(lowEnd)), 16);
  v128.store(to, f64x2.add(v128.load(to, 32), f64x2.promote_low_f32x4(high)), 32);
  v128.store(to, f64x2.add(v128.load(to, 48), f64x2.promote_low_f32x4(highEnd)), 48);
}
