// The bytes of blocks: codes into them, scales out of them, and the codes nearest to numbers, as
// quant/grids.ts and quant/nearest.ts have them. Types go by their numbers in the specification.

import { groupMin, groupScale, half } from "../pack/codes.as";
import { GROUP_OFFSETS, GROUP_SCALES } from "./area.as";
import { NONLINEAR } from "./search.as";

/** `Math.round`. */
@inline
export function round(x: f64): f64 {
  const up = ceil(x);
  return up - 0.5 > x ? up - 1 : up;
}

/** Writes the codes of a block, from 0, its scales left as they are. */
export function writeCodes(type: i32, codes: usize, out: usize): void {
  switch (type) {
    case 2:
    case 20: packNibbles(codes, out + 2); break;
    case 3: packNibbles(codes, out + 4); break;
    case 6: packFifths(codes, out + 2); break;
    case 7: packFifths(codes, out + 4); break;
    case 8: {
      for (let k: usize = 0; k < 32; k++) store<u8>(out + 2 + k, <i32> load<u8>(codes + k) - 128);
      break;
    }
    case 12: packGroups(codes, out + 16, false); break;
    case 13: packGroups(codes, out + 16, true); break;
    default: packSixBits(codes, out);
  }
}

@inline
export function packNibbles(codes: usize, to: usize): void {
  v128.store(to, v128.or(v128.load(codes), i8x16.shl(v128.load(codes, 16), 4)));
}

export function packFifths(codes: usize, to: usize): void {
  const low = v128.load(codes);
  const high = v128.load(codes, 16);
  store<u16>(to, i8x16.bitmask(i8x16.shl(low, 3)));
  store<u16>(to + 2, i8x16.bitmask(i8x16.shl(high, 3)));
  const fifteen = i8x16.splat(15);
  v128.store(to + 4, v128.or(v128.and(low, fifteen), i8x16.shl(high, 4)));
}

/** Twelve bytes: low six bits of the first four scales and minima, then nibbles of the others. */
export function packScales(scales: usize, minima: usize, to: usize): void {
  for (let j: usize = 0; j < 4; j++) {
    const s = <i32> load<u8>(scales + j);
    const t = <i32> load<u8>(scales + 4 + j);
    const m = <i32> load<u8>(minima + j);
    const o = <i32> load<u8>(minima + 4 + j);
    store<u8>(to + j, s | t >> 4 << 6);
    store<u8>(to + 4 + j, m | o >> 4 << 6);
    store<u8>(to + 8 + j, t & 15 | (o & 15) << 4);
  }
}

/** Bytes as nibbles, the second sixteen in the high halves. */
@inline
function nibbles(low: v128, high: v128): v128 {
  return v128.or(v128.and(low, i8x16.splat(15)), i8x16.shl(high, 4));
}

function packGroups(codes: usize, to: usize, hasFifth: bool): void {
  for (let k: usize = 0; k < 32; k += 16) {
    let fifths = i8x16.splat(0);
    let out = to + k + (hasFifth ? 32 : 0);
    for (let pair = 0; pair < 4; pair++, out += 32) {
      const low = v128.load(codes + (<usize> pair << 6) + k);
      const high = v128.load(codes + (<usize> pair << 6) + 32 + k);
      fifths = v128.or(fifths, i8x16.shl(i8x16.shr_u(low, 4), 2 * pair));
      fifths = v128.or(fifths, i8x16.shl(i8x16.shr_u(high, 4), 2 * pair + 1));
      v128.store(out, nibbles(low, high));
    }
    if (hasFifth) v128.store(to + k, fifths);
  }
}

function packSixBits(codes: usize, to: usize): void {
  for (let part: usize = 0; part < 2; part++) {
    for (let k: usize = 0; k < 32; k += 16) {
      const at = codes + (part << 7) + k;
      const a = v128.load(at);
      const b = v128.load(at + 32);
      const c = v128.load(at + 64);
      const d = v128.load(at + 96);
      v128.store(to + (part << 6) + k, nibbles(a, c));
      v128.store(to + (part << 6) + 32 + k, nibbles(b, d));
      const first = v128.or(i8x16.shr_u(a, 4), i8x16.shl(i8x16.shr_u(b, 4), 2));
      const second = v128.or(i8x16.shl(i8x16.shr_u(c, 4), 4), i8x16.shl(i8x16.shr_u(d, 4), 6));
      v128.store(to + 128 + (part << 5) + k, v128.or(first, second));
    }
  }
}

/** Reads the scales and offsets of a block's groups; how many numbers a group has. */
export function readScales(type: i32, block: usize, area: usize): i32 {
  if (type == 14) {
    const d = <f64> half(block + 208);
    for (let g: usize = 0; g < 16; g++) {
      store<f64>(area + GROUP_SCALES + (g << 3), d * <f64> load<i8>(block + 192 + g));
      store<f64>(area + GROUP_OFFSETS + (g << 3), 0);
    }
    return 16;
  }
  if (type == 12 || type == 13) {
    const d = <f64> half(block);
    const dmin = <f64> half(block + 2);
    for (let g = 0; g < 8; g++) {
      const to = area + (<usize> g << 3);
      store<f64>(to + GROUP_SCALES, d * <f64> groupScale(block + 4, g));
      store<f64>(to + GROUP_OFFSETS, -dmin * <f64> groupMin(block + 4, g));
    }
    return 32;
  }
  store<f64>(area + GROUP_SCALES, <f64> half(block));
  store<f64>(area + GROUP_OFFSETS, type == 3 || type == 7 ? <f64> half(block + 2) : 0);
  return 32;
}

/** The level of code 0, and how many codes there are, of types whose levels are whole numbers. */
export function leastLevel(type: i32): f64 {
  switch (type) {
    case 2: return -8;
    case 6: return -16;
    case 8: return -128;
    case 14: return -32;
    default: return 0;
  }
}

export function lastCode(type: i32): f64 {
  switch (type) {
    case 2:
    case 3:
    case 12:
    case 20: return 15;
    case 6:
    case 7:
    case 13: return 31;
    case 8: return 255;
    default: return 63;
  }
}

/** The code whose level is nearest to `value`. */
export function nearestCode(type: i32, value: f64): i32 {
  if (type != 20) {
    const code = round(value - leastLevel(type));
    return code > 0 ? <i32> min(code, lastCode(type)) : 0;
  }
  let code = 0;
  while (code < 15) {
    const here = <f64> load<i8>(NONLINEAR + 512 + code);
    const next = <f64> load<i8>(NONLINEAR + 513 + code);
    if (!(value - here > next - value)) break;
    code++;
  }
  return code;
}

/** The level of a code. */
@inline
export function levelOf(type: i32, code: i32): f64 {
  return type == 20 ? <f64> load<i8>(NONLINEAR + 512 + code) : <f64> code + leastLevel(type);
}
