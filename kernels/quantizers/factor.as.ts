// The factor of sums, and its inverse: `errorFlow` of quant/gptq.ts in blocks, in f32, as the paper's own
// program has it. The factor M lies where the sums were: a row of f32 `[n]`, upper triangular, and behind
// it a row of the sums. Its inverse U is made in panels (multiply.as.ts), from the last rows on.

import { multiplyTile } from "./multiply.as";

/** Rows and columns of a block. */
@inline const STRIP: i32 = 64;
/** Bytes between rows of what is packed of a block. */
@inline const PACKED: usize = 256;
/** Columns of what rows of M are multiplied with at a time. */
@inline const DEPTH: i32 = 256;

// What a block leaves for the steps after it, in `block`.
/** f64 `[64, 64]`: the block while it is worked on, and its inverse. */
@inline const OWN: usize = 0;
@inline const INVERSE: usize = 32768;
/** f32 `[64, 64]`: minus its inverse, row-major. */
@inline const MINUS: usize = 65536;
/** Its inverse transposed, in panels `[64, 8]`. */
@inline const TRANSPOSED: usize = 81920;

/** Rows of f64 sums `m` as two rows of f32 each, in their place. */
export function narrowRows(m: usize, n: i32, first: i32, end: i32): void {
  const stride = <usize> n << 3;
  const half = <usize> n << 2;
  for (let i = first; i < end; i++) {
    const row = m + <usize> i * stride;
    for (let at: usize = 0; at < half; at += 4) store<f32>(row + at, <f32> load<f64>(row + 2 * at));
    memory.copy(row + half, row, half);
  }
}

/** Rows of the sums once more where the factor will be, the diagonal `diagonal` plus `damping`. */
export function restoreRows(
  m: usize,
  n: i32,
  diagonal: usize,
  damping: f64,
  first: i32,
  end: i32,
): void {
  const stride = <usize> n << 3;
  const half = <usize> n << 2;
  for (let i = first; i < end; i++) {
    const row = m + <usize> i * stride;
    memory.copy(row, row + half, half);
    const value = load<f64>(diagonal + (<usize> i << 3));
    // A column whose input is always 0 is free.
    store<f32>(row + (<usize> i << 2), <f32> (value + damping + (value == 0 ? 1 : 0)));
  }
}

/**
 * Factors the block of rows and columns `from` to `end`: H = M·Mᵀ, M upper triangular; whether H is
 * positive. Its inverse is the block of U. Rows of M behind the block are packed into `rows`, `rowStride`
 * bytes apart.
 */
export function factorBlock(
  m: usize,
  n: i32,
  from: i32,
  end: i32,
  upper: usize,
  panelBytes: usize,
  block: usize,
  rows: usize,
  rowStride: usize,
): i32 {
  const size = end - from;
  const stride = <usize> n << 3;
  const corner = m + <usize> from * stride + (<usize> from << 2);
  for (let i = 0; i < size; i++) {
    const row = corner + <usize> i * stride;
    for (let j = i; j < size; j++) {
      store<f64>(own(block, i, j), <f64> load<f32>(row + (<usize> j << 2)));
    }
    const behind = <usize> size << 2;
    memory.copy(rows + <usize> i * rowStride, row + behind, <usize> (n - end) << 2);
  }
  for (let j = size - 1; j >= 0; j--) {
    let square = load<f64>(own(block, j, j));
    for (let k = j + 1; k < size; k++) {
      const value = load<f64>(own(block, j, k));
      square -= value * value;
    }
    if (!(square > 0)) return 0;
    const pivot = sqrt(square);
    store<f64>(own(block, j, j), pivot);
    for (let i = j - 1; i >= 0; i--) {
      let sum = load<f64>(own(block, i, j));
      for (let k = j + 1; k < size; k++) sum -= load<f64>(own(block, i, k)) * load<f64>(own(block, j, k));
      store<f64>(own(block, i, j), sum / pivot);
    }
  }
  invertBlock(block, size);
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) {
      const value = j < i ? <f32> 0 : <f32> load<f64>(own(block, i, j) + INVERSE);
      const at = <usize> (from + j);
      store<f32>(upper + (at >> 3) * panelBytes + (<usize> (from + i) << 5) + ((at & 7) << 2), value);
      store<f32>(block + MINUS + <usize> i * PACKED + (<usize> j << 2), -value);
      const panel = block + TRANSPOSED + (<usize> (i >> 3) << 11);
      store<f32>(panel + (<usize> j << 5) + (<usize> (i & 7) << 2), value);
    }
  }
  return 1;
}

@inline
function own(block: usize, i: i32, j: i32): usize {
  return block + OWN + (<usize> i << 9) + (<usize> j << 3);
}

/** The inverse of an upper triangular block. */
function invertBlock(block: usize, size: i32): void {
  for (let i = 0; i < size; i++) {
    for (let j = i; j < size; j++) store<f64>(own(block, i, j) + INVERSE, i == j ? 1 : 0);
    for (let k = i; k < size; k++) {
      const value = load<f64>(own(block, i, k) + INVERSE) / load<f64>(own(block, k, k));
      store<f64>(own(block, i, k) + INVERSE, value);
      for (let j = k + 1; j < size; j++) {
        const at = own(block, i, j) + INVERSE;
        store<f64>(at, load<f64>(at) - value * load<f64>(own(block, k, j)));
      }
    }
  }
}

/**
 * Columns `from` to `end` of M in rows `first` to `last` (multiples of 8) before the block, from what is
 * left of the sums there. Minus them go to `minus` `[from, 64]`, their transpose to `panels`, each of
 * eight rows `[64, 8]`.
 */
export function solveRows(
  m: usize,
  n: i32,
  from: i32,
  end: i32,
  block: usize,
  minus: usize,
  panels: usize,
  first: i32,
  last: i32,
): void {
  const stride = <usize> n << 3;
  const size = end - from;
  for (let i = first; i < last; i += 4) {
    const row = m + <usize> i * stride + (<usize> from << 2);
    const out = minus + <usize> i * PACKED;
    memory.fill(out, 0, 4 * PACKED);
    for (let j = 0; j < size; j += 8) {
      const tile = block + TRANSPOSED + (<usize> j << 8);
      multiplyTile(row, stride, tile, size, out + (<usize> j << 2), PACKED);
    }
    const panel = panels + (<usize> (i >> 3) << 11) + (<usize> (i & 7) << 2);
    for (let r: usize = 0; r < 4; r++) {
      for (let k: usize = 0; k < <usize> size; k++) {
        const at = out + r * PACKED + (k << 2);
        const value = load<f32>(at);
        store<f32>(row + r * stride + (k << 2), value);
        store<f32>(panel + (k << 5) + (r << 2), value);
        store<f32>(at, -value);
      }
    }
  }
}

/** Takes what a block's columns explain from the sums in rows `first` to `last` (multiples of 4) before it. */
export function reduceRows(
  m: usize,
  n: i32,
  from: i32,
  size: i32,
  minus: usize,
  panels: usize,
  first: i32,
  last: i32,
): void {
  const stride = <usize> n << 3;
  for (let panel = first >> 3; panel < from >> 3; panel++) {
    const tile = panels + (<usize> panel << 11);
    const end = min(last, (panel + 1) << 3);
    for (let i = first; i < end; i += 4) {
      const out = m + <usize> i * stride + (<usize> panel << 5);
      multiplyTile(minus + <usize> i * PACKED, PACKED, tile, size, out, stride);
    }
  }
}

/**
 * The block's rows of U in panels `first` to `last` behind it, from U's rows behind and the block's packed
 * rows of M: U = −T·(M·U), T the block's inverse. `area` holds f32 `[last − first, 64, 8]`.
 */
export function extendInverse(
  n: i32,
  from: i32,
  end: i32,
  upper: usize,
  panelBytes: usize,
  block: usize,
  rows: usize,
  rowStride: usize,
  area: usize,
  first: i32,
  last: i32,
): void {
  const size = end - from;
  memory.fill(area, 0, <usize> (last - first) << 11);
  for (let k = end; k < min(n, last << 3); k += DEPTH) {
    for (let panel = max(first, k >> 3); panel < last; panel++) {
      const depth = min(DEPTH, ((panel + 1) << 3) - k);
      const tile = upper + <usize> panel * panelBytes + (<usize> k << 5);
      const sums = area + (<usize> (panel - first) << 11);
      for (let i = 0; i < size; i += 4) {
        const row = rows + <usize> i * rowStride + (<usize> (k - end) << 2);
        multiplyTile(row, rowStride, tile, depth, sums + (<usize> i << 5), 32);
      }
    }
  }
  for (let panel = first; panel < last; panel++) {
    const out = upper + <usize> panel * panelBytes + (<usize> from << 5);
    memory.fill(out, 0, <usize> size << 5);
    const sums = area + (<usize> (panel - first) << 11);
    for (let i = 0; i < size; i += 4) {
      const row = block + MINUS + <usize> i * PACKED;
      multiplyTile(row, PACKED, sums, size, out + (<usize> i << 5), 32);
    }
  }
}
