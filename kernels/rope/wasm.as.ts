// rope: ropeHalf pairs element i with i + rotaryDim/2, ropeInterleaved 2i with 2i + 1. Arguments:
//   x, positions, table, out, address of the row count, heads, headDim, rotaryDim, offset
// A row of the table is rotaryDim/2 cosines, then as many sines. Divided by heads of tokens.

import { shareStart } from "../common.as";
import { madd } from "../simd.as";
import { copyFloats, loadPart, storePart } from "../vector.as";

/** Rotates `n` pairs (x[i], x[n + i]). */
function rotateHalf(x: usize, out: usize, cos: usize, sin: usize, n: i32): void {
  let x2 = x + (<usize>n << 2);
  let out2 = out + (<usize>n << 2);
  for (; n >= 4; n -= 4) {
    const a = v128.load(x);
    const b = v128.load(x2);
    const c = v128.load(cos);
    const s = v128.load(sin);
    v128.store(out, f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)));
    v128.store(out2, madd(b, c, f32x4.mul(a, s)));
    x += 16;
    x2 += 16;
    out += 16;
    out2 += 16;
    cos += 16;
    sin += 16;
  }
  if (n > 0) {
    const a = loadPart(x, n);
    const b = loadPart(x2, n);
    const c = loadPart(cos, n);
    const s = loadPart(sin, n);
    storePart(out, f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)), n);
    storePart(out2, madd(b, c, f32x4.mul(a, s)), n);
  }
}

/** Rotates `n` pairs (x[2i], x[2i + 1]). */
function rotateInterleaved(x: usize, out: usize, cos: usize, sin: usize, n: i32): void {
  for (; n >= 4; n -= 4) {
    const first = v128.load(x);
    const second = v128.load(x, 16);
    const a = v128.shuffle<f32>(first, second, 0, 2, 4, 6);
    const b = v128.shuffle<f32>(first, second, 1, 3, 5, 7);
    const c = v128.load(cos);
    const s = v128.load(sin);
    const y = f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s));
    const z = madd(b, c, f32x4.mul(a, s));
    v128.store(out, v128.shuffle<f32>(y, z, 0, 4, 1, 5));
    v128.store(out, v128.shuffle<f32>(y, z, 2, 6, 3, 7), 16);
    x += 32;
    out += 32;
    cos += 16;
    sin += 16;
  }
  for (; n > 0; n--) {
    const a = load<f32>(x);
    const b = load<f32>(x, 4);
    const c = load<f32>(cos);
    const s = load<f32>(sin);
    store<f32>(out, a * c - b * s);
    store<f32>(out, b * c + a * s, 4);
    x += 8;
    out += 8;
    cos += 4;
    sin += 4;
  }
}

/** One worker's share; `interleaved` is a constant. */
@inline
function rotateHeads(interleaved: bool, args: usize, worker: i32, workers: i32): void {
  const heads = load<i32>(args, 20);
  const headDim = load<i32>(args, 24);
  const rotaryDim = load<i32>(args, 28);
  const offset = load<i32>(args, 32);
  const half = rotaryDim >> 1;
  const rest = headDim - offset - rotaryDim;
  const units = load<i32>(load<usize>(args, 16)) * heads;
  const end = shareStart(units, worker + 1, workers);
  for (let unit = shareStart(units, worker, workers); unit < end; unit++) {
    const position = load<i32>(load<usize>(args, 4) + (<usize>(unit / heads) << 2));
    const cos = load<usize>(args, 8) + ((<usize>position * rotaryDim) << 2);
    const sin = cos + (<usize>half << 2);
    let x = load<usize>(args) + ((<usize>unit * headDim) << 2);
    let out = load<usize>(args, 12) + ((<usize>unit * headDim) << 2);
    copyFloats(x, out, offset);
    x += <usize>offset << 2;
    out += <usize>offset << 2;
    if (interleaved) {
      rotateInterleaved(x, out, cos, sin, half);
    } else {
      rotateHalf(x, out, cos, sin, half);
    }
    copyFloats(x + (<usize>rotaryDim << 2), out + (<usize>rotaryDim << 2), rest);
  }
}

export function ropeHalf(args: usize, worker: i32, workers: i32): void {
  rotateHeads(false, args, worker, workers);
}

export function ropeInterleaved(args: usize, worker: i32, workers: i32): void {
  rotateHeads(true, args, worker, workers);
}
