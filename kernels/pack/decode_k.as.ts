// K-quants to f32, as quant/ggml_k.ts defines them: blocks of 256 elements whose scales are
// themselves quantized.

import { groupMin, groupScale, half, highNibbles, lowNibbles, scaleQ3K, storeCodes } from "./codes.as";

export function decodeQ2K(from: usize, to: usize, end: usize): void {
  const three = i8x16.splat(3);
  for (; to < end; from += 84) {
    const d = half(from + 80);
    const dmin = half(from + 82);
    for (let group = 0; group < 16; group++, to += 64) {
      const packed = <i32> load<u8>(from + group);
      const scale = f32x4.splat(d * <f32> (packed & 15));
      const min = f32x4.splat(-(dmin * <f32> (packed >> 4)));
      // Groups 2j and 2j+1 of each half share bit pair j of 32 bytes.
      const codes = from + 16 + <usize> ((group >> 3 << 5) + (group & 1) * 16);
      const shift = (group >> 1 & 3) << 1;
      storeCodes(v128.and(i8x16.shr_u(v128.load(codes), shift), three), scale, min, to);
    }
  }
}

export function decodeQ3K(from: usize, to: usize, end: usize): void {
  const none = f32x4.splat(-0.0);
  const three = i8x16.splat(3);
  const one = i8x16.splat(1);
  const four = i8x16.splat(4);
  for (; to < end; from += 110) {
    const d = half(from + 108);
    for (let group = 0; group < 16; group++, to += 64) {
      const scale = f32x4.splat(d * <f32> scaleQ3K(from, group));
      const codes = v128.load(from + 32 + <usize> ((group >> 3 << 5) + (group & 1) * 16));
      const pairs = v128.and(i8x16.shr_u(codes, (group >> 1 & 3) << 1), three);
      const highs = i8x16.shr_u(v128.load(from + <usize> ((group & 1) * 16)), group >> 1);
      const third = i8x16.shl(v128.and(highs, one), 2);
      storeCodes(i8x16.sub(v128.or(pairs, third), four), scale, none, to);
    }
  }
}

export function decodeQ4K(from: usize, to: usize, end: usize): void {
  for (; to < end; from += 144) {
    const d = half(from);
    const dmin = half(from + 2);
    for (let group = 0; group < 8; group++, to += 128) {
      const scale = f32x4.splat(d * groupScale(from + 4, group));
      const min = f32x4.splat(-(dmin * groupMin(from + 4, group)));
      // Groups 2j and 2j+1 are the low and the high nibbles of 32 bytes.
      const codes = from + 16 + <usize> (group >> 1 << 5);
      const shift = (group & 1) << 2;
      storeCodes(lowNibbles(i8x16.shr_u(v128.load(codes), shift)), scale, min, to);
      storeCodes(lowNibbles(i8x16.shr_u(v128.load(codes, 16), shift)), scale, min, to + 64);
    }
  }
}

export function decodeQ5K(from: usize, to: usize, end: usize): void {
  const one = i8x16.splat(1);
  for (; to < end; from += 176) {
    const d = half(from);
    const dmin = half(from + 2);
    const fifths0 = v128.load(from + 16);
    const fifths1 = v128.load(from + 32);
    for (let group = 0; group < 8; group++, to += 128) {
      const scale = f32x4.splat(d * groupScale(from + 4, group));
      const min = f32x4.splat(-(dmin * groupMin(from + 4, group)));
      const codes = from + 48 + <usize> (group >> 1 << 5);
      const shift = (group & 1) << 2;
      const low = lowNibbles(i8x16.shr_u(v128.load(codes), shift));
      const high = lowNibbles(i8x16.shr_u(v128.load(codes, 16), shift));
      const fifth0 = i8x16.shl(v128.and(i8x16.shr_u(fifths0, group), one), 4);
      const fifth1 = i8x16.shl(v128.and(i8x16.shr_u(fifths1, group), one), 4);
      storeCodes(v128.or(low, fifth0), scale, min, to);
      storeCodes(v128.or(high, fifth1), scale, min, to + 64);
    }
  }
}

export function decodeQ6K(from: usize, to: usize, end: usize): void {
  const none = f32x4.splat(-0.0);
  const three = i8x16.splat(3);
  const zero = i8x16.splat(32);
  for (; to < end; from += 210) {
    const d = half(from + 208);
    for (let group = 0; group < 16; group++, to += 64) {
      // Groups 0 … 7 lie in the first 128 elements: quarters of 32, low nibbles in the first two.
      const part = group >> 3;
      const quarter = group >> 1 & 3;
      const scale = f32x4.splat(d * <f32> load<i8>(from + 192 + group));
      const odd = (group & 1) << 4;
      const low = v128.load(from + <usize> ((part << 6) + ((quarter & 1) << 5) + odd));
      const high = v128.load(from + 128 + <usize> ((part << 5) + odd));
      const nibbles = quarter >> 1 ? highNibbles(low) : lowNibbles(low);
      const pairs = i8x16.shl(v128.and(i8x16.shr_u(high, quarter << 1), three), 4);
      storeCodes(i8x16.sub(v128.or(nibbles, pairs), zero), scale, none, to);
    }
  }
}
