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
  const { codes, shape: [rows, columns] } = matrix;
  const stride = rowBytes(LAYOUTS[form], columns), bytes = rows * stride;
  // Weights are read in the order of the file, so that the parts of one follow each other.
  const base = codes.offset;

  async function readAll(): Promise<Unpacked> {
    const [packed, scales] = await Promise.all([
      codes.source.read(codes.offset, codes.bytes),
      readChecked(matrix, form),
    ]);
    return { ...scales, packed: new Uint32Array(packed.slice().buffer) };
  }

  /** Bytes of the rows around a range, of which the range is handed on. */
  function copy(all: Unpacked, start: number, into: Uint8Array): void {
    start -= base;
    const first = Math.floor(start / stride), end = Math.ceil((start + into.length) / stride);
    const values = new Uint8Array((end - first) * columns);
    matrix.unpack(all.packed, first, end, values);
    const out = new Uint8Array((end - first) * stride);
    for (let row = first; row < end; row++) {
      const codes = values.subarray((row - first) * columns, (row - first + 1) * columns);
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

/** Writes one row of codes to `out` from `to`. */
type Write = (
  matrix: PackedMatrix,
  all: CheckedScales,
  row: number,
  codes: Uint8Array,
  out: Uint8Array,
  to: number,
) => void;

/** Group of the block that begins at a column, in the order of the columns, times the rows. */
function placeOf({ groups, shape: [rows] }: PackedMatrix, at: number): number {
  const { of, order, size } = groups;
  return rows * (of && order ? of[order[at]!]! : Math.floor(at / size));
}

const WRITERS: Readonly<Record<PackedForm, Write>> = {
  int4: (matrix, all, row, codes, out, to) =>
    writeNibbles(matrix, codes, out, to, 18, (at, head) => {
      const place = placeOf(matrix, at) + row;
      putHalf(out, head, all.scales[place]!);
      return all.zeros[place]!;
    }),
  int4m: (matrix, all, row, codes, out, to) =>
    writeNibbles(matrix, codes, out, to, 20, (at, head) => {
      const place = placeOf(matrix, at) + row, scale = all.scales[place]!, zero = all.zeros[place]!;
      putHalf(out, head, scale);
      putHalf(out, head + 2, -scale * zero);
      return zero;
    }),
  int8(matrix, { scales, zeros }, row, codes, out, to) {
    const { order } = matrix.groups;
    for (let at = 0; at < codes.length; at += BLOCK, to += 34) {
      const place = placeOf(matrix, at) + row, zero = zeros[place]!;
      putHalf(out, to, scales[place]!);
      const end = Math.min(BLOCK, codes.length - at);
      for (let k = 0; k < end; k++) {
        out[to + 2 + k] = codes[order ? order[at + k]! : at + k]! - zero;
      }
    }
  },
  f32({ groups, shape: [rows] }, { scales, zeros }, row, codes, out, to) {
    const values = new Float32Array(out.buffer, to, codes.length);
    for (let i = 0; i < codes.length; i++) {
      const place = rows * (groups.of ? groups.of[i]! : Math.floor(i / groups.size)) + row;
      values[i] = scales[place]! * (codes[i]! - zeros[place]!);
    }
  },
};

/** Writes blocks whose last 16 bytes are nibbles; `begin` writes what comes before and tells the zero. */
function writeNibbles(
  { groups: { order } }: PackedMatrix,
  codes: Uint8Array,
  out: Uint8Array,
  to: number,
  blockBytes: number,
  begin: (at: number, to: number) => number,
): void {
  const block = new Uint8Array(BLOCK);
  for (let at = 0; at < codes.length; at += BLOCK, to += blockBytes) {
    block.fill(begin(at, to)); // what pads the last block is nothing
    const end = Math.min(BLOCK, codes.length - at), first = to + blockBytes - 16;
    for (let k = 0; k < end; k++) block[k] = codes[order ? order[at + k]! : at + k]!;
    for (let k = 0; k < 16; k++) out[first + k] = block[k]! & 15 | block[k + 16]! << 4;
  }
}

function putHalf(out: Uint8Array, at: number, value: number): void {
  const bits = halfBits(value);
  out[at] = bits;
  out[at + 1] = bits >> 8;
}
