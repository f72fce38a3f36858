/**
 * The weight layouts that kernels exist for, and their row-major exchange form: a stream of blocks
 * along each row, in which weights travel from files and quantizers to the backends. Each backend
 * packs it further in its own way. File formats are in `ggml_types.ts`, not here.
 *
 * | layout | block | holds | value |
 * | --- | --- | --- | --- |
 * | `f32` `f16` `bf16` | 1 | the number | |
 * | `int8` | 32 in 34 bytes | half `d`, 32 signed bytes `q` | `d·q` |
 * | `int4` | 32 in 18 bytes | half `d`, 16 bytes of nibbles `q` | `d·(q − 8)` |
 * | `int4n` | 32 in 18 bytes | half `d`, 16 bytes of nibbles `q` | `d` times number `q` of 16 |
 * | `int5` | 32 in 22 bytes | half `d`, 32 fifth bits, 16 bytes of nibbles | `d·(q − 16)` |
 * | `int4m` | 32 in 20 bytes | halves `d` and `m`, 16 bytes of nibbles `q` | `d·q + m` |
 * | `int5m` | 32 in 24 bytes | halves `d` and `m`, 32 fifth bits, 16 bytes of nibbles | `d·q + m` |
 * | `int4k` | 256 in 144 bytes | halves `d` and `dmin`, 8 six-bit `s` and `m`, nibbles | `d·s·q − dmin·m` |
 * | `int5k` | 256 in 176 bytes | as int4k, with fifth bits before the nibbles | `d·s·q − dmin·m` |
 * | `int6k` | 256 in 210 bytes | nibbles, bit pairs, 16 signed bytes `s`, half `d` | `d·s·(q − 32)` |
 *
 * Byte `i` of the nibbles of a block of 32 holds element `i` in its low half and element `i + 16` in
 * its high half; `ggml_k.ts` says how the blocks of 256 are arranged. These are the types F32, F16,
 * BF16, Q8_0, Q4_0, IQ4_NL, Q5_0, Q4_1, Q5_1, Q4_K, Q5_K and Q6_K of the GGUF specification. Numbers
 * are little endian, and so must the machine be.
 *
 * @module
 */

import { ShapeError } from "../errors.ts";
import { quote } from "../escape.ts";
import { accepts, isA, type Rule } from "../options.ts";
import {
  decodeInt4,
  decodeInt4m,
  decodeInt8,
  encodeInt4,
  encodeInt4m,
  encodeInt4n,
  encodeInt8,
} from "./blocks.ts";
import { encodeInt4k, encodeInt5, encodeInt5k, encodeInt5m, encodeInt6k } from "./blocks_k.ts";
import { decodeIq4Nl, decodeQ5_0, decodeQ5_1 } from "./ggml_blocks.ts";
import { decodeQ4K, decodeQ5K, decodeQ6K } from "./ggml_k.ts";
import { decodeBf16, decodeF16, decodeF32, encodeBf16, encodeF16, encodeF32 } from "./floats.ts";

/** Name of a weight layout. */
export type LayoutName =
  | ("f32" | "f16" | "bf16")
  | ("int8" | "int4" | "int4n" | "int5" | "int4m" | "int5m")
  | ("int4k" | "int5k" | "int6k");

/** One weight layout: its block and both directions of its conversion. */
export interface Layout {
  /** Key in `LAYOUTS`. */
  readonly name: LayoutName;
  /** Elements per block. */
  readonly blockSize: number;
  /** Bytes per block. */
  readonly blockBytes: number;
  /** Bits per element, scales included. */
  readonly bitsPerWeight: number;
  /**
   * Expands whole blocks.
   *
   * @throws ShapeError when `out` does not have exactly the elements of the blocks
   */
  decode(bytes: Uint8Array, out: Float32Array): void;
  /**
   * Packs whole blocks, each element to the nearest value that its block can hold. Float layouts
   * round to nearest, ties to even, and keep NaN and infinities.
   *
   * @throws ShapeError when `out` does not have exactly the bytes of the blocks
   * @throws InputError when a value is not finite (block layouts) or too large for a half
   */
  encode(values: Float32Array, out: Uint8Array): void;
}

/** Block conversions of a layout; lengths are already checked. */
type Convert = (bytes: Uint8Array, values: Float32Array) => void;

const BLOCK: Rule = {
  expected: "{ name, blockSize, blockBytes }",
  accepts: (value) => {
    const { name, blockSize, blockBytes } = value as Layout;
    return typeof name === "string" && typeof blockSize === "number" &&
      typeof blockBytes === "number";
  },
};

/**
 * Checks that `bytes` and `values` are the same number of whole blocks.
 *
 * @throws ShapeError when they are not
 */
export function checkBlocks(
  action: string,
  block: { readonly name: string; readonly blockSize: number; readonly blockBytes: number },
  bytes: Uint8Array,
  values: Float32Array,
): void {
  if (!accepts(BLOCK, block)) {
    throw new ShapeError(`Cannot convert blocks of ${quote(block)}: expected ${BLOCK.expected}`);
  }
  const { name, blockSize, blockBytes } = block;
  checkArrays(typeof action === "string" ? action : "convert", name, bytes, values);
  const blocks = bytes.length / blockBytes;
  if (Number.isInteger(blocks) && values.length === blocks * blockSize) return;
  throw new ShapeError(
    `Cannot ${action} ${name}: ${bytes.length} bytes do not hold ${values.length} values, ` +
      `expected ${blockBytes} bytes for every ${blockSize}`,
  );
}

/**
 * Checks the types of what is converted, and that there is memory behind it.
 *
 * @throws ShapeError when they are others
 */
function checkArrays(action: string, name: string, bytes: Uint8Array, values: Float32Array): void {
  // A buffer that was handed to another thread leaves arrays without memory.
  const isHere = ({ buffer }: ArrayBufferView): boolean =>
    !(buffer instanceof ArrayBuffer && buffer.detached);
  if (isA(bytes, Uint8Array) && isA(values, Float32Array) && isHere(bytes) && isHere(values)) {
    return;
  }
  throw new ShapeError(
    `Cannot ${action} ${quote(name)} with ${quote(bytes)} and ${quote(values)}: expected a ` +
      `Uint8Array and a Float32Array`,
  );
}

/** Throws unless `layout` is one, `cols` a length of rows, and `length` that of whole rows. */
function checkRows(action: string, layout: Layout, cols: number, length = 0, unit = cols): void {
  if (!Object.values(LAYOUTS).includes(layout)) {
    throw new ShapeError(
      `Cannot ${action} rows of layout ${quote(layout)}: expected one of LAYOUTS`,
    );
  }
  if (!Number.isSafeInteger(cols) || cols < 1) {
    throw new ShapeError(
      `Cannot ${action} rows of ${quote(cols)} elements: expected a whole number of at least 1`,
    );
  }
  if (length % unit !== 0) {
    throw new ShapeError(
      `Cannot ${action} ${length} elements or bytes as rows of ${unit}: expected whole rows`,
    );
  }
}

function layout(
  name: LayoutName,
  blockSize: number,
  blockBytes: number,
  decode: Convert,
  encode: Convert,
): Layout {
  const block = { name, blockSize, blockBytes };
  return {
    ...block,
    bitsPerWeight: 8 * blockBytes / blockSize,
    decode(bytes: Uint8Array, out: Float32Array): void {
      checkBlocks("decode", block, bytes, out);
      decode(bytes, out);
    },
    encode(values: Float32Array, out: Uint8Array): void {
      checkBlocks("encode", block, out, values);
      encode(out, values);
    },
  };
}

/**
 * Every layout by name.
 *
 * @example
 * ```ts
 * import { LAYOUTS } from "./formats.ts";
 *
 * const weights = Float32Array.from({ length: 32 }, (_, i) => i - 16);
 * const packed = new Uint8Array(LAYOUTS.int4.blockBytes);
 * LAYOUTS.int4.encode(weights, packed);
 * LAYOUTS.int4.decode(packed, weights); // -16, -16, -14, -12 …
 * ```
 */
export const LAYOUTS: Readonly<Record<LayoutName, Layout>> = {
  f32: layout("f32", 1, 4, decodeF32, encodeF32),
  f16: layout("f16", 1, 2, decodeF16, encodeF16),
  bf16: layout("bf16", 1, 2, decodeBf16, encodeBf16),
  int8: layout("int8", 32, 34, decodeInt8, encodeInt8),
  int4: layout("int4", 32, 18, decodeInt4, encodeInt4),
  int4n: layout("int4n", 32, 18, decodeIq4Nl, encodeInt4n),
  int5: layout("int5", 32, 22, decodeQ5_0, encodeInt5),
  int4m: layout("int4m", 32, 20, decodeInt4m, encodeInt4m),
  int5m: layout("int5m", 32, 24, decodeQ5_1, encodeInt5m),
  int4k: layout("int4k", 256, 144, decodeQ4K, encodeInt4k),
  int5k: layout("int5k", 256, 176, decodeQ5K, encodeInt5k),
  int6k: layout("int6k", 256, 210, decodeQ6K, encodeInt6k),
};

/** The names of all layouts. */
export const LAYOUT_NAMES: readonly LayoutName[] = Object.keys(LAYOUTS) as LayoutName[];

/** Bytes of a row of `cols` elements; its last block is padded with zeros. */
export function rowBytes(layout: Layout, cols: number): number {
  checkRows("count", layout, cols);
  return Math.ceil(cols / layout.blockSize) * layout.blockBytes;
}

/**
 * Packs row-major `values` [rows, cols], whatever `cols` is.
 *
 * @throws InputError as `Layout.encode`
 */
export function encodeRows(
  layout: Layout,
  values: Float32Array,
  cols: number,
  out: Uint8Array = packedRows(layout, values, cols),
): Uint8Array {
  const size = packedLength(layout, values, cols);
  checkArrays("encode rows of", layout.name, out, values);
  if (out.length !== size) {
    throw new ShapeError(
      `Cannot encode rows of ${layout.name} into ${out.length} bytes: expected ${size}`,
    );
  }
  if (cols % layout.blockSize === 0) {
    layout.encode(values, out);
    return out;
  }
  const stride = rowBytes(layout, cols);
  const padded = new Float32Array(stride / layout.blockBytes * layout.blockSize);
  for (let row = 0; row * cols < values.length; row++) {
    padded.set(values.subarray(row * cols, (row + 1) * cols));
    layout.encode(padded, out.subarray(row * stride, (row + 1) * stride));
  }
  return out;
}

/** Bytes that `encodeRows` makes. */
function packedLength(layout: Layout, values: Float32Array, cols: number): number {
  const { length } = isA(values, Float32Array) ? values : { length: 0 };
  checkRows("encode", layout, cols, length);
  checkArrays("encode rows of", layout.name, new Uint8Array(0), values);
  return length / cols * rowBytes(layout, cols);
}

function packedRows(layout: Layout, values: Float32Array, cols: number): Uint8Array {
  return new Uint8Array(packedLength(layout, values, cols));
}

/** Values that `decodeRows` makes. */
function decodedLength(layout: Layout, bytes: Uint8Array, cols: number): number {
  const stride = rowBytes(layout, cols);
  checkArrays("decode rows of", layout.name, bytes, new Float32Array(0));
  checkRows("decode", layout, cols, bytes.length, stride);
  return bytes.length / stride * cols;
}

/** Expands rows of `cols` elements to row-major values [rows, cols], whatever `cols` is. */
export function decodeRows(
  layout: Layout,
  bytes: Uint8Array,
  cols: number,
  out: Float32Array = new Float32Array(decodedLength(layout, bytes, cols)),
): Float32Array {
  const size = decodedLength(layout, bytes, cols);
  checkArrays("decode rows of", layout.name, bytes, out);
  if (out.length !== size) {
    throw new ShapeError(
      `Cannot decode rows of ${layout.name} into ${out.length} values: expected ${size}`,
    );
  }
  if (cols % layout.blockSize === 0) {
    layout.decode(bytes, out);
    return out;
  }
  const stride = rowBytes(layout, cols);
  const padded = new Float32Array(stride / layout.blockBytes * layout.blockSize);
  for (let row = 0; row * stride < bytes.length; row++) {
    layout.decode(bytes.subarray(row * stride, (row + 1) * stride), padded);
    out.set(padded.subarray(0, cols), row * cols);
  }
  return out;
}
