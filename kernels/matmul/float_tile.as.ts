// Float weights, several tokens: the inner loop of matmulF32, matmulF16 and matmulBf16 over 16 rows ×
// 32 k. float.as.ts walks over panels, k and tokens; float_blocks.as.ts has the packed layouts and
// the loops for one token.

import { F16_BITS, lane0, lane1, lane2, lane3, madd } from "../simd.as";
import { BF16, F16, F32 } from "../constants.as";
import { LOW_BITS } from "./float_blocks.as";
import { first, second } from "./float_vector.as";

/**
 * Adds 16 rows times `count` tokens, over 32 k, to `sums` [count][16]; `x` is the tokens' packed
 * activations, one behind the other. Weights are converted once for all tokens and kept on the
 * stack, as in int4.as.ts. Tokens are taken in pairs: one alone cannot keep the multipliers busy. The
 * last of an odd number has whatever lies behind it for a fellow, so that every token's sums are added
 * up in one order: `sums` has room for a row more. Up to 384 bytes after `x` and 192 after `sums` are
 * read in vain.
 *
 * The bounds checks of a round stand together, before the condition of the loop. Some processors
 * (Intel's from Skylake to Cascade Lake) do not keep code in their cache of decoded instructions
 * where a branch touches the end of 32 bytes, and then decode, slowly, up to the next jump. The
 * engine places what stands before the condition at the end of the loop, behind the multiplications,
 * so that these have no branch in or before them. Activations are loaded four k ahead. Together that
 * makes the loop a quarter faster.
 */
@inline
function tile(w: usize, x: usize, count: i32, sums: usize, factor: f32, layout: i32): void {
  const low = i32x4.splat(LOW_BITS);
  const high = i32x4.splat(layout == BF16 ? 0xffff0000 : F16_BITS);
  const lift = f32x4.splat(factor);
  const half: usize = layout == F32 ? 32 : 16;
  let p = w;
  let v = v128.load(p);
  const a0 = first(v, low, lift, layout); const b0 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c0 = first(v, low, lift, layout); const d0 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a1 = first(v, low, lift, layout); const b1 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c1 = first(v, low, lift, layout); const d1 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a2 = first(v, low, lift, layout); const b2 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c2 = first(v, low, lift, layout); const d2 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a3 = first(v, low, lift, layout); const b3 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c3 = first(v, low, lift, layout); const d3 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a4 = first(v, low, lift, layout); const b4 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c4 = first(v, low, lift, layout); const d4 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a5 = first(v, low, lift, layout); const b5 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c5 = first(v, low, lift, layout); const d5 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a6 = first(v, low, lift, layout); const b6 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c6 = first(v, low, lift, layout); const d6 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a7 = first(v, low, lift, layout); const b7 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c7 = first(v, low, lift, layout); const d7 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a8 = first(v, low, lift, layout); const b8 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c8 = first(v, low, lift, layout); const d8 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a9 = first(v, low, lift, layout); const b9 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c9 = first(v, low, lift, layout); const d9 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a10 = first(v, low, lift, layout); const b10 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c10 = first(v, low, lift, layout); const d10 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a11 = first(v, low, lift, layout); const b11 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c11 = first(v, low, lift, layout); const d11 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a12 = first(v, low, lift, layout); const b12 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c12 = first(v, low, lift, layout); const d12 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a13 = first(v, low, lift, layout); const b13 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c13 = first(v, low, lift, layout); const d13 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a14 = first(v, low, lift, layout); const b14 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c14 = first(v, low, lift, layout); const d14 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a15 = first(v, low, lift, layout); const b15 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c15 = first(v, low, lift, layout); const d15 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a16 = first(v, low, lift, layout); const b16 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c16 = first(v, low, lift, layout); const d16 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a17 = first(v, low, lift, layout); const b17 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c17 = first(v, low, lift, layout); const d17 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a18 = first(v, low, lift, layout); const b18 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c18 = first(v, low, lift, layout); const d18 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a19 = first(v, low, lift, layout); const b19 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c19 = first(v, low, lift, layout); const d19 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a20 = first(v, low, lift, layout); const b20 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c20 = first(v, low, lift, layout); const d20 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a21 = first(v, low, lift, layout); const b21 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c21 = first(v, low, lift, layout); const d21 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a22 = first(v, low, lift, layout); const b22 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c22 = first(v, low, lift, layout); const d22 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a23 = first(v, low, lift, layout); const b23 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c23 = first(v, low, lift, layout); const d23 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a24 = first(v, low, lift, layout); const b24 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c24 = first(v, low, lift, layout); const d24 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a25 = first(v, low, lift, layout); const b25 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c25 = first(v, low, lift, layout); const d25 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a26 = first(v, low, lift, layout); const b26 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c26 = first(v, low, lift, layout); const d26 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a27 = first(v, low, lift, layout); const b27 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c27 = first(v, low, lift, layout); const d27 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a28 = first(v, low, lift, layout); const b28 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c28 = first(v, low, lift, layout); const d28 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a29 = first(v, low, lift, layout); const b29 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c29 = first(v, low, lift, layout); const d29 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a30 = first(v, low, lift, layout); const b30 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c30 = first(v, low, lift, layout); const d30 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const a31 = first(v, low, lift, layout); const b31 = second(p, v, high, lift, layout);
  p += half; v = v128.load(p);
  const c31 = first(v, low, lift, layout); const d31 = second(p, v, high, lift, layout);
  const end = x + (<usize> count << 7);
  while (true) {
    // A byte with the same end as a vector has the same check, and the engine drops the second; the
    // byte itself, which nobody uses, is not read.
    let ax = v128.load(sums);
    let bx = v128.load(sums, 16);
    let cx = v128.load(sums, 32);
    let dx = v128.load(sums, 48);
    let ay = v128.load(sums, 64);
    let by = v128.load(sums, 80);
    let cy = v128.load(sums, 96);
    let dy = v128.load(sums, 112);
    const y = x + 128;
    let xs = v128.load(x); let ys = v128.load(y);
    load<u8>(x, 31); load<u8>(y, 31);
    load<u8>(x, 47); load<u8>(y, 47);
    load<u8>(x, 63); load<u8>(y, 63);
    load<u8>(x, 79); load<u8>(y, 79);
    load<u8>(x, 95); load<u8>(y, 95);
    load<u8>(x, 111); load<u8>(y, 111);
    load<u8>(x, 127); load<u8>(y, 127);
    if (x >= end) break;
    let s = lane0(xs); let t = lane0(ys);
    ax = madd(s, a0, ax); ay = madd(t, a0, ay); bx = madd(s, b0, bx); by = madd(t, b0, by);
    cx = madd(s, c0, cx); cy = madd(t, c0, cy); dx = madd(s, d0, dx); dy = madd(t, d0, dy);
    s = lane1(xs); t = lane1(ys);
    ax = madd(s, a1, ax); ay = madd(t, a1, ay); bx = madd(s, b1, bx); by = madd(t, b1, by);
    cx = madd(s, c1, cx); cy = madd(t, c1, cy); dx = madd(s, d1, dx); dy = madd(t, d1, dy);
    s = lane2(xs); t = lane2(ys);
    ax = madd(s, a2, ax); ay = madd(t, a2, ay); bx = madd(s, b2, bx); by = madd(t, b2, by);
    cx = madd(s, c2, cx); cy = madd(t, c2, cy); dx = madd(s, d2, dx); dy = madd(t, d2, dy);
    s = lane3(xs); t = lane3(ys);
    xs = v128.load(x, 16); ys = v128.load(y, 16);
    ax = madd(s, a3, ax); ay = madd(t, a3, ay); bx = madd(s, b3, bx); by = madd(t, b3, by);
    cx = madd(s, c3, cx); cy = madd(t, c3, cy); dx = madd(s, d3, dx); dy = madd(t, d3, dy);
    s = lane0(xs); t = lane0(ys);
    ax = madd(s, a4, ax); ay = madd(t, a4, ay); bx = madd(s, b4, bx); by = madd(t, b4, by);
    cx = madd(s, c4, cx); cy = madd(t, c4, cy); dx = madd(s, d4, dx); dy = madd(t, d4, dy);
    s = lane1(xs); t = lane1(ys);
    ax = madd(s, a5, ax); ay = madd(t, a5, ay); bx = madd(s, b5, bx); by = madd(t, b5, by);
    cx = madd(s, c5, cx); cy = madd(t, c5, cy); dx = madd(s, d5, dx); dy = madd(t, d5, dy);
    s = lane2(xs); t = lane2(ys);
    ax = madd(s, a6, ax); ay = madd(t, a6, ay); bx = madd(s, b6, bx); by = madd(t, b6, by);
    cx = madd(s, c6, cx); cy = madd(t, c6, cy); dx = madd(s, d6, dx); dy = madd(t, d6, dy);
    s = lane3(xs); t = lane3(ys);
    xs = v128.load(x, 32); ys = v128.load(y, 32);
    ax = madd(s, a7, ax); ay = madd(t, a7, ay); bx = madd(s, b7, bx); by = madd(t, b7, by);
    cx = madd(s, c7, cx); cy = madd(t, c7, cy); dx = madd(s, d7, dx); dy = madd(t, d7, dy);
    s = lane0(xs); t = lane0(ys);
    ax = madd(s, a8, ax); ay = madd(t, a8, ay); bx = madd(s, b8, bx); by = madd(t, b8, by);
    cx = madd(s, c8, cx); cy = madd(t, c8, cy); dx = madd(s, d8, dx); dy = madd(t, d8, dy);
    s = lane1(xs); t = lane1(ys);
    ax = madd(s, a9, ax); ay = madd(t, a9, ay); bx = madd(s, b9, bx); by = madd(t, b9, by);
    cx = madd(s, c9, cx); cy = madd(t, c9, cy); dx = madd(s, d9, dx); dy = madd(t, d9, dy);
    s = lane2(xs); t = lane2(ys);
    ax = madd(s, a10, ax); ay = madd(t, a10, ay); bx = madd(s, b10, bx); by = madd(t, b10, by);
    cx = madd(s, c10, cx); cy = madd(t, c10, cy); dx = madd(s, d10, dx); dy = madd(t, d10, dy);
    s = lane3(xs); t = lane3(ys);
    xs = v128.load(x, 48); ys = v128.load(y, 48);
    ax = madd(s, a11, ax); ay = madd(t, a11, ay); bx = madd(s, b11, bx); by = madd(t, b11, by);
    cx = madd(s, c11, cx); cy = madd(t, c11, cy); dx = madd(s, d11, dx); dy = madd(t, d11, dy);
    s = lane0(xs); t = lane0(ys);
    ax = madd(s, a12, ax); ay = madd(t, a12, ay); bx = madd(s, b12, bx); by = madd(t, b12, by);
    cx = madd(s, c12, cx); cy = madd(t, c12, cy); dx = madd(s, d12, dx); dy = madd(t, d12, dy);
    s = lane1(xs); t = lane1(ys);
    ax = madd(s, a13, ax); ay = madd(t, a13, ay); bx = madd(s, b13, bx); by = madd(t, b13, by);
    cx = madd(s, c13, cx); cy = madd(t, c13, cy); dx = madd(s, d13, dx); dy = madd(t, d13, dy);
    s = lane2(xs); t = lane2(ys);
    ax = madd(s, a14, ax); ay = madd(t, a14, ay); bx = madd(s, b14, bx); by = madd(t, b14, by);
    cx = madd(s, c14, cx); cy = madd(t, c14, cy); dx = madd(s, d14, dx); dy = madd(t, d14, dy);
    s = lane3(xs); t = lane3(ys);
    xs = v128.load(x, 64); ys = v128.load(y, 64);
    ax = madd(s, a15, ax); ay = madd(t, a15, ay); bx = madd(s, b15, bx); by = madd(t, b15, by);
    cx = madd(s, c15, cx); cy = madd(t, c15, cy); dx = madd(s, d15, dx); dy = madd(t, d15, dy);
    s = lane0(xs); t = lane0(ys);
    ax = madd(s, a16, ax); ay = madd(t, a16, ay); bx = madd(s, b16, bx); by = madd(t, b16, by);
    cx = madd(s, c16, cx); cy = madd(t, c16, cy); dx = madd(s, d16, dx); dy = madd(t, d16, dy);
    s = lane1(xs); t = lane1(ys);
    ax = madd(s, a17, ax); ay = madd(t, a17, ay); bx = madd(s, b17, bx); by = madd(t, b17, by);
    cx = madd(s, c17, cx); cy = madd(t, c17, cy); dx = madd(s, d17, dx); dy = madd(t, d17, dy);
    s = lane2(xs); t = lane2(ys);
    ax = madd(s, a18, ax); ay = madd(t, a18, ay); bx = madd(s, b18, bx); by = madd(t, b18, by);
    cx = madd(s, c18, cx); cy = madd(t, c18, cy); dx = madd(s, d18, dx); dy = madd(t, d18, dy);
    s = lane3(xs); t = lane3(ys);
    xs = v128.load(x, 80); ys = v128.load(y, 80);
    ax = madd(s, a19, ax); ay = madd(t, a19, ay); bx = madd(s, b19, bx); by = madd(t, b19, by);
    cx = madd(s, c19, cx); cy = madd(t, c19, cy); dx = madd(s, d19, dx); dy = madd(t, d19, dy);
    s = lane0(xs); t = lane0(ys);
    ax = madd(s, a20, ax); ay = madd(t, a20, ay); bx = madd(s, b20, bx); by = madd(t, b20, by);
    cx = madd(s, c20, cx); cy = madd(t, c20, cy); dx = madd(s, d20, dx); dy = madd(t, d20, dy);
    s = lane1(xs); t = lane1(ys);
    ax = madd(s, a21, ax); ay = madd(t, a21, ay); bx = madd(s, b21, bx); by = madd(t, b21, by);
    cx = madd(s, c21, cx); cy = madd(t, c21, cy); dx = madd(s, d21, dx); dy = madd(t, d21, dy);
    s = lane2(xs); t = lane2(ys);
    ax = madd(s, a22, ax); ay = madd(t, a22, ay); bx = madd(s, b22, bx); by = madd(t, b22, by);
    cx = madd(s, c22, cx); cy = madd(t, c22, cy); dx = madd(s, d22, dx); dy = madd(t, d22, dy);
    s = lane3(xs); t = lane3(ys);
    xs = v128.load(x, 96); ys = v128.load(y, 96);
    ax = madd(s, a23, ax); ay = madd(t, a23, ay); bx = madd(s, b23, bx); by = madd(t, b23, by);
    cx = madd(s, c23, cx); cy = madd(t, c23, cy); dx = madd(s, d23, dx); dy = madd(t, d23, dy);
    s = lane0(xs); t = lane0(ys);
    ax = madd(s, a24, ax); ay = madd(t, a24, ay); bx = madd(s, b24, bx); by = madd(t, b24, by);
    cx = madd(s, c24, cx); cy = madd(t, c24, cy); dx = madd(s, d24, dx); dy = madd(t, d24, dy);
    s = lane1(xs); t = lane1(ys);
    ax = madd(s, a25, ax); ay = madd(t, a25, ay); bx = madd(s, b25, bx); by = madd(t, b25, by);
    cx = madd(s, c25, cx); cy = madd(t, c25, cy); dx = madd(s, d25, dx); dy = madd(t, d25, dy);
    s = lane2(xs); t = lane2(ys);
    ax = madd(s, a26, ax); ay = madd(t, a26, ay); bx = madd(s, b26, bx); by = madd(t, b26, by);
    cx = madd(s, c26, cx); cy = madd(t, c26, cy); dx = madd(s, d26, dx); dy = madd(t, d26, dy);
    s = lane3(xs); t = lane3(ys);
    xs = v128.load(x, 112); ys = v128.load(y, 112);
    ax = madd(s, a27, ax); ay = madd(t, a27, ay); bx = madd(s, b27, bx); by = madd(t, b27, by);
    cx = madd(s, c27, cx); cy = madd(t, c27, cy); dx = madd(s, d27, dx); dy = madd(t, d27, dy);
    s = lane0(xs); t = lane0(ys);
    ax = madd(s, a28, ax); ay = madd(t, a28, ay); bx = madd(s, b28, bx); by = madd(t, b28, by);
    cx = madd(s, c28, cx); cy = madd(t, c28, cy); dx = madd(s, d28, dx); dy = madd(t, d28, dy);
    s = lane1(xs); t = lane1(ys);
    ax = madd(s, a29, ax); ay = madd(t, a29, ay); bx = madd(s, b29, bx); by = madd(t, b29, by);
    cx = madd(s, c29, cx); cy = madd(t, c29, cy); dx = madd(s, d29, dx); dy = madd(t, d29, dy);
    s = lane2(xs); t = lane2(ys);
    ax = madd(s, a30, ax); ay = madd(t, a30, ay); bx = madd(s, b30, bx); by = madd(t, b30, by);
    cx = madd(s, c30, cx); cy = madd(t, c30, cy); dx = madd(s, d30, dx); dy = madd(t, d30, dy);
    s = lane3(xs); t = lane3(ys);
    ax = madd(s, a31, ax); ay = madd(t, a31, ay); bx = madd(s, b31, bx); by = madd(t, b31, by);
    cx = madd(s, c31, cx); cy = madd(t, c31, cy); dx = madd(s, d31, dx); dy = madd(t, d31, dy);
    v128.store(sums, ax);
    v128.store(sums, bx, 16);
    v128.store(sums, cx, 32);
    v128.store(sums, dx, 48);
    v128.store(sums, ay, 64);
    v128.store(sums, by, 80);
    v128.store(sums, cy, 96);
    v128.store(sums, dy, 112);
    x += 256;
    sums += 128;
  }
}

/** Adds 16 rows of f32 times `count` tokens: see `tile`. */
export function floatBlock(w: usize, x: usize, count: i32, sums: usize): void {
  tile(w, x, count, sums, 1, F32);
}

/** As `floatBlock` with rows of f16, all finite. */
export function f16Block(w: usize, x: usize, count: i32, sums: usize, factor: f32): void {
  tile(w, x, count, sums, factor, F16);
}

/** As `floatBlock` with rows of bf16. */
export function bf16Block(w: usize, x: usize, count: i32, sums: usize): void {
  tile(w, x, count, sums, 1, BF16);
}
