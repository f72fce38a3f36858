// The few operations whose best form depends on the build: relaxed SIMD where the engine has it,
// plain SIMD otherwise. `ASC_FEATURE_RELAXED_SIMD` is a compile-time constant, so each build holds
// one form only. Everything here inlines: no call is left in a kernel's inner loop. (`deno fmt`
// would delete the decorators; it skips *.as.ts files.)

/**
 * Lane j of the i16x8 result is x[2j]·w[2j] + x[2j+1]·w[2j+1], with x int8 and w in 0…15.
 * |result| ≤ 2·128·15 = 3840: what the relaxed instruction leaves open (signed or unsigned w,
 * saturating or wrapping sum) cannot make a difference.
 */
@inline
export function dotPairs(x: v128, w: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) {
    return i16x8.relaxed_dot_i8x16_i7x16_s(x, w);
  } else {
    return i16x8.add(
      i16x8.mul(i16x8.shr_s(i16x8.shl(x, 8), 8), i16x8.shr_u(i16x8.shl(w, 8), 8)),
      i16x8.mul(i16x8.shr_s(x, 8), i16x8.shr_u(w, 8)),
    );
  }
}

/** a·b + c in four f32 lanes, rounded once or twice. */
@inline
export function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) {
    return f32x4.relaxed_madd(a, b, c);
  } else {
    return f32x4.add(f32x4.mul(a, b), c);
  }
}

/** Of the sixteen bytes of `table` those that the bytes of `at`, 0…15, number. */
@inline
export function choose(table: v128, at: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) {
    return i8x16.relaxed_swizzle(table, at);
  } else {
    return i8x16.swizzle(table, at);
  }
}

/** Two f64 without their fractions, as i32 in lanes 0 and 1; for numbers that an i32 can hold. */
@inline
export function truncPair(v: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) {
    return i32x4.relaxed_trunc_f64x2_s_zero(v);
  } else {
    return i32x4.trunc_sat_f64x2_s_zero(v);
  }
}

/** Four f32 without their fractions, as i32; for numbers that an i32 can hold. */
@inline
export function truncFour(v: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) {
    return i32x4.relaxed_trunc_f32x4_s(v);
  } else {
    return i32x4.trunc_sat_f32x4_s(v);
  }
}

/** Lane 0 of `v` in all four 32-bit lanes. */
@inline
export function lane0(v: v128): v128 {
  return v128.shuffle<i32>(v, v, 0, 0, 0, 0);
}

/** Lane 1 of `v` in all four 32-bit lanes. */
@inline
export function lane1(v: v128): v128 {
  return v128.shuffle<i32>(v, v, 1, 1, 1, 1);
}

/** Lane 2 of `v` in all four 32-bit lanes. */
@inline
export function lane2(v: v128): v128 {
  return v128.shuffle<i32>(v, v, 2, 2, 2, 2);
}

/** Lane 3 of `v` in all four 32-bit lanes. */
@inline
export function lane3(v: v128): v128 {
  return v128.shuffle<i32>(v, v, 3, 3, 3, 3);
}

/**
 * The 16-bit `v` in lanes 0…3, moved to where f32 has sign and exponent; surplus copies of the sign
 * are above the exponent, other bits below the fraction.
 */
@inline
export function f16Low(v: v128): v128 {
  return i32x4.shr_s(v128.shuffle<i16>(v, v, 0, 0, 1, 1, 2, 2, 3, 3), 3);
}

/** As `f16Low`, lanes 4…7. */
@inline
export function f16High(v: v128): v128 {
  return i32x4.shr_s(v128.shuffle<i16>(v, v, 4, 4, 5, 5, 6, 6, 7, 7), 3);
}

/** The bits of `f16Low` or `f16High` that belong to the half. */
export const F16_BITS: i32 = 0x8fffe000;

/** What makes up for the difference between the exponent biases of f32 and f16: 2^112. */
export const F16_REBIAS: f32 = 5.192296858534828e33;

/**
 * Four halves, from `f16Low` or `f16High`, as f32: exact, signs included, but Inf and NaN come out
 * finite. `bits` is `F16_BITS`, `factor` `F16_REBIAS` or what a panel's header says, splat outside
 * the loop.
 */
@inline
export function f16Finite(moved: v128, bits: v128, factor: v128): v128 {
  return f32x4.mul(v128.and(moved, bits), factor);
}

/** As `f16Finite`, Inf and NaN included. */
@inline
export function f16Any(moved: v128, factor: v128): v128 {
  const bits = v128.and(moved, i32x4.splat(F16_BITS));
  const exponent = i32x4.splat(0x0f800000);
  const special = i32x4.eq(v128.and(bits, exponent), exponent);
  return v128.or(f32x4.mul(bits, factor), v128.and(special, i32x4.splat(0x7f800000)));
}

/** All ones in the lanes of eight halves that are Inf or NaN. */
@inline
export function f16Special(halves: v128): v128 {
  const exponent = i16x8.splat(0x7c00);
  return i16x8.eq(v128.and(halves, exponent), exponent);
}
