// packInt4n, packInt5, packInt5m, packInt4k, packInt5k, packInt6k: rows in exchange form (quant/formats.ts) to packed panels
// of 16 rows, whose blocks are drawn in kernels/matmul/fine_codes.as.ts. Done once, when a model loads;
// the rows may lie at any byte address.
//
// Row by row: a row has four bytes of every vector of its block.

import { shareStart } from "../common.as";
import {
  INT4K_BLOCK,
  INT4N_BLOCK,
  INT5_BLOCK,
  INT5K_BLOCK,
  INT5M_BLOCK,
  INT6K_BLOCK,
  PANEL_HEADER as HEADER,
} from "../constants.as";
import {
  codeBytes,
  codesAt,
  hasMinimums,
  hasRest,
  Int4n,
  Int4k,
  Int5,
  Int5k,
  Int5m,
  Int6k,
  is,
  sharedHalves,
} from "../matmul/fine_codes.as";
import { fifthBits, groupMin, groupScale, highNibbles, lowNibbles } from "./codes.as";
import { writeHeader } from "./halves.as";

/** args as `packInt4`. */
export function packInt4n(args: usize, worker: i32, workers: i32): void {
  packFine<Int4n>(INT4N_BLOCK, 18, args, worker, workers);
}

/** args as `packInt4`. */
export function packInt5(args: usize, worker: i32, workers: i32): void {
  packFine<Int5>(INT5_BLOCK, 22, args, worker, workers);
}

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
  const shared = sharedHalves<L>();
  const each = shared == 0 ? 1 : 8;
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
    writeHeader(panel, count, step, hasMinimums<L>() ? 4 : 2);
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
  store<u16>(halves, load<u16>(is<L, Int6k>() ? from + 208 : from));
  if (hasMinimums<L>()) store<u16>(halves, load<u16>(from, 2), 32);
  if (is<L, Int4n>()) {
    const v = v128.load(from + 2);
    packCodes<L>(lowNibbles(v), highNibbles(v), to, r);
    return;
  }
  if (sharedHalves<L>() == 0) {
    const fifths = from + (hasMinimums<L>() ? 4 : 2);
    const v = v128.load(fifths + 4);
    packCodes<L>(
      v128.or(lowNibbles(v), fifthBits(fifths)),
      v128.or(highNibbles(v), fifthBits(fifths + 2)),
      to,
      r,
    );
    return;
  }
  to += is<L, Int6k>() ? 32 : 64;
  for (let part = 0; part < parts; part++, to += blockBytes) {
    const multiples = to + (<usize> r << 1);
    if (is<L, Int6k>()) {
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
    const nibbles = from + (is<L, Int5k>() ? 48 : 16) + <usize> (part >> 1 << 5);
    const shift = (part & 1) << 2;
    let a = lowNibbles(i8x16.shr_u(v128.load(nibbles), shift));
    let b = lowNibbles(i8x16.shr_u(v128.load(nibbles, 16), shift));
    if (is<L, Int5k>()) {
      const one = i8x16.splat(1);
      a = v128.or(a, i8x16.shl(v128.and(i8x16.shr_u(v128.load(from, 16), part), one), 4));
      b = v128.or(b, i8x16.shl(v128.and(i8x16.shr_u(v128.load(from, 32), part), one), 4));
    }
    packCodes<L>(a, b, to, r);
  }
}

/**
 * The codes of row `r` for k < 16 and the others, `a` and `b`, to the packed block at `to`: where each
 * of them goes is drawn in kernels/matmul/fine_codes.as.ts.
 */
@inline
function packCodes<L>(a: v128, b: v128, to: usize, r: i32): void {
  const at = to + codesAt<L>() + <usize> (r >> 2) * codeBytes<L>() + (<usize> (r & 3) << 2);
  // Four bytes each.
  const c0: u32 = i32x4.extract_lane(a, 0), c1: u32 = i32x4.extract_lane(a, 1);
  const c2: u32 = i32x4.extract_lane(a, 2), c3: u32 = i32x4.extract_lane(a, 3);
  const c4: u32 = i32x4.extract_lane(b, 0), c5: u32 = i32x4.extract_lane(b, 1);
  const c6: u32 = i32x4.extract_lane(b, 2), c7: u32 = i32x4.extract_lane(b, 3);
  if (is<L, Int6k>()) {
    store<u32>(at, c0 | part(c3, 0, 3) << 6);
    store<u32>(at, c1 | part(c3, 2, 3) << 6, 16);
    store<u32>(at, c2 | part(c3, 4, 3) << 6, 32);
    store<u32>(at, c4 | part(c7, 0, 3) << 6, 48);
    store<u32>(at, c5 | part(c7, 2, 3) << 6, 64);
    store<u32>(at, c6 | part(c7, 4, 3) << 6, 80);
  } else if (hasRest<L>()) {
    store<u32>(at, c0 | part(c5, 0, 7) << 5);
    store<u32>(at, c1 | part(c5, 3, 3) << 5 | part(c7, 3, 1) << 7, 16);
    store<u32>(at, c2 | part(c6, 0, 7) << 5, 32);
    store<u32>(at, c3 | part(c6, 3, 3) << 5 | part(c7, 4, 1) << 7, 48);
    store<u32>(at, c4 | part(c7, 0, 7) << 5, 64);
  } else {
    store<u32>(at, c0 | c4 << 4);
    store<u32>(at, c1 | c5 << 4, 16);
    store<u32>(at, c2 | c6 << 4, 32);
    store<u32>(at, c3 | c7 << 4, 48);
  }
}

/** Of each of four bytes the bits of `mask` from bit `from` on. */
@inline
function part(codes: u32, from: u32, mask: u32): u32 {
  return codes >> from & mask * 0x01010101;
}
