// The factor of sums, and its inverse: `errorFlow` of quant/gptq.ts in blocks, in f64. Matrices are
// square, of `n` columns, a multiple of 8, row-major.

/** a·b + c in two f64 lanes. */
@inline
function madd64(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) {
    return f64x2.relaxed_madd(a, b, c);
  } else {
    return f64x2.add(f64x2.mul(a, b), c);
  }
}

/** Rows of the lower triangle of f64 `m` become those of the upper one. */
export function mirrorRows(m: usize, n: i32, first: i32, end: i32): void {
  const stride = <usize> n << 3;
  for (let i = first; i < end; i++) {
    for (let j = 0; j < i; j++) {
      store<f64>(m + <usize> i * stride + (<usize> j << 3), load<f64>(m + <usize> j * stride + (<usize> i << 3)));
    }
  }
}

/** Rows of the upper triangle of f64 `m` become those of the lower one, and the diagonal `diagonal` plus `damping`. */
export function restoreRows(
  m: usize,
  n: i32,
  diagonal: usize,
  damping: f64,
  first: i32,
  end: i32,
): void {
  const stride = <usize> n << 3;
  for (let i = first; i < end; i++) {
    const row = m + <usize> i * stride;
    const value = load<f64>(diagonal + (<usize> i << 3));
    // A column whose input is always 0 is free.
    store<f64>(row + (<usize> i << 3), value + damping + (value == 0 ? 1 : 0));
    for (let j = i + 1; j < n; j++) {
      store<f64>(row + (<usize> j << 3), load<f64>(m + <usize> j * stride + (<usize> i << 3)));
    }
  }
}

/** Factors the block of rows and columns `from` to `end`: H = M·Mᵀ, M upper triangular; whether H is positive. */
export function factorBlock(m: usize, n: i32, from: i32, end: i32): i32 {
  const stride = <usize> n << 3;
  for (let j = end - 1; j >= from; j--) {
    const row = m + <usize> j * stride;
    let square = load<f64>(row + (<usize> j << 3));
    for (let k = j + 1; k < end; k++) {
      const value = load<f64>(row + (<usize> k << 3));
      square -= value * value;
    }
    if (!(square > 0)) return 0;
    const pivot = sqrt(square);
    store<f64>(row + (<usize> j << 3), pivot);
    for (let i = j - 1; i >= from; i--) solveOne(m + <usize> i * stride, row, j, end, pivot);
  }
  return 1;
}

/** M[i][j] from H[i][j] once M[i][k] is there for all k from j + 1 up to `end`. */
@inline
function solveOne(line: usize, row: usize, j: i32, end: i32, pivot: f64): void {
  let sum = load<f64>(line + (<usize> j << 3));
  for (let k = j + 1; k < end; k++) {
    const at = <usize> k << 3;
    sum -= load<f64>(line + at) * load<f64>(row + at);
  }
  store<f64>(line + (<usize> j << 3), sum / pivot);
}

/** Columns `from` to `end` of rows `first` to `last`, from the factored block. */
export function solveRows(m: usize, n: i32, from: i32, end: i32, first: i32, last: i32): void {
  const stride = <usize> n << 3;
  for (let i = first; i < last; i++) {
    for (let j = end - 1; j >= from; j--) {
      const row = m + <usize> j * stride;
      solveOne(m + <usize> i * stride, row, j, end, load<f64>(row + (<usize> j << 3)));
    }
  }
}

/** Takes what columns `from` to `end` explain from rows `first` to `last` (multiples of 2) before them. */
export function reduceRows(m: usize, n: i32, from: i32, end: i32, first: i32, last: i32): void {
  const stride = <usize> n << 3;
  const begin = <usize> from << 3;
  const length = <usize> (end - from) << 3;
  for (let i = first; i < last; i += 2) {
    const a = m + <usize> i * stride + begin;
    // From a multiple of 4: what lies before the diagonal is restored from the other triangle's side.
    for (let j = i & ~3; j < from; j += 4) {
      const b = m + <usize> j * stride + begin;
      let c00 = f64x2.splat(0);
      let c01 = f64x2.splat(0);
      let c02 = f64x2.splat(0);
      let c03 = f64x2.splat(0);
      let c10 = f64x2.splat(0);
      let c11 = f64x2.splat(0);
      let c12 = f64x2.splat(0);
      let c13 = f64x2.splat(0);
      for (let k: usize = 0; k < length; k += 16) {
        const x = v128.load(a + k);
        const y = v128.load(a + stride + k);
        let z = v128.load(b + k);
        c00 = madd64(x, z, c00);
        c10 = madd64(y, z, c10);
        z = v128.load(b + stride + k);
        c01 = madd64(x, z, c01);
        c11 = madd64(y, z, c11);
        z = v128.load(b + 2 * stride + k);
        c02 = madd64(x, z, c02);
        c12 = madd64(y, z, c12);
        z = v128.load(b + 3 * stride + k);
        c03 = madd64(x, z, c03);
        c13 = madd64(y, z, c13);
      }
      const to = m + <usize> i * stride + (<usize> j << 3);
      take(to, i, j, c00, c01, c02, c03);
      take(to + stride, i + 1, j, c10, c11, c12, c13);
    }
  }
}

/** Takes four sums from row `i`, columns from `j` on, but nothing before the diagonal. */
@inline
function take(to: usize, i: i32, j: i32, a: v128, b: v128, c: v128, d: v128): void {
  if (j >= i) store<f64>(to, load<f64>(to) - both(a));
  if (j + 1 >= i) store<f64>(to + 8, load<f64>(to + 8) - both(b));
  if (j + 2 >= i) store<f64>(to + 16, load<f64>(to + 16) - both(c));
  if (j + 3 >= i) store<f64>(to + 24, load<f64>(to + 24) - both(d));
}

@inline
function both(v: v128): f64 {
  return f64x2.extract_lane(v, 0) + f64x2.extract_lane(v, 1);
}

/** Rows at a time of `invertRows`. */
@inline const STRIP: i32 = 64;

/**
 * Rows `first` to `first + 64` (or to n) of M⁻¹, of the f64 upper triangle `m`, into `out` `[64, n]`.
 */
export function invertRows(m: usize, n: i32, first: i32, out: usize): void {
  const stride = <usize> n << 3;
  const rows = min(STRIP, n - first);
  memory.fill(out, 0, <usize> rows * stride);
  for (let r = 0; r < rows; r++) store<f64>(out + <usize> r * stride + (<usize> (first + r) << 3), 1);
  for (let from = first; from < n; from += STRIP) {
    const end = min(from + STRIP, n);
    for (let r = 0; r < rows; r++) {
      const line = out + <usize> r * stride;
      for (let k = from; k < end; k++) {
        const row = m + <usize> k * stride;
        const value = load<f64>(line + (<usize> k << 3)) / load<f64>(row + (<usize> k << 3));
        store<f64>(line + (<usize> k << 3), value);
        for (let j = k + 1; j < end; j++) {
          const at = line + (<usize> j << 3);
          store<f64>(at, load<f64>(at) - value * load<f64>(row + (<usize> j << 3)));
        }
      }
    }
    for (let j = end; j < n; j += STRIP) {
      takeProduct(out, m, stride, rows, from, end, j, min(j + STRIP, n));
    }
  }
}

/** out[:, j..last] −= out[:, from..end] · m[from..end, j..last]; all of them multiples of 4. */
function takeProduct(
  out: usize,
  m: usize,
  stride: usize,
  rows: i32,
  from: i32,
  end: i32,
  j: i32,
  last: i32,
): void {
  for (let r = 0; r < rows; r += 4) {
    const line = out + <usize> r * stride;
    for (let column = j; column < last; column += 4) {
      const to = line + (<usize> column << 3);
      let c00 = v128.load(to);
      let c01 = v128.load(to, 16);
      let c10 = v128.load(to + stride);
      let c11 = v128.load(to + stride, 16);
      let c20 = v128.load(to + 2 * stride);
      let c21 = v128.load(to + 2 * stride, 16);
      let c30 = v128.load(to + 3 * stride);
      let c31 = v128.load(to + 3 * stride, 16);
      let b = m + <usize> from * stride + (<usize> column << 3);
      for (let k = from; k < end; k++, b += stride) {
        const low = v128.load(b);
        const high = v128.load(b, 16);
        const a = line + (<usize> k << 3);
        let x = f64x2.splat(-load<f64>(a));
        c00 = madd64(x, low, c00);
        c01 = madd64(x, high, c01);
        x = f64x2.splat(-load<f64>(a + stride));
        c10 = madd64(x, low, c10);
        c11 = madd64(x, high, c11);
        x = f64x2.splat(-load<f64>(a + 2 * stride));
        c20 = madd64(x, low, c20);
        c21 = madd64(x, high, c21);
        x = f64x2.splat(-load<f64>(a + 3 * stride));
        c30 = madd64(x, low, c30);
        c31 = madd64(x, high, c31);
      }
      v128.store(to, c00);
      v128.store(to, c01, 16);
      v128.store(to + stride, c10);
      v128.store(to + stride, c11, 16);
      v128.store(to + 2 * stride, c20);
      v128.store(to + 2 * stride, c21, 16);
      v128.store(to + 3 * stride, c30);
      v128.store(to + 3 * stride, c31, 16);
    }
  }
}

/** Rows of f64 `from` as f32 rows `first` and on of `to`, which may lie where the f64 rows before were. */
export function narrowRows(from: usize, n: i32, to: usize, first: i32, rows: i32): void {
  let out = to + (<usize> first * n << 2);
  const end = from + (<usize> rows * n << 3);
  for (; from < end; from += 8, out += 4) store<f32>(out, <f32> load<f64>(from));
}
