// quantizeActivations: rows of f32 to the activation blocks (a8) that integer matmuls read; the same
// with the norm or the gate before it.
//
// Block, 1 row × 32 k (48 bytes):
//   32 int8  q (zeros past the row's end)
//   f32      d
//   2 × i16  −8·(sum of q at k = 0 … 15), −8·(sum of q at k = 16 … 31)
//   f32      d·sum; sum is the sum of q
//   i32      −128·(sum of q at k = 4j and 4j+1)
// d = max|x| / 127, q = x / d rounded to nearest, halves to even. A block with NaN or Inf has
// d = NaN and q = 0. Blocks lie in the order [block of k][row]: a kernel that holds the weights of
// one block reads the activations of all tokens as one stream.

import { scratch, shareStart } from "../common.as";
import { ACTIVATION_BLOCK as BLOCK_BYTES, SILU } from "../constants.as";
import { draw, gate } from "../curves.as";
import { sumOfSquares } from "../vector.as";

/** Rows whose blocks are written together: those of one row alone lie far apart. */
const ROWS_AT_ONCE: i32 = 8;

/** What is quantized: x, its norm, or x as a gate of a second operand. */
@inline const PLAIN: i32 = 0;
@inline const NORMED: i32 = 1;
@inline const GATED: i32 = 2;
/** The same with silu, the usual gate, without a call for each block. */
@inline const GATED_SILU: i32 = 3;

/** args: x (f32), out (a8), columns of a row, address of the row count. Scratch: 448 bytes. */
export function quantizeActivations(args: usize, worker: i32, workers: i32): void {
  quantize(PLAIN, args, worker, workers);
}

/** args: as `quantizeActivations`, gain (f32), eps. Scratch as there. */
export function quantizeNormed(args: usize, worker: i32, workers: i32): void {
  quantize(NORMED, args, worker, workers);
}

/** args: as `quantizeActivations`, up (f32), number of the gate's function. Scratch as there. */
export function quantizeGated(args: usize, worker: i32, workers: i32): void {
  if (load<i32>(args, 20) == SILU) quantize(GATED_SILU, args, worker, workers);
  else quantize(GATED, args, worker, workers);
}

/**
 * Work is divided by blocks of up to eight rows. Scratch: the 32 numbers to quantize; the ends of
 * rows of x and of the second operand, padded with zeros; the rows' scales.
 */
@inline
function quantize(kind: i32, args: usize, worker: i32, workers: i32): void {
  const x = load<usize>(args);
  const out = load<usize>(args, 4);
  const columns = load<i32>(args, 8);
  const rows = load<i32>(load<usize>(args, 12));
  const second = kind == PLAIN ? 0 : load<usize>(args, 16);
  const eps = kind == NORMED ? <f64> load<f32>(args, 20) : 0;
  const curve = kind == GATED ? load<i32>(args, 20) : 0;
  const blocks = (columns + 31) >> 5;
  const values = scratch(worker);
  const scales = values + 384;
  const groups = (rows + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE;
  const end = shareStart(groups * blocks, worker + 1, workers);
  let scaled = -1;
  for (let unit = shareStart(groups * blocks, worker, workers); unit < end; unit++) {
    const group = unit / blocks;
    const block = unit % blocks;
    const firstRow = group * ROWS_AT_ONCE;
    const count = min(rows - firstRow, ROWS_AT_ONCE);
    const skip = <usize> block << 7;
    const n = min(columns - (block << 5), 32);
    if (kind == NORMED && scaled != group) {
      scaled = group;
      for (let i = 0; i < count; i++) {
        const row = x + (<usize> (firstRow + i) * columns << 2);
        const mean = sumOfSquares(row, columns) / <f64> columns;
        store<f32>(scales + (<usize> i << 2), <f32> (1 / sqrt<f64>(mean + eps)));
      }
    }
    let from2 = kind == NORMED ? padded(second + skip, values + 256, n) : 0;
    for (let i = 0; i < count; i++) {
      const start = (<usize> (firstRow + i) * columns << 2) + skip;
      const from = padded(x + start, values + 128, n);
      const to = out + (<usize> block * rows + firstRow + i) * BLOCK_BYTES;
      if (kind == PLAIN) {
        quantizeBlock(from, to);
        continue;
      }
      if (kind == NORMED) {
        const scale = v128.load32_splat(scales + (<usize> i << 2));
        for (let at: usize = 0; at < 128; at += 16) {
          const v = f32x4.mul(v128.load(from + at), scale);
          v128.store(values + at, f32x4.mul(v, v128.load(from2 + at)));
        }
      } else {
        from2 = padded(second + start, values + 256, n);
        if (kind == GATED_SILU) draw(SILU, true, from, from2, values, 32);
        else gate(curve, from, from2, values, 32);
      }
      quantizeBlock(values, to);
    }
  }
}

/** The `n` floats at `p` if they are 32, else a copy of them in `to`, with zeros behind. */
@inline
function padded(p: usize, to: usize, n: i32): usize {
  if (n == 32) return p;
  memory.fill(to, 0, 128);
  memory.copy(to, p, n << 2);
  return to;
}

function quantizeBlock(x: usize, to: usize): void {
  // The bits of |x| order like |x|, with Inf and NaN above all numbers.
  const magnitude = i32x4.splat(0x7fffffff);
  let m0 = v128.and(v128.load(x), magnitude);
  let m1 = v128.and(v128.load(x, 16), magnitude);
  m0 = i32x4.max_s(m0, v128.and(v128.load(x, 32), magnitude));
  m1 = i32x4.max_s(m1, v128.and(v128.load(x, 48), magnitude));
  m0 = i32x4.max_s(m0, v128.and(v128.load(x, 64), magnitude));
  m1 = i32x4.max_s(m1, v128.and(v128.load(x, 80), magnitude));
  m0 = i32x4.max_s(m0, v128.and(v128.load(x, 96), magnitude));
  m1 = i32x4.max_s(m1, v128.and(v128.load(x, 112), magnitude));
  m0 = i32x4.max_s(m0, m1);
  m0 = i32x4.max_s(m0, v128.shuffle<i32>(m0, m0, 2, 3, 0, 1));
  m0 = i32x4.max_s(m0, v128.shuffle<i32>(m0, m0, 1, 0, 3, 2));
  const bits = i32x4.extract_lane(m0, 0);
  if (bits == 0 || bits >= 0x7f800000) {
    v128.store(to, i32x4.splat(0));
    v128.store(to, i32x4.splat(0), 16);
    v128.store(to, i32x4.splat(0), 32);
    if (bits) {
      store<f32>(to, NaN, 32);
      store<f32>(to, NaN, 40);
    }
    return;
  }
  const max = reinterpret<f32>(bits);
  const d = max / 127;
  // 127 / max overflows where max is tiny: such blocks are lifted by 2^96 first.
  const lift: f32 = max < 1e-28 ? 7.922816251426434e28 : 1; // 2^96
  const pre = f32x4.splat(lift);
  const inverse = f32x4.splat(<f32> 127 / (max * lift));
  const q0 = i16x8.narrow_i32x4_s(
    round(v128.load(x), pre, inverse),
    round(v128.load(x, 16), pre, inverse),
  );
  const q1 = i16x8.narrow_i32x4_s(
    round(v128.load(x, 32), pre, inverse),
    round(v128.load(x, 48), pre, inverse),
  );
  const q2 = i16x8.narrow_i32x4_s(
    round(v128.load(x, 64), pre, inverse),
    round(v128.load(x, 80), pre, inverse),
  );
  const q3 = i16x8.narrow_i32x4_s(
    round(v128.load(x, 96), pre, inverse),
    round(v128.load(x, 112), pre, inverse),
  );
  v128.store(to, i8x16.narrow_i16x8_s(q0, q1));
  v128.store(to, i8x16.narrow_i16x8_s(q2, q3), 16);
  const first = i32x4.dot_i16x8_s(i16x8.add(q0, q1), i16x8.splat(1));
  const second = i32x4.dot_i16x8_s(i16x8.add(q2, q3), i16x8.splat(1));
  const pairs = i32x4.add(first, second);
  const early = i32x4.extract_lane(pairs, 0) + i32x4.extract_lane(pairs, 2);
  const sum = early + i32x4.extract_lane(pairs, 1) + i32x4.extract_lane(pairs, 3);
  const low = i32x4.extract_lane(first, 0) + i32x4.extract_lane(first, 1) +
    i32x4.extract_lane(first, 2) + i32x4.extract_lane(first, 3);
  store<f32>(to, d, 32);
  store<i32>(to, (-8 * low & 0xffff) | (-8 * (sum - low) << 16), 36);
  store<f32>(to, d * <f32> sum, 40);
  store<i32>(to, -128 * early, 44);
}

/** Nearest integers of x·pre·inverse, |result| ≤ 127: adding 1.5·2^23 leaves no room for halves. */
@inline
function round(x: v128, pre: v128, inverse: v128): v128 {
  const magic = f32x4.splat(12582912);
  return i32x4.sub(f32x4.add(f32x4.mul(f32x4.mul(x, pre), inverse), magic), magic);
}
