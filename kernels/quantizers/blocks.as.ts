// Blocks of types under importances: quant/encode_plain.ts with the same bytes; K-quants are in
// groups.as.ts. Types go by their numbers in the specification. `area` is scratch memory of a worker.

import { halfBits } from "../pack/codes.as";
import { BLOCK_CODES, CELL, CODES } from "./area.as";
import { writeCodes } from "./codes.as";
import { rangedGroups, sixBits } from "./groups.as";
import {
  bestHalf,
  foundLeast,
  foundScale,
  halfValue,
  NONLINEAR,
  rangeError,
  searchRange,
  searchScale,
} from "./search.as";

@inline const HALF_MAX: f64 = 65504;

/** Numbers of a block. */
export function blockSize(type: i32): i32 {
  return type >= 12 && type <= 14 ? 256 : 32;
}

/** Bytes of a block. */
export function blockBytes(type: i32): i32 {
  switch (type) {
    case 2:
    case 20: return 18;
    case 3: return 20;
    case 6: return 22;
    case 7: return 24;
    case 8: return 34;
    case 12: return 144;
    case 13: return 176;
    default: return 210;
  }
}

/** Whether numbers up to `end` are finite. */
function areFinite(x: usize, end: usize): bool {
  let rest = f32x4.splat(0);
  for (; x < end; x += 16) {
    const v = v128.load(x);
    rest = v128.or(rest, f32x4.sub(v, v));
  }
  return !v128.any_true(rest);
}

/** Encodes one block; false where a half cannot hold its scale, or a number is none. */
export function encodeBlock(type: i32, x: usize, w: usize, out: usize, area: usize): bool {
  if (!areFinite(x, x + (<usize> blockSize(type) << 2))) return false;
  switch (type) {
    case 2: return scaled(x, w, out, area, -8, 7, true, type);
    case 6: return scaled(x, w, out, area, -16, 15, true, type);
    case 8: return scaled(x, w, out, area, -127, 127, true, type);
    case 20: return scaled(x, w, out, area, -127, 113, false, type);
    case 3: return ranged(x, w, out, area, 15, type);
    case 7: return ranged(x, w, out, area, 31, type);
    case 12: return rangedGroups(x, w, out, area, 15, type);
    case 13: return rangedGroups(x, w, out, area, 31, type);
    default: return sixBits(x, w, out, area);
  }
}

function scaled(
  x: usize,
  w: usize,
  out: usize,
  area: usize,
  least: f64,
  most: f64,
  isWhole: bool,
  type: i32,
): bool {
  const scale = searchScale(least, most, isWhole, x, w, 32);
  if (!(abs(scale) <= HALF_MAX)) return false;
  const bits = bestHalf(least, most, isWhole, x, w, 32, scale, area + CODES, area + CELL);
  store<u16>(out, bits);
  for (let k: usize = 0; k < 32; k++) {
    const code = <i32> load<i8>(area + CODES + k);
    const shifted = isWhole ? code - <i32> least - (type == 8 ? -1 : 0) : placeOf(code);
    store<u8>(area + BLOCK_CODES + k, shifted);
  }
  writeCodes(type, area + BLOCK_CODES, out);
  return true;
}

/** Which of the sixteen values of IQ4_NL a code is: the host has put them behind the table. */
function placeOf(code: i32): i32 {
  for (let i = 0; i < 16; i++) if (<i32> load<i8>(NONLINEAR + 512 + i) == code) return i;
  return 0;
}

function ranged(x: usize, w: usize, out: usize, area: usize, most: f64, type: i32): bool {
  searchRange(most, x, w, 32, false, area + CODES);
  const scale = foundScale;
  const least = foundLeast;
  if (!(scale <= HALF_MAX && abs(least) <= HALF_MAX)) return false;
  const d = <i32> halfBits(scale);
  const m = <i32> halfBits(least);
  let bestD = d;
  let bestM = m;
  let bestError: f64 = Infinity;
  for (let i = 0; i < 3; i++) {
    const nearM = i == 0 ? m : i == 1 ? m - 1 : m + 1;
    const minimum = halfValue(nearM, area + CELL);
    const rest = <i32> halfBits(jsMax(0, least - minimum));
    const count = scale > 0 ? 3 : 2;
    for (let j = 0; j < count; j++) {
      const nearD = j == 0 ? d : scale > 0 ? (j == 1 ? d - 1 : d + 1) : rest;
      const step = halfValue(nearD, area + CELL);
      // A place before the first half is no number.
      if (nearD < 0 || nearM < 0) continue;
      if (!(step >= 0 && step <= HALF_MAX && abs(minimum) <= HALF_MAX)) continue;
      const error = rangeError(most, x, w, 32, step, minimum, area + CODES);
      if (error < bestError) {
        bestError = error;
        bestD = nearD;
        bestM = nearM;
      }
    }
  }
  rangeError(
    most, x, w, 32, halfValue(bestD, area + CELL), halfValue(bestM, area + CELL), area + CODES,
  );
  store<u16>(out, bestD);
  store<u16>(out + 2, bestM);
  memory.copy(area + BLOCK_CODES, area + CODES, 32);
  writeCodes(type, area + BLOCK_CODES, out);
  return true;
}

/** `Math.max`, of which NaN is NaN. */
@inline
function jsMax(a: f64, b: f64): f64 {
  return max<f64>(a, b);
}
