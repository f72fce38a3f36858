/**
 * Matrices in a quantizer's form (packed_matrix.ts) as tensors of a type of GGUF: blocks of 32 columns
 * with the codes and scales of the file, or f32 numbers. All parts of a matrix are read at once, because
 * its codes lie column by column in most files, and forgotten when every row has been handed on.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { LAYOUTS, rowBytes } from "../../quant/formats.ts";
import { HALF_MAX, halfBits } from "../../quant/half.ts";
import type { TensorEntry } from "./model_file.ts";
import { BLOCK, type PackedForm, type PackedMatrix } from "./packed_matrix.ts";
import { derived, wholeView } from "./views.ts";

const TYPES: Readonly<Record<PackedForm, string>> = {
  ...{ int4: "Q4_0", int4m: "Q4_1", int8: "Q8_0", f32: "F32" },
};

/**
 * The matrix as blocks of a type that keeps its codes (`keepsOf`), with its columns by their group; or
 * as f32 numbers, with its columns in their own order.
 *
 * @throws ModelError from reading, when a scale is no number, or a zero is not what the file says
 */
export function packedEntry(matrix: PackedMatrix, form: PackedForm): TensorEntry {
  const { codes, shape: [rows, columns], groups } = matrix;
  const order = form === "f32" ? undefined : groups.order;
  const stride = rowBytes(LAYOUTS[form], columns), bytes = rows * stride;
  // Weights are read in the order of the file, so that the parts of one follow each other.
  const base = codes.offset;

  async function readAll(): Promise<Unpacked> {
    const [packed, scales] = await Promise.all([
      codes.source.read(codes.offset, codes.bytes),
      readChecked(matrix, form),
    ]);
    const blockGroups = groupsOfBlocks(matrix);
    return { ...scales, packed: new Uint32Array(packed.slice().buffer), blockGroups };
  }

  /** Bytes of the rows around a range, of which the range is handed on. */
  function copy(all: Unpacked, start: number, into: Uint8Array): void {
    start -= base;
    const first = Math.floor(start / stride), end = Math.ceil((start + into.length) / stride);
    const unordered = new Uint8Array((end - first) * columns);
    matrix.unpack(all.packed, first, end, unordered);
    const out = new Uint8Array((end - first) * stride);
    const codes = new Uint8Array(BLOCK * Math.ceil(columns / BLOCK)); // of one row, in their order
    for (let row = first; row < end; row++) {
      const begin = (row - first) * columns;
      if (order) { for (let i = 0; i < columns; i++) codes[i] = unordered[begin + order[i]!]!; }
      else codes.set(unordered.subarray(begin, begin + columns));
      WRITERS[form](matrix, all, row, codes, out, (row - first) * stride);
    }
    into.set(out.subarray(start - first * stride, start - first * stride + into.length));
  }

  const view = wholeView(codes.source, bytes, readAll, copy);
  return {
    name: matrix.name,
    type: TYPES[form],
    shape: [rows, columns],
    source: { ...view, ...derived(codes.source, base + bytes), read: view.read },
    offset: base,
    bytes,
  };
}

/** A matrix as it lies in memory while its rows are handed on. */
interface Unpacked extends CheckedScales {
  readonly packed: Uint32Array;
  /** Group of each block of columns, where blocks are filled by one. */
  readonly blockGroups: Uint32Array;
}

/** Scales and zeros, `[groups, rows]`. */
interface CheckedScales {
  readonly scales: Float32Array;
  readonly zeros: Uint16Array;
}

/** Scales and zeros, as the file has promised them. */
async function readChecked(matrix: PackedMatrix, form: PackedForm): Promise<CheckedScales> {
  const { name, bits, codes, shape: [rows], groups } = matrix;
  const fail = (found: string, expected: string): never => {
    throw new ModelError(
      `Cannot load tensor ${quote(name)} of ${quote(codes.source.name)}: ${found}, expected ` +
        expected,
    );
  };
  const { scales, zeros } = await matrix.readScales();
  const middle = 2 ** (bits - 1);
  const needsMiddle = matrix.symmetric && form !== "f32" && !(form === "int8" && bits === 4);
  const all = zeros ?? new Uint16Array(groups.count * rows).fill(middle);
  for (let i = 0; i < scales.length; i++) {
    if (!Number.isFinite(scales[i]!)) {
      fail(
        `the scale of group ${Math.floor(i / rows)} of row ${i % rows} is ${scales[i]}`,
        "a number",
      );
    }
    if (needsMiddle && all[i] !== middle) {
      const weights = bits === 4 ? "int8" : "f32";
      fail(
        `the zero of group ${Math.floor(i / rows)} of row ${i % rows} is ${all[i]}`,
        `${middle}, as its configuration says; load it with weights ${quote(weights)}`,
      );
    }
    if (all[i]! > 2 ** bits) {
      fail(
        `the zero of group ${Math.floor(i / rows)} of row ${i % rows} is no number of ${bits} bits`,
        `at most ${2 ** bits}`,
      );
    }
    const minimum = scales[i]! * all[i]!;
    if (form === "int4m" && Math.abs(minimum) > HALF_MAX) {
      fail(`a minimum is ${minimum}`, `at most ${HALF_MAX}; load it with weights "int8"`);
    }
  }
  return { scales, zeros: all };
}

/** Writes one row of codes, in the order of their groups and with whole blocks, to `out` from `to`. */
type Write = (
  matrix: PackedMatrix,
  all: Unpacked,
  row: number,
  codes: Uint8Array,
  out: Uint8Array,
  to: number,
) => void;

const WRITERS: Readonly<Record<PackedForm, Write>> = {
  int4: (matrix, all, row, codes, out, to) => {
    for (let at = 0; at < codes.length; at += BLOCK, to += 18) {
      const place = placeOf(matrix, all, at) + row;
      putHalf(out, to, all.scales[place]!);
      putNibbles(codes, at, all.zeros[place]!, matrix.shape[1], out, to + 2);
    }
  },
  int4m: (matrix, all, row, codes, out, to) => {
    for (let at = 0; at < codes.length; at += BLOCK, to += 20) {
      const place = placeOf(matrix, all, at) + row;
      const scale = all.scales[place]!, zero = all.zeros[place]!;
      putHalf(out, to, scale);
      putHalf(out, to + 2, -scale * zero);
      putNibbles(codes, at, zero, matrix.shape[1], out, to + 4);
    }
  },
  int8(matrix, all, row, codes, out, to) {
    for (let at = 0; at < codes.length; at += BLOCK, to += 34) {
      const place = placeOf(matrix, all, at) + row, zero = all.zeros[place]!;
      putHalf(out, to, all.scales[place]!);
      pad(codes, at, zero, matrix.shape[1]);
      for (let k = 0; k < BLOCK; k++) out[to + 2 + k] = codes[at + k]! - zero;
    }
  },
  f32({ groups, shape: [rows, columns] }, { scales, zeros }, row, codes, out, to) {
    const values = new Float32Array(out.buffer, to, columns), { of, size } = groups;
    for (let at = 0; at < columns;) {
      const group = of ? of[at]! : at / size, end = of ? at + 1 : Math.min(columns, at + size);
      const scale = scales[group * rows + row]!, zero = zeros[group * rows + row]!;
      for (; at < end; at++) values[at] = scale * (codes[at]! - zero);
    }
  },
};

/** Group of a block of columns, times the rows. */
function placeOf({ shape: [rows] }: PackedMatrix, { blockGroups }: Unpacked, at: number): number {
  return rows * blockGroups[at / BLOCK]!;
}

/** Groups of the blocks of columns, in the order of their groups. */
function groupsOfBlocks(
  { groups: { of, order, size }, shape: [, columns] }: PackedMatrix,
): Uint32Array {
  return Uint32Array.from(
    { length: Math.ceil(columns / BLOCK) },
    (_, i) => of && order ? of[order[i * BLOCK]!]! : Math.floor(i * BLOCK / size),
  );
}

/** Fills what is beyond the columns in a row's last block with what stands for 0. */
function pad(codes: Uint8Array, at: number, zero: number, columns: number): void {
  if (at + BLOCK > columns) codes.fill(zero, columns);
}

/** Codes i and i + 16 of a block share a byte. */
function putNibbles(
  codes: Uint8Array,
  at: number,
  zero: number,
  columns: number,
  out: Uint8Array,
  to: number,
): void {
  pad(codes, at, Math.min(zero, 15), columns);
  for (let k = 0; k < 16; k++) out[to + k] = codes[at + k]! | codes[at + 16 + k]! << 4;
}

function putHalf(out: Uint8Array, at: number, value: number): void {
  const bits = halfBits(value);
  out[at] = bits;
  out[at + 1] = bits >> 8;
}
