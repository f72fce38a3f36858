// Tensor types of GGUF files to f32, as quant/ggml_blocks.ts and quant/formats.ts define them;
// K-quants are in decode_k.as.ts. Each function expands whole blocks, at any byte address.

import { f16Any, f16High, f16Low, F16_REBIAS } from "../simd.as";
import {
  fifthBits,
  half,
  highNibbles,
  linearCodes,
  lowNibbles,
  nonlinearCodes,
  storeCodes,
} from "./codes.as";
import { decodeQ2K, decodeQ3K, decodeQ4K, decodeQ5K, decodeQ6K } from "./decode_k.as";

/** Expands `count` elements, whole blocks, of the type with number `type` in the specification. */
export function decode(type: i32, from: usize, count: i32, to: usize): void {
  const end = to + (<usize> count << 2);
  switch (type) {
    case 0: memory.copy(to, from, end - to); break;
    case 1: decodeF16(from, to, end); break;
    case 2: decodeNibbles(from, to, end, 2, linearCodes()); break;
    case 3: decodeNibbles(from, to, end, 3, nibbleCodes()); break;
    case 6: decodeQ5(from, to, end, 2, 16); break;
    case 7: decodeQ5(from, to, end, 4, 0); break;
    case 8: decodeQ8(from, to, end); break;
    case 10: decodeQ2K(from, to, end); break;
    case 11: decodeQ3K(from, to, end); break;
    case 12: decodeQ4K(from, to, end); break;
    case 13: decodeQ5K(from, to, end); break;
    case 14: decodeQ6K(from, to, end); break;
    case 20: decodeNibbles(from, to, end, 20, nonlinearCodes()); break;
    case 30: decodeBf16(from, to, end); break;
    case 34: decodeTq1(from, to, end); break;
    case 35: decodeTq2(from, to, end); break;
    case 39: decodeNibbles(from, to, end, 39, fp4Codes()); break;
    default: unreachable();
  }
}

@inline
function nibbleCodes(): v128 {
  return i8x16(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

/** The values of MXFP4 (E2M1), doubled to be whole. */
@inline
function fp4Codes(): v128 {
  return i8x16(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);
}

function decodeF16(from: usize, to: usize, end: usize): void {
  const factor = f32x4.splat(F16_REBIAS);
  for (; to + 32 <= end; from += 16, to += 32) {
    const v = v128.load(from);
    v128.store(to, f16Any(f16Low(v), factor));
    v128.store(to, f16Any(f16High(v), factor), 16);
  }
  for (; to < end; from += 2, to += 4) store<f32>(to, half(from));
}

function decodeBf16(from: usize, to: usize, end: usize): void {
  for (; to + 32 <= end; from += 16, to += 32) {
    const v = v128.load(from);
    v128.store(to, i32x4.shl(i32x4.extend_low_i16x8_u(v), 16));
    v128.store(to, i32x4.shl(i32x4.extend_high_i16x8_u(v), 16), 16);
  }
  for (; to < end; from += 2, to += 4) store<u32>(to, <u32> load<u16>(from) << 16);
}

/** Types of 32 nibbles: Q4_0, Q4_1, IQ4_NL and MXFP4. `codes` gives the value of each nibble. */
function decodeNibbles(from: usize, to: usize, end: usize, type: i32, codes: v128): void {
  const none = f32x4.splat(-0.0);
  while (to < end) {
    let scale: f32;
    let min = none;
    if (type == 39) {
      // 2^(e − 128), half of what the format says, as the codes are doubled.
      const e = <u32> load<u8>(from);
      scale = reinterpret<f32>(e > 1 ? e - 1 << 23 : 0x200000 << e);
      from += 1;
    } else {
      scale = half(from);
      from += 2;
      if (type == 3) {
        min = f32x4.splat(half(from));
        from += 2;
      }
    }
    const v = v128.load(from);
    const factor = f32x4.splat(scale);
    storeCodes(i8x16.swizzle(codes, lowNibbles(v)), factor, min, to);
    storeCodes(i8x16.swizzle(codes, highNibbles(v)), factor, min, to + 64);
    from += 16;
    to += 128;
  }
}

/** Q5_0 and Q5_1; `bits`: offset of the fifth bits. */
function decodeQ5(from: usize, to: usize, end: usize, bits: usize, zero: i32): void {
  const offset = i8x16.splat(<i8> zero);
  while (to < end) {
    const scale = f32x4.splat(half(from));
    const min = f32x4.splat(bits == 4 ? half(from + 2) : -0.0);
    from += bits;
    const v = v128.load(from + 4);
    storeCodes(i8x16.sub(v128.or(lowNibbles(v), fifthBits(from)), offset), scale, min, to);
    storeCodes(i8x16.sub(v128.or(highNibbles(v), fifthBits(from + 2)), offset), scale, min, to + 64);
    from += 20;
    to += 128;
  }
}

function decodeQ8(from: usize, to: usize, end: usize): void {
  const none = f32x4.splat(-0.0);
  for (; to < end; from += 34, to += 128) {
    const scale = f32x4.splat(half(from));
    storeCodes(v128.load(from + 2), scale, none, to);
    storeCodes(v128.load(from + 18), scale, none, to + 64);
  }
}

function decodeTq1(from: usize, to: usize, end: usize): void {
  for (; to < end; from += 54, to += 1024) {
    const scale = half(from + 52);
    decodeTrits(from, 32, 5, scale, to);
    decodeTrits(from + 32, 16, 5, scale, to + 4 * 160);
    decodeTrits(from + 48, 4, 4, scale, to + 4 * 240);
  }
}

/** `digits` ternary digits of each of `width` bytes: all first digits, then all second ones … */
function decodeTrits(from: usize, width: usize, digits: i32, scale: f32, to: usize): void {
  let power: u32 = 1;
  for (let digit = 0; digit < digits; digit++, power *= 3) {
    for (let k: usize = 0; k < width; k++, to += 4) {
      const fraction = <u32> load<u8>(from + k) * power & 255;
      store<f32>(to, scale * <f32> (<i32> (fraction * 3 >> 8) - 1));
    }
  }
}

function decodeTq2(from: usize, to: usize, end: usize): void {
  const none = f32x4.splat(-0.0);
  const three = i8x16.splat(3);
  const one = i8x16.splat(1);
  for (; to < end; from += 66) {
    const scale = f32x4.splat(half(from + 64));
    for (let group = 0; group < 8; group++, to += 128) {
      const codes = from + <usize> (group >> 2 << 5);
      const shift = (group & 3) << 1;
      const low = i8x16.shr_u(v128.load(codes), shift);
      const high = i8x16.shr_u(v128.load(codes, 16), shift);
      storeCodes(i8x16.sub(v128.and(low, three), one), scale, none, to);
      storeCodes(i8x16.sub(v128.and(high, three), one), scale, none, to + 64);
    }
  }
}
