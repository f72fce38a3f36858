// Products of f32 matrices. They have `n` columns, a multiple of 8, row-major.

import { madd } from "../simd.as";

/** Where `multiply` has its tile of eight columns, f32 `[256, 8]`. */
@inline const TILE: i32 = 256;
/** How a product's second matrix is taken. */
@inline const TRANSPOSED: i32 = 1;
@inline const UPPER: i32 = 2;

/**
 * out += share · a·b for rows `first` to `end` (multiples of 4) of f32 `[rows, n]`. Kinds of `b`
 * `[n, n]`: 0 any, 2 upper triangular, 3 the transpose of such a one.
 */
export function multiply(
  a: usize,
  b: usize,
  out: usize,
  n: i32,
  kind: i32,
  share: f32,
  first: i32,
  end: i32,
  tile: usize,
): void {
  const stride = <usize> n << 2;
  for (let k = 0; k < n; k += TILE) {
    const depth = min(TILE, n - k);
    const from = kind == UPPER ? k : 0;
    const last = kind == (UPPER | TRANSPOSED) ? min(n, k + depth) : n;
    for (let j = from; j < last; j += 8) {
      if (kind & TRANSPOSED) packTransposed(b + <usize> j * stride + (<usize> k << 2), stride, depth, share, tile);
      else packPlain(b + <usize> k * stride + (<usize> j << 2), stride, depth, share, tile);
      for (let i = first; i < end; i += 4) {
        const at = <usize> i * stride;
        multiplyTile(
          a + at + (<usize> k << 2), stride, tile, depth, out + at + (<usize> j << 2), stride,
        );
      }
    }
  }
}

function packPlain(b: usize, stride: usize, depth: i32, share: f32, to: usize): void {
  const factor = f32x4.splat(share);
  for (let k = 0; k < depth; k++, b += stride, to += 32) {
    v128.store(to, f32x4.mul(v128.load(b), factor));
    v128.store(to, f32x4.mul(v128.load(b, 16), factor), 16);
  }
}

function packTransposed(b: usize, stride: usize, depth: i32, share: f32, to: usize): void {
  for (let j: usize = 0; j < 8; j++, b += stride) {
    let out = to + (j << 2);
    for (let k: usize = 0; k < <usize> depth; k++, out += 32) {
      store<f32>(out, load<f32>(b + (k << 2)) * share);
    }
  }
}

/** Adds four rows of `a` times a tile to eight columns of `out`. */
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

/** Rows of zeros. */
export function clearRows(to: usize, n: i32, rows: i32): void {
  memory.fill(to, 0, <usize> n * rows << 2);
}

/** Rows once more. */
export function copyRows(from: usize, to: usize, n: i32, rows: i32): void {
  memory.copy(to, from, <usize> n * rows << 2);
}
