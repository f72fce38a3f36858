// transcode: rows of a file's tensor type to rows of a layout's exchange form, with the very bytes
// that quant/transcode.ts gives. Done once, when a model loads; the rows may lie at any byte address.

import {
  fifthBits,
  groupMin,
  groupScale,
  half,
  halfBits,
  highNibbles,
  linearCodes,
  lowNibbles,
  nonlinearCodes,
  scaleQ3K,
} from "./codes.as";
import { BF16, F16, F32, INT4, INT4M, INT6K, INT8 } from "../constants.as";
import { decode } from "./decode.as";
import { encodeBf16, encodeF16, encodeInt4, encodeInt4m, encodeInt8 } from "./encode.as";

/**
 * args: rows of the file, rows in exchange form, rows, columns, number of the type in the
 * specification, number of the layout, bytes of a row in the file and in exchange form, memory for
 * one row as f32 (padded to whole blocks of 32), int32 cell that is set where a value cannot be held,
 * or the layout is one of the finer ones, which of other types' rows only those of Q3_K are put into.
 * One worker does all.
 */
export function transcode(args: usize, worker: i32, workers: i32): void {
  const from = load<usize>(args);
  const to = load<usize>(args, 4);
  const rows = load<i32>(args, 8);
  const cols = load<i32>(args, 12);
  const type = load<i32>(args, 16);
  const layout = load<i32>(args, 20);
  const end = from + <usize> rows * load<usize>(args, 24);
  let held = true;
  if (layout == F32) decode(type, from, rows * cols, to);
  else if (layout == INT4M && type == 12) held = repackQ4K(from, end, to);
  else if (layout == INT6K && type == 11) held = repackQ3K(from, end, to);
  else if (layout == INT8 && type == 2) held = repackNibbles(from, end, to, linearCodes());
  else if (layout == INT8 && type == 20) held = repackNibbles(from, end, to, nonlinearCodes());
  else if (layout == INT8 && type == 6) held = repackQ5(from, end, to);
  else held = throughFloats(args, from, end, to, cols, type, layout);
  if (!held) store<i32>(load<usize>(args, 36), 1);
}

function throughFloats(
  args: usize,
  from: usize,
  end: usize,
  to: usize,
  cols: i32,
  type: i32,
  layout: i32,
): bool {
  const values = load<usize>(args, 32);
  const valuesEnd = values + (<usize> cols << 2);
  const paddedEnd = values + (<usize> (cols + 31 & ~31) << 2);
  for (; from < end; from += load<usize>(args, 24), to += load<usize>(args, 28)) {
    decode(type, from, cols, values);
    memory.fill(valuesEnd, 0, paddedEnd - valuesEnd);
    let held = false;
    if (layout == F16) held = encodeF16(values, valuesEnd, to);
    else if (layout == BF16) held = encodeBf16(values, valuesEnd, to);
    else if (layout == INT8) held = encodeInt8(values, paddedEnd, to);
    else if (layout == INT4) held = encodeInt4(values, paddedEnd, to);
    else if (layout == INT4M) held = encodeInt4m(values, paddedEnd, to);
    if (!held) return false;
  }
  return true;
}

/** Nibble codes become the bytes that `codes` gives for them; the scale is kept. */
function repackNibbles(from: usize, end: usize, to: usize, codes: v128): bool {
  for (; from < end; from += 18, to += 34) {
    store<u16>(to, load<u16>(from));
    const v = v128.load(from + 2);
    v128.store(to + 2, i8x16.swizzle(codes, lowNibbles(v)));
    v128.store(to + 18, i8x16.swizzle(codes, highNibbles(v)));
  }
  return true;
}

/** Q5_0: nibbles and fifth bits become bytes; the scale is kept. */
function repackQ5(from: usize, end: usize, to: usize): bool {
  const zero = i8x16.splat(16);
  for (; from < end; from += 22, to += 34) {
    store<u16>(to, load<u16>(from));
    const v = v128.load(from + 6);
    v128.store(to + 2, i8x16.sub(v128.or(lowNibbles(v), fifthBits(from + 2)), zero));
    v128.store(to + 18, i8x16.sub(v128.or(highNibbles(v), fifthBits(from + 4)), zero));
  }
  return true;
}

/** Codes of three bits, less 4, are codes of six bits, less 32; scales are kept. */
function repackQ3K(from: usize, end: usize, to: usize): bool {
  for (; from < end; from += 110, to += 210) {
    // Sixteen bytes with the bit pairs of four quarters of 32, of which each half of the block has two.
    for (let i = 0; i < 4; i++) {
      const l = <usize> (i & 1) << 4;
      const pairs = v128.load(from + 32 + (<usize> i << 4));
      const thirds = i8x16.shr_u(v128.load(from + l), i >> 1 << 2);
      const a = codesQ3K(pairs, thirds, 0);
      const b = codesQ3K(pairs, thirds, 1);
      const c = codesQ3K(pairs, thirds, 2);
      const e = codesQ3K(pairs, thirds, 3);
      const low = to + (<usize> (i >> 1) << 6) + l;
      v128.store(low, v128.or(lowNibbles(a), i8x16.shl(c, 4)));
      v128.store(low, v128.or(lowNibbles(b), i8x16.shl(e, 4)), 32);
      const upper = v128.or(
        v128.or(highNibbles(a), i8x16.shl(highNibbles(b), 2)),
        v128.or(i8x16.shl(highNibbles(c), 4), i8x16.shl(highNibbles(e), 6)),
      );
      v128.store(to + 128 + (<usize> i << 4), upper);
    }
    for (let group = 0; group < 16; group++) {
      store<u8>(to + <usize> group, <u8> scaleQ3K(from, group), 192);
    }
    store<u16>(to, load<u16>(from, 108), 208);
  }
  return true;
}

/** Codes of a quarter as those of six bits. */
@inline
function codesQ3K(pairs: v128, thirds: v128, quarter: i32): v128 {
  const low = v128.and(i8x16.shr_u(pairs, quarter << 1), i8x16.splat(3));
  const third = i8x16.shl(v128.and(i8x16.shr_u(thirds, quarter), i8x16.splat(1)), 2);
  return i8x16.add(v128.or(low, third), i8x16.splat(28));
}

/** Codes are kept; each group's scale and minimum, products of 17 bits, are rounded to halves. */
function repackQ4K(from: usize, end: usize, to: usize): bool {
  for (; from < end; from += 144) {
    const d = half(from);
    const dmin = half(from + 2);
    for (let group = 0; group < 8; group++, to += 20) {
      const scale = d * groupScale(from + 4, group);
      const min = -dmin * groupMin(from + 4, group);
      if (!(max(abs(scale), abs(min)) <= 65504)) return false;
      store<u16>(to, halfBits(scale));
      store<u16>(to + 2, halfBits(min));
      // Groups 2j and 2j+1 are the low and the high nibbles of 32 bytes.
      const codes = from + 16 + <usize> (group >> 1 << 5);
      const shift = (group & 1) << 2;
      const low = lowNibbles(i8x16.shr_u(v128.load(codes), shift));
      const high = lowNibbles(i8x16.shr_u(v128.load(codes, 16), shift));
      v128.store(to + 4, v128.or(low, i8x16.shl(high, 4)));
    }
  }
  return true;
}
