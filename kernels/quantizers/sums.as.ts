// Sums over the inputs of a matrix: quantize/products.ts, in whole numbers over a few hundred inputs and
// in floats over all of them. Matrices have `n` columns, a multiple of 8, row-major.

/**
 * The largest whole number that an input becomes: products of 512 inputs, with half as many in one
 * instruction as there are of floats, still add up to what an i32 can hold.
 */
@inline const MOST: f32 = 2047;

/**
 * Inputs x, or z − x where there are z, `[count, columns]`, as whole numbers of each column's own scale:
 * panels of 8 columns `[count / 2, 8, 2]` of i16, one after another, zeros behind the last column and
 * input. Scales go to f32 `scales` `[n]`.
 */
export function packInputs(
  x: usize,
  z: usize,
  columns: i32,
  count: i32,
  to: usize,
  scales: usize,
  first: i32,
  end: i32,
): void {
  const pairs = (count + 1) >> 1;
  for (let panel = first; panel < end; panel++) {
    for (let part = 0; part < 2; part++) {
      const column = (panel << 3) + (part << 2);
      const out = to + <usize> panel * (<usize> pairs << 5) + (<usize> part << 4);
      packFour(x, z, columns, count, column, out, scales + (<usize> column << 2));
    }
  }
}

/** Four columns from `column` on. */
function packFour(
  x: usize,
  z: usize,
  columns: i32,
  count: i32,
  column: i32,
  out: usize,
  scales: usize,
): void {
  let most = f32x4.splat(0);
  for (let t = 0; t < count; t++) {
    most = f32x4.max(most, f32x4.abs(four(x, z, columns, t, column)));
  }
  v128.store(scales, f32x4.div(most, f32x4.splat(MOST)));
  const inverse = v128.and(
    f32x4.div(f32x4.splat(MOST), most),
    f32x4.gt(most, f32x4.splat(1e-30)), // smaller ones have no inverse, and count as 0
  );
  for (let t = 0; t < count; t += 2, out += 32) {
    const even = whole(four(x, z, columns, t, column), inverse);
    const odd = t + 1 < count ? whole(four(x, z, columns, t + 1, column), inverse) : i32x4.splat(0);
    v128.store(out, v128.or(i32x4.shl(odd, 16), v128.and(even, i32x4.splat(0xffff))));
  }
}

@inline
function whole(v: v128, inverse: v128): v128 {
  return i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(v, inverse)));
}

/** Adds squares of inputs `[count, columns]` to f64 `squares` `[n]`, of panels `first` to `end`. */
export function addSquares(
  x: usize,
  columns: i32,
  count: i32,
  squares: usize,
  first: i32,
  end: i32,
): void {
  for (let column = first << 3; column < end << 3; column += 4) {
    const to = squares + (<usize> column << 3);
    let low = v128.load(to);
    let high = v128.load(to, 16);
    for (let t = 0; t < count; t++) {
      const v = four(x, 0, columns, t, column);
      const a = f64x2.promote_low_f32x4(v);
      const b = f64x2.promote_low_f32x4(v128.shuffle<i64>(v, v, 1, 0));
      low = f64x2.add(low, f64x2.mul(a, a));
      high = f64x2.add(high, f64x2.mul(b, b));
    }
    v128.store(to, low);
    v128.store(to, high, 16);
  }
}

/** Numbers of four columns of an input, zeros where there are no more columns. */
@inline
function four(x: usize, z: usize, columns: i32, t: i32, column: i32): v128 {
  const at = (<usize> t * columns + column) << 2;
  if (column + 4 <= columns) {
    return z ? f32x4.sub(v128.load(z + at), v128.load(x + at)) : v128.load(x + at);
  }
  let v = f32x4.splat(0);
  for (let j = 0; j < columns - column; j++) {
    const from = at + (<usize> j << 2);
    const value = z ? load<f32>(z + from) - load<f32>(x + from) : load<f32>(x + from);
    if (j == 0) v = f32x4.replace_lane(v, 0, value);
    else if (j == 1) v = f32x4.replace_lane(v, 1, value);
    else v = f32x4.replace_lane(v, 2, value);
  }
  return v;
}

/**
 * Adds Σ a·bᵀ over at most 512 packed inputs to rows of panels `first` to `end` of `sums` `[n, n]`: f64,
 * row-major and only from the diagonal on, or, where there are `panelBytes`, f32, all of it in panels
 * (multiply.as.ts).
 */
export function addSums(
  a: usize,
  aScales: usize,
  b: usize,
  bScales: usize,
  n: i32,
  count: i32,
  sums: usize,
  panelBytes: usize,
  first: i32,
  end: i32,
): void {
  const bytes = <usize> ((count + 1) >> 1) << 5;
  // A panel of b comes into the cache once for all of those of a.
  for (let other = panelBytes ? 0 : first; other < n >> 3; other++) {
    const last = panelBytes ? end : min(end, other + 1);
    const factors = bScales + (<usize> other << 5);
    for (let panel = first; panel < last; panel++) {
      for (let part = 0; part < 2; part++) {
        const row = (panel << 3) + (part << 2);
        const from = a + <usize> panel * bytes + (<usize> part << 4);
        const scales = aScales + (<usize> row << 2);
        const to = b + <usize> other * bytes;
        if (panelBytes) {
          const out = sums + <usize> other * panelBytes + (<usize> row << 5);
          addTile(from, scales, to, factors, bytes, out, 32, true);
        } else {
          const out = sums + ((<usize> row * n + (<usize> other << 3)) << 3);
          addTile(from, scales, to, factors, bytes, out, <usize> n << 3, false);
        }
      }
    }
  }
}

/** a·b + c over two inputs, in four i32 lanes. */
@inline
function addPairs(c: v128, a: v128, b: v128): v128 {
  return i32x4.add(c, i32x4.dot_i16x8_s(a, b));
}

/** Adds four rows by eight columns to f32 or f64 rows, `stride` bytes apart. */
function addTile(
  a: usize,
  aScales: usize,
  b: usize,
  bScales: usize,
  bytes: usize,
  sums: usize,
  stride: usize,
  isNarrow: bool,
): void {
  let c00 = i32x4.splat(0);
  let c01 = i32x4.splat(0);
  let c10 = i32x4.splat(0);
  let c11 = i32x4.splat(0);
  let c20 = i32x4.splat(0);
  let c21 = i32x4.splat(0);
  let c30 = i32x4.splat(0);
  let c31 = i32x4.splat(0);
  const end = a + bytes;
  for (; a < end; a += 32, b += 32) {
    const low = v128.load(b);
    const high = v128.load(b, 16);
    let x = v128.load32_splat(a);
    c00 = addPairs(c00, x, low);
    c01 = addPairs(c01, x, high);
    x = v128.load32_splat(a, 4);
    c10 = addPairs(c10, x, low);
    c11 = addPairs(c11, x, high);
    x = v128.load32_splat(a, 8);
    c20 = addPairs(c20, x, low);
    c21 = addPairs(c21, x, high);
    x = v128.load32_splat(a, 12);
    c30 = addPairs(c30, x, low);
    c31 = addPairs(c31, x, high);
  }
  addEight(sums, c00, c01, load<f32>(aScales), bScales, isNarrow);
  addEight(sums + stride, c10, c11, load<f32>(aScales, 4), bScales, isNarrow);
  addEight(sums + 2 * stride, c20, c21, load<f32>(aScales, 8), bScales, isNarrow);
  addEight(sums + 3 * stride, c30, c31, load<f32>(aScales, 12), bScales, isNarrow);
}

/** Adds eight sums, each times its column's scale and `scale`. */
@inline
function addEight(to: usize, low: v128, high: v128, scale: f32, scales: usize, isNarrow: bool): void {
  if (isNarrow) {
    const factor = f32x4.splat(scale);
    addFour(to, low, f32x4.mul(factor, v128.load(scales)));
    addFour(to + 16, high, f32x4.mul(factor, v128.load(scales, 16)));
    return;
  }
  const factor = f64x2.splat(<f64> scale);
  addTwo(to, low, factor, scales);
  addTwo(to + 16, v128.shuffle<i64>(low, low, 1, 0), factor, scales + 8);
  addTwo(to + 32, high, factor, scales + 16);
  addTwo(to + 48, v128.shuffle<i64>(high, high, 1, 0), factor, scales + 24);
}

@inline
function addFour(to: usize, sums: v128, factors: v128): void {
  v128.store(to, f32x4.add(v128.load(to), f32x4.mul(f32x4.convert_i32x4_s(sums), factors)));
}

@inline
function addTwo(to: usize, sums: v128, factor: v128, scales: usize): void {
  const factors = f64x2.mul(factor, f64x2.promote_low_f32x4(v128.load64_zero(scales)));
  v128.store(to, f64x2.add(v128.load(to), f64x2.mul(f64x2.convert_low_i32x4_s(sums), factors)));
}

/**
 * Rows `first` to `end` of sums and drift as they are when each input is divided by its column's scale:
 * f32 `inverse` `[n]` is one over these.
 */
export function divideSums(
  sums: usize,
  drift: usize,
  panelBytes: usize,
  n: i32,
  inverse: usize,
  first: i32,
  end: i32,
): void {
  for (let i = first; i < end; i++) {
    const own = <f64> load<f32>(inverse + (<usize> i << 2));
    for (let j = 0; j < n; j++) {
      const factor = own * <f64> load<f32>(inverse + (<usize> j << 2));
      const at = sums + ((<usize> i * n + j) << 3);
      store<f64>(at, load<f64>(at) * factor);
      const off = drift + <usize> (j >> 3) * panelBytes + (<usize> i << 5) + (<usize> (j & 7) << 2);
      store<f32>(off, <f32> (<f64> load<f32>(off) * factor));
    }
  }
}

/** Adds `share` times rows `first` to `end` of f64 `others` to those of `sums`. */
export function addShare(sums: usize, others: usize, n: i32, share: f64, first: i32, end: i32): void {
  const factor = f64x2.splat(share);
  const last = <usize> end * n << 3;
  for (let at = <usize> first * n << 3; at < last; at += 16) {
    const sum = f64x2.mul(v128.load(others + at), factor);
    v128.store(sums + at, f64x2.add(v128.load(sums + at), sum));
  }
}
