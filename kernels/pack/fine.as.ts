// packInt5m, packInt4k, packInt5k, packInt6k: rows in exchange form (quant/formats.ts) to packed panels
// of 16 rows, whose blocks are drawn in kernels/matmul/fine_codes.as.ts. Done once, when a model loads;
// the rows may lie at any byte address.
//
// Row by row: a row has four bytes of every vector of its block.

import { shareStart } from "../common.as";
import {
  INT4K_BLOCK,
  INT5K_BLOCK,
  INT5M_BLOCK,
  INT6K_BLOCK,
  PANEL_HEADER as HEADER,
} from "../constants.as";
import { Int4k, Int5k, Int5m, Int6k, nibblesAt } from "../matmul/fine_codes.as";
import { fifthBits, groupMin, groupScale, highNibbles, lowNibbles } from "./codes.as";
import { writeHeader } from "./halves.as";

/** args as `packInt4`. */
export function packInt5m(args: usize, worker: i32, workers: i32): void {
  packFine<Int5m>(INT5M_BLOCK, 24, args, worker, workers);
}

/** args as `packInt4`. */
export function packInt4k(args: usize, worker: i32, workers: i32): void {
  packFine<Int4k>(INT4K_BLOCK, 144, args, worker, workers);
}

/** args as `packInt4`. */
export function packInt5k(args: usize, worker: i32, workers: i32): void {
  packFine<Int5k>(INT5K_BLOCK, 176, args, worker, workers);
}

/** args as `packInt4`. */
export function packInt6k(args: usize, worker: i32, workers: i32): void {
  packFine<Int6k>(INT6K_BLOCK, 210, args, worker, workers);
}

/** `blockBytes` of a packed block of 32 k, `bytes` of a row's block in exchange form. */
@inline
function packFine<L>(
  blockBytes: usize,
  bytes: usize,
  args: usize,
  worker: i32,
  workers: i32,
): void {
  const firstRow = load<i32>(args, 8);
  const rows = load<i32>(args, 12) - firstRow;
  const blocks = (load<i32>(args, 16) + 31) >> 5;
  // Exchange blocks of a row; each has `each` packed blocks behind what they share.
  const each = sizeof<L>() == sizeof<Int5m>() ? 1 : 8;
  const shared: usize = sizeof<L>() == sizeof<Int5m>() ? 0 : sizeof<L>() == sizeof<Int6k>() ? 32 : 64;
  const count = (blocks + each - 1) / each;
  const step = shared + <usize> each * blockBytes;
  const panelBytes = HEADER + <usize> count * shared + <usize> blocks * blockBytes;
  const panels = (rows + 15) >> 4;
  const end = shareStart(panels, worker + 1, workers);
  for (let p = shareStart(panels, worker, workers); p < end; p++) {
    const panel = load<usize>(args, 4) + <usize> (p + (firstRow >> 4)) * panelBytes;
    const valid = min(rows - (p << 4), 16);
    if (valid < 16) memory.fill(panel + HEADER, 0, panelBytes - HEADER);
    let to = panel + HEADER;
    for (let i = 0; i < count; i++, to += step) {
      const parts = min(each, blocks - i * each);
      for (let r = 0; r < valid; r++) {
        const from = load<usize>(args) + (<usize> ((p << 4) + r) * count + i) * bytes;
        packRow<L>(blockBytes, from, to, r, parts);
      }
    }
    writeHeader(panel, count, step, sizeof<L>() == sizeof<Int6k>() ? 2 : 4);
  }
}

/** Row `r` of the first `parts` packed blocks that an exchange block becomes. */
@inline
function packRow<L>(
  blockBytes: usize,
  from: usize,
  to: usize,
  r: i32,
  parts: i32,
): void {
  const halves = to + (<usize> r << 1);
  store<u16>(halves, load<u16>(sizeof<L>() == sizeof<Int6k>() ? from + 208 : from));
  if (sizeof<L>() != sizeof<Int6k>()) store<u16>(halves, load<u16>(from, 2), 32);
  if (sizeof<L>() == sizeof<Int5m>()) {
    const v = v128.load(from + 8);
    packCodes<L>(
      v128.or(lowNibbles(v), fifthBits(from + 4)),
      v128.or(highNibbles(v), fifthBits(from + 6)),
      to,
      r,
    );
    return;
  }
  to += sizeof<L>() == sizeof<Int6k>() ? 32 : 64;
  for (let part = 0; part < parts; part++, to += blockBytes) {
    const multiples = to + (<usize> r << 1);
    if (sizeof<L>() == sizeof<Int6k>()) {
      store<u16>(multiples, load<u16>(from + 192 + (part << 1)));
      // Halves of 128 numbers, quarters of 32: nibbles of the first two lie below those of the last.
      const low = from + <usize> ((part >> 2 << 6) + ((part & 1) << 5));
      const high = from + 128 + <usize> (part >> 2 << 5);
      const shift = (part & 2) << 1;
      const pair = (part & 3) << 1;
      packCodes<L>(
        v128.or(
          lowNibbles(i8x16.shr_u(v128.load(low), shift)),
          i8x16.shl(v128.and(i8x16.shr_u(v128.load(high), pair), i8x16.splat(3)), 4),
        ),
        v128.or(
          lowNibbles(i8x16.shr_u(v128.load(low, 16), shift)),
          i8x16.shl(v128.and(i8x16.shr_u(v128.load(high, 16), pair), i8x16.splat(3)), 4),
        ),
        to,
        r,
      );
      continue;
    }
    store<u8>(multiples, <u32> groupScale(from + 4, part));
    store<u8>(multiples, <u32> groupMin(from + 4, part), 1);
    // Groups 2j and 2j+1 are the low and the high nibbles of 32 bytes.
    const nibbles = from + (sizeof<L>() == sizeof<Int5k>() ? 48 : 16) + <usize> (part >> 1 << 5);
    const shift = (part & 1) << 2;
    let a = lowNibbles(i8x16.shr_u(v128.load(nibbles), shift));
    let b = lowNibbles(i8x16.shr_u(v128.load(nibbles, 16), shift));
    if (sizeof<L>() == sizeof<Int5k>()) {
      const one = i8x16.splat(1);
      a = v128.or(a, i8x16.shl(v128.and(i8x16.shr_u(v128.load(from, 16), part), one), 4));
      b = v128.or(b, i8x16.shl(v128.and(i8x16.shr_u(v128.load(from, 32), part), one), 4));
    }
    packCodes<L>(a, b, to, r);
  }
}

/** The codes of row `r` for k < 16 and the others, `a` and `b`, to the packed block at `to`. */
@inline
function packCodes<L>(a: v128, b: v128, to: usize, r: i32): void {
  const lane = <usize> (r & 3) << 2;
  const nibbles = v128.or(lowNibbles(a), i8x16.shl(b, 4));
  const at = to + nibblesAt<L>() + (<usize> (r >> 2) << 6) + lane;
  v128.store_lane<u32>(at, nibbles, 0);
  v128.store_lane<u32>(at, nibbles, 1, 16);
  v128.store_lane<u32>(at, nibbles, 2, 32);
  v128.store_lane<u32>(at, nibbles, 3, 48);
  if (sizeof<L>() == sizeof<Int4k>()) return;
  const u = highNibbles(a);
  const v = highNibbles(b);
  if (sizeof<L>() == sizeof<Int6k>()) {
    const pairs = to + 32 + (<usize> (r >> 2) << 5) + lane;
    store<u32>(pairs, stacked(u, 2));
    store<u32>(pairs, stacked(v, 2), 16);
    return;
  }
  const fifths = to + (sizeof<L>() == sizeof<Int5m>() ? 64 : 32) + (<usize> (r >> 2) << 4) + lane;
  store<u32>(fifths, stacked(u, 1) | stacked(v, 1) << 4);
}

/** Four bytes, each with the few bits of four: lane j's are moved up by j times `bits`. */
@inline
function stacked(v: v128, bits: i32): u32 {
  return i32x4.extract_lane(v, 0) | i32x4.extract_lane(v, 1) << bits |
    i32x4.extract_lane(v, 2) << 2 * bits | i32x4.extract_lane(v, 3) << 3 * bits;
}
