// What the kernels could reach at best, as WebAssembly sees this machine: reading, multiplying and
// adding with nothing else to do. Built by calibrate.ts when it runs, with the kernels' own flags; no
// part of the product. Chains are independent, and as many as hide the latencies.

/** Reads `bytes`, a multiple of 128, at `address`, `passes` times. */
export function readStream(address: usize, bytes: usize, passes: i32): i32 {
  let a: v128 = i32x4.splat(0), b = a, c = a, d = a;
  const end = address + bytes;
  for (let pass = 0; pass < passes; pass++) {
    for (let at = address; at < end; at += 128) {
      a = v128.xor(a, v128.load(at));
      b = v128.xor(b, v128.load(at, 16));
      c = v128.xor(c, v128.load(at, 32));
      d = v128.xor(d, v128.load(at, 48));
      a = v128.xor(a, v128.load(at, 64));
      b = v128.xor(b, v128.load(at, 80));
      c = v128.xor(c, v128.load(at, 96));
      d = v128.xor(d, v128.load(at, 112));
    }
  }
  return i32x4.extract_lane(v128.xor(v128.xor(a, b), v128.xor(c, d)), 0);
}

/** 12 multiply-adds of four f32 in each round: 96 operations. */
export function multiplyAdd(rounds: i32): f32 {
  const m = f32x4.splat(0.999), q = f32x4.splat(0.1);
  let a: v128 = f32x4.splat(1), b = f32x4.splat(2), c = f32x4.splat(3), d = f32x4.splat(4);
  let e: v128 = f32x4.splat(5), f = f32x4.splat(6), g = f32x4.splat(7), h = f32x4.splat(8);
  let i: v128 = f32x4.splat(9), j = f32x4.splat(10), k = f32x4.splat(11), l = f32x4.splat(12);
  for (; rounds > 0; rounds--) {
    a = madd(a, m, q); b = madd(b, m, q); c = madd(c, m, q); d = madd(d, m, q);
    e = madd(e, m, q); f = madd(f, m, q); g = madd(g, m, q); h = madd(h, m, q);
    i = madd(i, m, q); j = madd(j, m, q); k = madd(k, m, q); l = madd(l, m, q);
  }
  const sum = f32x4.add(f32x4.add(f32x4.add(a, b), f32x4.add(c, d)), f32x4.add(e, f));
  const rest = f32x4.add(f32x4.add(f32x4.add(g, h), f32x4.add(i, j)), f32x4.add(k, l));
  return f32x4.extract_lane(f32x4.add(sum, rest), 0);
}

/**
 * 12 products of 16 bytes in each round, added in pairs to i16: 384 operations. As in the kernels,
 * an addition follows each product.
 */
export function dotBytes(rounds: i32): i32 {
  const w = i8x16.splat(3);
  let a: v128 = i8x16.splat(1), b = i8x16.splat(2), c = i8x16.splat(3), d = i8x16.splat(4);
  let e: v128 = i8x16.splat(5), f = i8x16.splat(6), g = i8x16.splat(7), h = i8x16.splat(8);
  let i: v128 = i8x16.splat(9), j = i8x16.splat(10), k = i8x16.splat(11), l = i8x16.splat(12);
  for (; rounds > 0; rounds--) {
    // Each chain feeds on itself, so that no product is the same in two rounds.
    a = i16x8.add(a, dot(a, w)); b = i16x8.add(b, dot(b, w)); c = i16x8.add(c, dot(c, w));
    d = i16x8.add(d, dot(d, w)); e = i16x8.add(e, dot(e, w)); f = i16x8.add(f, dot(f, w));
    g = i16x8.add(g, dot(g, w)); h = i16x8.add(h, dot(h, w)); i = i16x8.add(i, dot(i, w));
    j = i16x8.add(j, dot(j, w)); k = i16x8.add(k, dot(k, w)); l = i16x8.add(l, dot(l, w));
  }
  const sum = i16x8.add(i16x8.add(i16x8.add(a, b), i16x8.add(c, d)), i16x8.add(e, f));
  const rest = i16x8.add(i16x8.add(i16x8.add(g, h), i16x8.add(i, j)), i16x8.add(k, l));
  return i16x8.extract_lane_s(i16x8.add(sum, rest), 0);
}

@inline
function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) {
    return f32x4.relaxed_madd(a, b, c);
  } else {
    return f32x4.add(f32x4.mul(a, b), c);
  }
}

/** Without relaxed SIMD: products of 8 pairs of i16, half as many. */
@inline
function dot(x: v128, w: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) {
    return i16x8.relaxed_dot_i8x16_i7x16_s(x, w);
  } else {
    return i32x4.dot_i16x8_s(x, w);
  }
}
