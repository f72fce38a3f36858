// Products of f32 matrices. Rows have a multiple of 8 columns, `stride` bytes apart. What others are
// multiplied with lies in panels `[n, 8]` of eight columns, `panelBytes` apart: a product reads each from
// its beginning to its end.

import { madd } from "../simd.as";

/** Columns of the first matrix that are taken at a time: so many of 64 rows fit in a core's cache. */
@inline const DEPTH: i32 = 256;
/** Kinds of right-hand matrices: below and above which rows of a panel there are zeros. */
@inline const UPPER: i32 = 1;
@inline const LOWER: i32 = 2;

/**
 * out += a·b for `rows` rows (a multiple of 4), b `[n, n]` in panels. Kinds of b: 0 any, 1 upper
 * triangular, 2 lower triangular.
 */
export function multiply(
  a: usize,
  stride: usize,
  rows: i32,
  b: usize,
  panelBytes: usize,
  n: i32,
  kind: i32,
  out: usize,
): void {
  const panels = n >> 3;
  for (let k = 0; k < n; k += DEPTH) {
    const first = kind == UPPER ? k >> 3 : 0;
    const last = kind == LOWER ? min(panels, (k + DEPTH) >> 3) : panels;
    for (let panel = first; panel < last; panel++) {
      // Zeros are left out by whole panels' widths.
      const from = kind == LOWER ? max(k, panel << 3) : k;
      const end = kind == UPPER ? min(k + DEPTH, (panel + 1) << 3) : min(k + DEPTH, n);
      const tile = b + <usize> panel * panelBytes + (<usize> from << 5);
      const to = out + (<usize> panel << 5);
      for (let i = 0; i < rows; i += 4) {
        const row = a + <usize> i * stride + (<usize> from << 2);
        multiplyTile(row, stride, tile, end - from, to + <usize> i * stride, stride);
      }
    }
  }
}

/** Adds four rows of `a` times a tile `[depth, 8]` to eight columns of `out`. */
export function multiplyTile(
  a: usize,
  aStride: usize,
  tile: usize,
  depth: i32,
  out: usize,
  stride: usize,
): void {
  let c00 = v128.load(out);
  let c01 = v128.load(out, 16);
  let c10 = v128.load(out + stride);
  let c11 = v128.load(out + stride, 16);
  let c20 = v128.load(out + 2 * stride);
  let c21 = v128.load(out + 2 * stride, 16);
  let c30 = v128.load(out + 3 * stride);
  let c31 = v128.load(out + 3 * stride, 16);
  const end = tile + (<usize> depth << 5);
  const a1 = a + aStride;
  const a2 = a1 + aStride;
  const a3 = a2 + aStride;
  for (let k: usize = 0; tile < end; tile += 32, k += 4) {
    const low = v128.load(tile);
    const high = v128.load(tile, 16);
    let x = v128.load32_splat(a + k);
    c00 = madd(x, low, c00);
    c01 = madd(x, high, c01);
    x = v128.load32_splat(a1 + k);
    c10 = madd(x, low, c10);
    c11 = madd(x, high, c11);
    x = v128.load32_splat(a2 + k);
    c20 = madd(x, low, c20);
    c21 = madd(x, high, c21);
    x = v128.load32_splat(a3 + k);
    c30 = madd(x, low, c30);
    c31 = madd(x, high, c31);
  }
  v128.store(out, c00);
  v128.store(out, c01, 16);
  v128.store(out + stride, c10);
  v128.store(out + stride, c11, 16);
  v128.store(out + 2 * stride, c20);
  v128.store(out + 2 * stride, c21, 16);
  v128.store(out + 3 * stride, c30);
  v128.store(out + 3 * stride, c31, 16);
}

/** So many bytes of zeros. */
export function clear(to: usize, bytes: usize): void {
  memory.fill(to, 0, bytes);
}

/** So many bytes once more. */
export function copy(from: usize, to: usize, bytes: usize): void {
  memory.copy(to, from, bytes);
}

/** Numbers times `factor`, in their place; `bytes` is a multiple of 16. */
export function scaleNumbers(at: usize, bytes: usize, factor: f32): void {
  const factors = f32x4.splat(factor);
  for (const end = at + bytes; at < end; at += 16) v128.store(at, f32x4.mul(v128.load(at), factors));
}

/** Rows `first` to `first + rows` of a matrix in panels, one after another, `stride` bytes apart. */
export function unpackRows(
  b: usize,
  panelBytes: usize,
  n: i32,
  first: i32,
  rows: i32,
  to: usize,
  stride: usize,
): void {
  for (let panel = 0; panel < n >> 3; panel++, b += panelBytes, to += 32) {
    let from = b + (<usize> first << 5);
    let out = to;
    for (let i = 0; i < rows; i++, from += 32, out += stride) {
      v128.store(out, v128.load(from));
      v128.store(out, v128.load(from, 16), 16);
    }
  }
}

/** Rows, `stride` bytes apart, into a matrix in panels, from `to` on. */
export function packRows(
  a: usize,
  stride: usize,
  n: i32,
  rows: i32,
  to: usize,
  panelBytes: usize,
): void {
  for (let panel = 0; panel < n >> 3; panel++, a += 32, to += panelBytes) {
    let from = a;
    let out = to;
    for (let i = 0; i < rows; i++, from += stride, out += 32) {
      v128.store(out, v128.load(from));
      v128.store(out, v128.load(from, 16), 16);
    }
  }
}

/** Panels `first` to `end` of the transpose of an upper triangular matrix in panels. */
export function transposePanels(
  upper: usize,
  panelBytes: usize,
  n: i32,
  to: usize,
  first: i32,
  end: i32,
): void {
  for (let panel = first; panel < end; panel++) {
    for (let other = panel; other < n >> 3; other++) {
      const from = upper + <usize> other * panelBytes + (<usize> panel << 8);
      const out = to + <usize> panel * panelBytes + (<usize> other << 8);
      for (let i: usize = 0; i < 8; i++) {
        for (let j: usize = 0; j < 8; j++) {
          store<f32>(out + (j << 5) + (i << 2), load<f32>(from + (i << 5) + (j << 2)));
        }
      }
    }
  }
}
