// INT8 weights, two tokens: the inner loop of matmulInt8 for runs of a few tokens. It takes one panel
// along all of k, as int4_two.as.ts does. The packed layout stands in int8.as.ts; integer.as.ts walks
// over panels and tokens.

import {
  F16_BITS,
  f16Finite,
  f16High,
  f16Low,
  lane0,
  lane1,
  lane2,
  lane3,
  madd,
} from "../simd.as";
import { INT8_BLOCK } from "../constants.as";
import { even, mac, odd } from "./int8.as";

/**
 * Adds a panel times two tokens, whose activation blocks lie behind each other and `step` bytes apart
 * along k, to the first 16 of both rows of `sums` [2][32]. The panel's header is at `w`; scales must
 * be finite.
 */
export function int8TimesTwo(w: usize, x: usize, step: usize, blocks: i32, sums: usize): void {
  const mask = i16x8.splat(255);
  const bits = i32x4.splat(F16_BITS);
  const lift = v128.load32_splat(w, 4);
  const end = x + <usize> blocks * step;
  w += 16;
  let f0 = v128.load(sums); let f1 = v128.load(sums, 16);
  let f2 = v128.load(sums, 32); let f3 = v128.load(sums, 48);
  let g0 = v128.load(sums, 128); let g1 = v128.load(sums, 144);
  let g2 = v128.load(sums, 160); let g3 = v128.load(sums, 176);
  while (x < end) {
    const aux = v128.load(x, 32);
    const bux = v128.load(x, 80);
    const p0 = w + 32;
    const p1 = w + 160;
    const p2 = w + 288;
    const p3 = w + 416;
    let a0 = lane3(aux), a1 = a0, a2 = a0, a3 = a0;
    let b0 = lane3(bux), b1 = b0, b2 = b0, b3 = b0;
    let xs: v128, ys: v128, s: v128, t: v128, u: v128, v: v128, m: v128, n: v128;
    xs = v128.load_ext<i8>(x); ys = v128.load_ext<i8>(x, 48);
    s = lane0(xs); t = lane1(xs); u = lane0(ys); v = lane1(ys);
    m = v128.load(p0); n = even(m, mask); m = odd(m);
    a0 = mac(mac(a0, s, n), t, m); b0 = mac(mac(b0, u, n), v, m);
    m = v128.load(p1); n = even(m, mask); m = odd(m);
    a1 = mac(mac(a1, s, n), t, m); b1 = mac(mac(b1, u, n), v, m);
    m = v128.load(p2); n = even(m, mask); m = odd(m);
    a2 = mac(mac(a2, s, n), t, m); b2 = mac(mac(b2, u, n), v, m);
    m = v128.load(p3); n = even(m, mask); m = odd(m);
    a3 = mac(mac(a3, s, n), t, m); b3 = mac(mac(b3, u, n), v, m);
    s = lane2(xs); t = lane3(xs); u = lane2(ys); v = lane3(ys);
    m = v128.load(p0, 16); n = even(m, mask); m = odd(m);
    a0 = mac(mac(a0, s, n), t, m); b0 = mac(mac(b0, u, n), v, m);
    m = v128.load(p1, 16); n = even(m, mask); m = odd(m);
    a1 = mac(mac(a1, s, n), t, m); b1 = mac(mac(b1, u, n), v, m);
    m = v128.load(p2, 16); n = even(m, mask); m = odd(m);
    a2 = mac(mac(a2, s, n), t, m); b2 = mac(mac(b2, u, n), v, m);
    m = v128.load(p3, 16); n = even(m, mask); m = odd(m);
    a3 = mac(mac(a3, s, n), t, m); b3 = mac(mac(b3, u, n), v, m);
    xs = v128.load_ext<i8>(x, 8); ys = v128.load_ext<i8>(x, 56);
    s = lane0(xs); t = lane1(xs); u = lane0(ys); v = lane1(ys);
    m = v128.load(p0, 32); n = even(m, mask); m = odd(m);
    a0 = mac(mac(a0, s, n), t, m); b0 = mac(mac(b0, u, n), v, m);
    m = v128.load(p1, 32); n = even(m, mask); m = odd(m);
    a1 = mac(mac(a1, s, n), t, m); b1 = mac(mac(b1, u, n), v, m);
    m = v128.load(p2, 32); n = even(m, mask); m = odd(m);
    a2 = mac(mac(a2, s, n), t, m); b2 = mac(mac(b2, u, n), v, m);
    m = v128.load(p3, 32); n = even(m, mask); m = odd(m);
    a3 = mac(mac(a3, s, n), t, m); b3 = mac(mac(b3, u, n), v, m);
    s = lane2(xs); t = lane3(xs); u = lane2(ys); v = lane3(ys);
    m = v128.load(p0, 48); n = even(m, mask); m = odd(m);
    a0 = mac(mac(a0, s, n), t, m); b0 = mac(mac(b0, u, n), v, m);
    m = v128.load(p1, 48); n = even(m, mask); m = odd(m);
    a1 = mac(mac(a1, s, n), t, m); b1 = mac(mac(b1, u, n), v, m);
    m = v128.load(p2, 48); n = even(m, mask); m = odd(m);
    a2 = mac(mac(a2, s, n), t, m); b2 = mac(mac(b2, u, n), v, m);
    m = v128.load(p3, 48); n = even(m, mask); m = odd(m);
    a3 = mac(mac(a3, s, n), t, m); b3 = mac(mac(b3, u, n), v, m);
    xs = v128.load_ext<i8>(x, 16); ys = v128.load_ext<i8>(x, 64);
    s = lane0(xs); t = lane1(xs); u = lane0(ys); v = lane1(ys);
    m = v128.load(p0, 64); n = even(m, mask); m = odd(m);
    a0 = mac(mac(a0, s, n), t, m); b0 = mac(mac(b0, u, n), v, m);
    m = v128.load(p1, 64); n = even(m, mask); m = odd(m);
    a1 = mac(mac(a1, s, n), t, m); b1 = mac(mac(b1, u, n), v, m);
    m = v128.load(p2, 64); n = even(m, mask); m = odd(m);
    a2 = mac(mac(a2, s, n), t, m); b2 = mac(mac(b2, u, n), v, m);
    m = v128.load(p3, 64); n = even(m, mask); m = odd(m);
    a3 = mac(mac(a3, s, n), t, m); b3 = mac(mac(b3, u, n), v, m);
    s = lane2(xs); t = lane3(xs); u = lane2(ys); v = lane3(ys);
    m = v128.load(p0, 80); n = even(m, mask); m = odd(m);
    a0 = mac(mac(a0, s, n), t, m); b0 = mac(mac(b0, u, n), v, m);
    m = v128.load(p1, 80); n = even(m, mask); m = odd(m);
    a1 = mac(mac(a1, s, n), t, m); b1 = mac(mac(b1, u, n), v, m);
    m = v128.load(p2, 80); n = even(m, mask); m = odd(m);
    a2 = mac(mac(a2, s, n), t, m); b2 = mac(mac(b2, u, n), v, m);
    m = v128.load(p3, 80); n = even(m, mask); m = odd(m);
    a3 = mac(mac(a3, s, n), t, m); b3 = mac(mac(b3, u, n), v, m);
    xs = v128.load_ext<i8>(x, 24); ys = v128.load_ext<i8>(x, 72);
    s = lane0(xs); t = lane1(xs); u = lane0(ys); v = lane1(ys);
    m = v128.load(p0, 96); n = even(m, mask); m = odd(m);
    a0 = mac(mac(a0, s, n), t, m); b0 = mac(mac(b0, u, n), v, m);
    m = v128.load(p1, 96); n = even(m, mask); m = odd(m);
    a1 = mac(mac(a1, s, n), t, m); b1 = mac(mac(b1, u, n), v, m);
    m = v128.load(p2, 96); n = even(m, mask); m = odd(m);
    a2 = mac(mac(a2, s, n), t, m); b2 = mac(mac(b2, u, n), v, m);
    m = v128.load(p3, 96); n = even(m, mask); m = odd(m);
    a3 = mac(mac(a3, s, n), t, m); b3 = mac(mac(b3, u, n), v, m);
    s = lane2(xs); t = lane3(xs); u = lane2(ys); v = lane3(ys);
    m = v128.load(p0, 112); n = even(m, mask); m = odd(m);
    a0 = mac(mac(a0, s, n), t, m); b0 = mac(mac(b0, u, n), v, m);
    m = v128.load(p1, 112); n = even(m, mask); m = odd(m);
    a1 = mac(mac(a1, s, n), t, m); b1 = mac(mac(b1, u, n), v, m);
    m = v128.load(p2, 112); n = even(m, mask); m = odd(m);
    a2 = mac(mac(a2, s, n), t, m); b2 = mac(mac(b2, u, n), v, m);
    m = v128.load(p3, 112); n = even(m, mask); m = odd(m);
    a3 = mac(mac(a3, s, n), t, m); b3 = mac(mac(b3, u, n), v, m);
    s = lane0(aux);
    t = lane0(bux);
    m = v128.load(w);
    n = v128.load(w, 16);
    u = f16Finite(f16Low(m), bits, lift);
    f0 = scaleSum(f0, a0, f32x4.mul(u, s));
    g0 = scaleSum(g0, b0, f32x4.mul(u, t));
    u = f16Finite(f16High(m), bits, lift);
    f1 = scaleSum(f1, a1, f32x4.mul(u, s));
    g1 = scaleSum(g1, b1, f32x4.mul(u, t));
    u = f16Finite(f16Low(n), bits, lift);
    f2 = scaleSum(f2, a2, f32x4.mul(u, s));
    g2 = scaleSum(g2, b2, f32x4.mul(u, t));
    u = f16Finite(f16High(n), bits, lift);
    f3 = scaleSum(f3, a3, f32x4.mul(u, s));
    g3 = scaleSum(g3, b3, f32x4.mul(u, t));
    w += INT8_BLOCK;
    x += step;
  }
  v128.store(sums, f0); v128.store(sums, f1, 16);
  v128.store(sums, f2, 32); v128.store(sums, f3, 48);
  v128.store(sums, g0, 128); v128.store(sums, g1, 144);
  v128.store(sums, g2, 160); v128.store(sums, g3, 176);
}

/** acc + scale·(integer dot products of four rows). */
@inline
function scaleSum(acc: v128, dots: v128, scale: v128): v128 {
  return madd(f32x4.convert_i32x4_s(dots), scale, acc);
}
