/**
 * Matrices of whole numbers with one scale for each row, as ChatGLM-6B's quantized checkpoints have
 * them: 8 bits a number, or 4 with two columns in a byte, the first in the high half. They are read as
 * blocks of GGUF types, each with its row's scale: codes and scales stay what they are.
 *
 * Source: `quantization.py` of the released code of ChatGLM-6B.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote, word } from "../../escape.ts";
import { elements } from "../../kernels/op.ts";
import { LAYOUTS, rowBytes } from "../../quant/formats.ts";
import { HALF_MAX, halfBits } from "../../quant/half.ts";
import { transcoder } from "../../quant/transcode.ts";
import type { TensorEntry } from "./model_file.ts";
import { derived } from "./views.ts";

/** Columns of a block. */
const BLOCK = 32;

/** As what such a matrix is read: its codes with a scale for each block, or the numbers themselves. */
const FORMS = { int8: "Q8_0", int4: "Q4_0", f32: "F32" } as const;

/**
 * The matrix `[rows, columns]` of codes and scales.
 *
 * @param codes I8 `[rows, columns]`, or `[rows, columns / 2]` with two columns in a byte
 * @param scales `[rows]`, F16 or wider; wider ones are rounded to F16 for blocks
 * @param columns those of the matrix
 * @param layout in which it shall be read: `int4` only for codes of 4 bits
 * @throws ModelError when scales are of another type or number
 */
export function rowScaled(
  codes: TensorEntry,
  scales: TensorEntry,
  columns: number,
  layout: keyof typeof FORMS,
): TensorEntry {
  const [rows, rowCodes] = codes.shape as readonly [number, number];
  if (!["F16", "F32", "BF16"].includes(scales.type) || elements(scales.shape) !== rows) {
    throw new ModelError(
      `Cannot load tensor ${quote(codes.name)} of ${quote(codes.source.name)}: its scales ` +
        `${quote(scales.name)} are ${word(scales.type)} [${scales.shape.join(", ")}], expected ` +
        `F16 [${rows}]`,
    );
  }
  const stride = rowBytes(LAYOUTS[layout], columns), bytes = rows * stride;
  const write = WRITERS[layout];
  const unpack = layout === "int4" ? copyBytes : rowCodes === columns ? copyBytes : unpackNibbles;
  let read: Promise<Float32Array> | undefined; // [rows]
  // One row, padded with zeros: a code in each byte, or for int4 two as they lie in the file.
  const row = new Int8Array(Math.ceil(columns / BLOCK) * BLOCK);

  async function readScales(): Promise<Float32Array> {
    const { source, offset, bytes, type } = scales;
    const numbers = transcoder(type, "f32").rows(await source.read(offset, bytes), rows);
    const values = new Float32Array(numbers.slice().buffer);
    const isWide = (it: number): boolean => Number.isFinite(it) && Math.abs(it) > HALF_MAX;
    const wide = layout === "f32" ? undefined : values.find(isWide);
    if (wide !== undefined) {
      throw new ModelError(
        `Cannot load tensor ${quote(codes.name)} of ${quote(codes.source.name)}: the scale ` +
          `${wide} is too large for half precision; load it with weights "f32"`,
      );
    }
    return values;
  }

  /**
   * Rows `first` up to `end`, as they are read, into `out`, which they fill. Their codes take no more
   * bytes than they do: these are read into its end, and each row is written over those before it.
   */
  async function fillRows(first: number, end: number, out: Uint8Array): Promise<void> {
    const values = await (read ??= readScales().catch((error) => {
      read = undefined;
      throw error;
    }));
    const codeBytes = (end - first) * rowCodes;
    const packed = out.subarray(out.length - codeBytes);
    await codes.source.read(codes.offset + first * rowCodes, codeBytes, packed);
    for (let i = first; i < end; i++) {
      unpack(packed, (i - first) * rowCodes, row, rowCodes);
      write(row, values[i]!, columns, out, (i - first) * stride);
    }
  }

  return {
    ...codes,
    type: FORMS[layout],
    shape: [rows, columns],
    offset: 0,
    bytes,
    source: {
      ...derived(codes.source, bytes),
      async read(start, length, into = new Uint8Array(length)) {
        const first = Math.floor(start / stride), end = Math.ceil((start + length) / stride);
        const from = start - first * stride, wanted = into.subarray(0, length);
        const areRows = from === 0 && length === (end - first) * stride &&
          into.byteOffset % 4 === 0;
        const out = areRows ? wanted : new Uint8Array((end - first) * stride);
        await fillRows(first, end, out);
        if (!areRows) wanted.set(out.subarray(from, from + length));
        return wanted;
      },
    },
  };
}

/** Takes the codes of a row of so many bytes. */
type Unpack = (packed: Uint8Array, at: number, row: Int8Array, rowCodes: number) => void;

const copyBytes: Unpack = (packed, at, row, rowCodes) => {
  for (let i = 0; i < rowCodes; i++) row[i] = packed[at + i]!;
};

const unpackNibbles: Unpack = (packed, at, row, rowCodes) => {
  for (let i = 0; i < rowCodes; i++) {
    const pair = packed[at + i]!;
    row[2 * i] = pair << 24 >> 28;
    row[2 * i + 1] = pair << 28 >> 28;
  }
};

/** Writes one row of codes, padded to whole blocks, to `out` from `to`. */
type Write = (row: Int8Array, scale: number, columns: number, out: Uint8Array, to: number) => void;

const WRITERS: Readonly<Record<keyof typeof FORMS, Write>> = {
  int8(row, scale, _columns, out, to) {
    const bits = halfBits(scale);
    for (let i = 0; i < row.length; i += BLOCK, to += 34) {
      out[to] = bits;
      out[to + 1] = bits >> 8;
      for (let k = 0; k < BLOCK; k++) out[to + 2 + k] = row[i + k]!;
    }
  },
  int4(row, scale, _columns, out, to) {
    const bits = halfBits(scale);
    for (let i = 0; i < row.length / 2; i += BLOCK / 2, to += 18) {
      out[to] = bits;
      out[to + 1] = bits >> 8;
      for (let k = 0; k < 8; k++) {
        // Columns 2k and 2k + 1, and those 16 further on; a flipped sign bit is 8 more.
        const near = row[i + k]! ^ 0x88, far = row[i + 8 + k]! ^ 0x88;
        out[to + 2 + 2 * k] = near >> 4 & 15 | far & 0xf0;
        out[to + 3 + 2 * k] = near & 15 | far << 4;
      }
    }
  },
  f32(row, scale, columns, out, to) {
    const values = new Float32Array(out.buffer, out.byteOffset + to, columns);
    for (let i = 0; i < columns; i++) values[i] = scale * row[i]!;
  },
};
