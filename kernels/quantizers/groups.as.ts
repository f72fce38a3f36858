// Blocks of K-quants under importances: quant/encode_k.ts with the same bytes.

import { halfBits } from "../pack/codes.as";
import {
  CELL,
  CODES,
  IDEAL,
  IDEAL_MINIMA,
  KEPT,
  MINIMA,
  SCALES,
  TRIED,
} from "./area.as";
import { packScales, round, writeCodes } from "./codes.as";
import {
  foundLeast,
  foundScale,
  halfValue,
  rangeError,
  scaleError,
  searchRange,
  searchScale,
} from "./search.as";

@inline const HALF_MAX: f64 = 65504;
@inline const ROUNDS: i32 = 4;
@inline const MOST_START: f64 = 1.08;

@inline
function startOf(i: i32): f64 {
  return i == 0 ? 1 : i == 1 ? 0.97 : i == 2 ? 1.03 : 1.08;
}

@inline
function near(i: i32): i32 {
  return i == 0 ? 0 : i == 1 ? -1 : 1;
}

export function rangedGroups(x: usize, w: usize, out: usize, area: usize, most: f64, type: i32): bool {
  let topScale: f64 = -Infinity;
  let topMin: f64 = -Infinity;
  for (let g = 0; g < 8; g++) {
    const at = <usize> g << 7;
    searchRange(most, x + at, w + at, 32, true, area + TRIED);
    store<f64>(area + IDEAL + (<usize> g << 3), foundScale);
    store<f64>(area + IDEAL_MINIMA + (<usize> g << 3), -foundLeast);
    topScale = max(topScale, foundScale);
    topMin = max(topMin, -foundLeast);
  }
  const scale = topScale / 63;
  const minimum = topMin / 63;
  if (!(max(scale, minimum) * MOST_START < HALF_MAX)) return false;
  let least: f64 = Infinity;
  for (let start = 0; start < 4; start++) {
    let d = <i32> halfBits(startOf(start) * scale);
    let dmin = <i32> halfBits(startOf(start) * minimum);
    let last: f64 = Infinity;
    for (let round = 0; round < ROUNDS; round++) {
      const unit = halfValue(d, area + CELL);
      const unitMin = halfValue(dmin, area + CELL);
      const error = rangedMultiples(x, w, area, most, unit, unitMin);
      if (!(error < last)) break;
      last = error;
      if (error < least) {
        least = error;
        store<u16>(out, d);
        store<u16>(out + 2, dmin);
        packScales(area + SCALES, area + MINIMA, out + 4);
        memory.copy(area + KEPT, area + CODES, 256);
      }
      if (!fitRanges(x, w, area)) break;
      d = <i32> halfBits(fittedD);
      dmin = <i32> halfBits(fittedMin);
    }
  }
  writeCodes(type, area + KEPT, out);
  return true;
}

@inline
function nearestMultiple(value: f64, unit: f64): i32 {
  return unit > 0 ? <i32> max<f64>(0, min<f64>(63, round(value / unit))) : 0;
}

function rangedMultiples(
  x: usize,
  w: usize,
  area: usize,
  most: f64,
  unit: f64,
  unitMin: f64,
): f64 {
  let error: f64 = 0;
  for (let g = 0; g < 8; g++) {
    const at = <usize> g << 7;
    const s = nearestMultiple(load<f64>(area + IDEAL + (<usize> g << 3)), unit);
    const m = nearestMultiple(load<f64>(area + IDEAL_MINIMA + (<usize> g << 3)), unitMin);
    let best: f64 = Infinity;
    for (let i = 0; i < 3; i++) {
      for (let j = 0; j < 3; j++) {
        const S = s + near(i);
        const M = m + near(j);
        if (S < 0 || S > 63 || M < 0 || M > 63) continue;
        const off = rangeError(
          most, x + at, w + at, 32, unit * <f64> S, -unitMin * <f64> M, area + TRIED,
        );
        if (off >= best) continue;
        best = off;
        store<u8>(area + SCALES + g, S);
        store<u8>(area + MINIMA + g, M);
        memory.copy(area + CODES + (<usize> g << 5), area + TRIED, 32);
      }
    }
    error += best;
  }
  return error;
}

let fittedD: f64 = 0;
let fittedMin: f64 = 0;

function fitRanges(x: usize, w: usize, area: usize): bool {
  let aa: f64 = 0;
  let ab: f64 = 0;
  let bb: f64 = 0;
  let ax: f64 = 0;
  let bx: f64 = 0;
  for (let k: usize = 0; k < 256; k++) {
    const g = k >> 5;
    const weight = <f64> load<f32>(w + (k << 2));
    const value = weight * <f64> load<f32>(x + (k << 2));
    const a = <f64> load<u8>(area + SCALES + g) * <f64> load<i8>(area + CODES + k);
    const b = -<f64> load<u8>(area + MINIMA + g);
    aa += weight * a * a;
    ab += weight * a * b;
    bb += weight * b * b;
    ax += value * a;
    bx += value * b;
  }
  if (bb == 0) {
    if (!(aa > 0 && ax > 0)) return false;
    fittedD = ax / aa;
    fittedMin = 0;
    return true;
  }
  const determinant = aa * bb - ab * ab;
  if (!(determinant > 0)) return false;
  const d = (bb * ax - ab * bx) / determinant;
  const dmin = (aa * bx - ab * ax) / determinant;
  fittedD = d;
  fittedMin = dmin;
  return d > 0 && dmin >= 0 && d <= HALF_MAX && dmin <= HALF_MAX;
}

export function sixBits(x: usize, w: usize, out: usize, area: usize): bool {
  let peak: f64 = 0;
  for (let g = 0; g < 16; g++) {
    const at = <usize> g << 6;
    const scale = searchScale(-32, 31, true, x + at, w + at, 16);
    store<f64>(area + IDEAL + (<usize> g << 3), scale);
    if (abs(scale) > abs(peak)) peak = scale;
  }
  if (!(abs(peak / 128) * MOST_START < HALF_MAX)) return false;
  let least: f64 = Infinity;
  for (let start = 0; start < 4; start++) {
    let d = <i32> halfBits(startOf(start) * peak / -128);
    let last: f64 = Infinity;
    for (let round = 0; round < ROUNDS; round++) {
      const error = sixBitMultiples(x, w, area, halfValue(d, area + CELL));
      if (!(error < last)) break;
      last = error;
      if (error < least) {
        least = error;
        store<u16>(out + 208, d);
        memory.copy(out + 192, area + SCALES, 16);
        for (let k: usize = 0; k < 256; k++) {
          store<u8>(area + KEPT + k, <i32> load<i8>(area + CODES + k) + 32);
        }
      }
      let aa: f64 = 0;
      let ax: f64 = 0;
      for (let k: usize = 0; k < 256; k++) {
        const weight = <f64> load<f32>(w + (k << 2));
        const a = <f64> load<i8>(area + SCALES + (k >> 4)) * <f64> load<i8>(area + CODES + k);
        aa += weight * a * a;
        ax += weight * a * <f64> load<f32>(x + (k << 2));
      }
      if (!(aa > 0) || !(abs(ax / aa) <= HALF_MAX)) break;
      d = <i32> halfBits(ax / aa);
    }
  }
  writeCodes(14, area + KEPT, out);
  return true;
}

function sixBitMultiples(x: usize, w: usize, area: usize, unit: f64): f64 {
  let error: f64 = 0;
  for (let g = 0; g < 16; g++) {
    const at = <usize> g << 6;
    const s = unit != 0 ? round(load<f64>(area + IDEAL + (<usize> g << 3)) / unit) : 0;
    let best: f64 = Infinity;
    for (let i = 0; i < 3; i++) {
      const S = max<f64>(-128, min<f64>(127, s + <f64> near(i)));
      const off = scaleError(-32, 31, true, x + at, w + at, 16, unit * S, area + TRIED);
      if (off >= best) continue;
      best = off;
      store<i8>(area + SCALES + g, <i8> S);
      memory.copy(area + CODES + (<usize> g << 4), area + TRIED, 16);
    }
    error += best;
  }
  return error;
}
