/**
 * How WebGPU stores weight matrices: each layout as one or two planes, every row padded with zeros
 * to whole blocks of 32 columns, or of 256 as in the exchange form, so that one shader serves all
 * layouts. The fragments `pack/<layout>.wgsl` read them.
 *
 * | layout | first plane, bytes of a block | second plane |
 * | --- | --- | --- |
 * | `f32` | 128: the numbers | |
 * | `f16` `bf16` | 64: the numbers | |
 * | `int8` | 32: signed bytes | 2: half `d` |
 * | `int4` `int4n` | 16: nibbles, as in the exchange form | 2: half `d` |
 * | `int5` | 20: fifth bits, nibbles | 2: half `d` |
 * | `int4m` | 16: nibbles | 4: halves `d` and `m` |
 * | `int5m` | 24: the block of the exchange form | |
 * | `int4k` `int5k` | 144, 176 for 256 columns: the block of the exchange form | |
 * | `int6k` | 208 for 256 columns: nibbles, pairs of bits, `s` | 2: half `d` |
 *
 * @module
 */

import { type LayoutName, LAYOUTS, rowBytes } from "../../quant/formats.ts";
import bf16 from "./bf16.wgsl" with { type: "text" };
import f16 from "./f16.wgsl" with { type: "text" };
import f32 from "./f32.wgsl" with { type: "text" };
import fifths from "./fifths.wgsl" with { type: "text" };
import int4 from "./int4.wgsl" with { type: "text" };
import int4m from "./int4m.wgsl" with { type: "text" };
import int4n from "./int4n.wgsl" with { type: "text" };
import int4k from "./int4k.wgsl" with { type: "text" };
import int5 from "./int5.wgsl" with { type: "text" };
import int5k from "./int5k.wgsl" with { type: "text" };
import int5m from "./int5m.wgsl" with { type: "text" };
import int6k from "./int6k.wgsl" with { type: "text" };
import int8 from "./int8.wgsl" with { type: "text" };
import rangesK from "./ranges_k.wgsl" with { type: "text" };

/** Columns of a block. */
const BLOCK_COLUMNS = 32;

/** WGSL that reads eight elements of a weight, in bindings 1 and 2. */
export const PLANE_READERS: Readonly<Record<LayoutName, string>> = {
  f32,
  f16,
  bf16,
  int8,
  int4,
  int4n,
  int5: int5 + fifths,
  int4m,
  int5m: int5m + fifths,
  int4k: int4k + rangesK,
  int5k: int5k + rangesK,
  int6k,
};

/** A plane: bytes of a block (of 256 columns where the layout's are so long), and where they lie in a block of the exchange form. */
interface PlaneForm {
  readonly bytes: number;
  readonly offset: number;
}

const PLANES: Readonly<Record<LayoutName, readonly PlaneForm[]>> = {
  f32: [{ bytes: 128, offset: 0 }],
  f16: [{ bytes: 64, offset: 0 }],
  bf16: [{ bytes: 64, offset: 0 }],
  int8: [{ bytes: 32, offset: 2 }, { bytes: 2, offset: 0 }],
  int4: [{ bytes: 16, offset: 2 }, { bytes: 2, offset: 0 }],
  int4n: [{ bytes: 16, offset: 2 }, { bytes: 2, offset: 0 }],
  int5: [{ bytes: 20, offset: 2 }, { bytes: 2, offset: 0 }],
  int4m: [{ bytes: 16, offset: 4 }, { bytes: 4, offset: 0 }],
  int5m: [{ bytes: 24, offset: 0 }],
  int4k: [{ bytes: 144, offset: 0 }],
  int5k: [{ bytes: 176, offset: 0 }],
  int6k: [{ bytes: 208, offset: 0 }, { bytes: 2, offset: 208 }],
};

/** Blocks of 32 columns of a row. */
export function blocksOf(columns: number): number {
  return Math.ceil(columns / BLOCK_COLUMNS);
}

/** Blocks of a row in a layout's planes. */
function planeBlocks(layout: LayoutName, columns: number): number {
  return Math.ceil(columns / Math.max(LAYOUTS[layout].blockSize, BLOCK_COLUMNS));
}

/** Bytes of a row in each plane. */
export function planeRowBytes(layout: LayoutName, columns: number): number[] {
  return PLANES[layout].map(({ bytes }) => bytes * planeBlocks(layout, columns));
}

/**
 * Splits rows of the exchange form into planes. The last plane is as long as a multiple of 4 bytes,
 * which is what buffers can be written in.
 */
export function splitPlanes(
  layout: LayoutName,
  rows: Uint8Array,
  columns: number,
): Uint8Array<ArrayBuffer>[] {
  const count = rows.length / rowBytes(LAYOUTS[layout], columns);
  const halves = wholeBlocks(layout, rows, columns, count);
  const blocks = count * planeBlocks(layout, columns);
  const stride = halves.length / blocks;
  return PLANES[layout].map(({ bytes, offset }) => {
    const length = blocks * bytes / 2, each = bytes / 2;
    const plane = new Uint16Array(length + length % 2);
    if (each === stride) plane.set(halves);
    else {
      for (let from = offset / 2, to = 0; to < length; from += stride - each) {
        for (const end = to + each; to < end;) plane[to++] = halves[from++];
      }
    }
    return new Uint8Array(plane.buffer);
  });
}

/** Rows in 16-bit words, those of float layouts padded to whole blocks. */
function wholeBlocks(
  layout: LayoutName,
  rows: Uint8Array,
  columns: number,
  count: number,
): Uint16Array {
  if (LAYOUTS[layout].blockSize === 1 && columns % BLOCK_COLUMNS !== 0) {
    const stride = rows.length / count, padded = planeRowBytes(layout, columns)[0]!;
    const bytes = new Uint8Array(count * padded);
    for (let row = 0; row < count; row++) {
      bytes.set(rows.subarray(row * stride, (row + 1) * stride), row * padded);
    }
    return new Uint16Array(bytes.buffer);
  }
  const aligned = rows.byteOffset % 2 === 0 ? rows : rows.slice();
  return new Uint16Array(aligned.buffer, aligned.byteOffset, aligned.length / 2);
}
