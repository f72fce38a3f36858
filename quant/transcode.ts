/**
 * From a file's tensor type to a weight layout, whole rows at a time: by nothing where the two are
 * the same, by moving codes and scales where that keeps them, else through float32.
 *
 * @module
 */

import { InputError, ModelError, ShapeError } from "../errors.ts";
import { word } from "../escape.ts";
import { encodeRows, type Layout, type LayoutName, LAYOUTS, rowBytes } from "./formats.ts";
import { NONLINEAR_CODES } from "./ggml_blocks.ts";
import { scaleQ3K, unpackScales } from "./ggml_k.ts";
import { GGML_TYPES, type GgmlType, ggmlType, LAYOUT_TYPES } from "./ggml_types.ts";
import { HALF_MAX, halfAt, halfBits } from "./half.ts";

/** Turns rows of one tensor type into rows of one layout's exchange form. */
export interface Transcoder {
  /** Type that is read. */
  readonly type: GgmlType;
  /** Layout that is written. */
  readonly layout: Layout;
  /** Whether the result decodes to the very numbers that the source decodes to. */
  readonly exact: boolean;
  /** Whether `rows` returns its argument: the file's bytes are the exchange form. */
  readonly identity: boolean;
  /**
   * Converts whole rows of `cols` elements. The result may be `bytes` itself (see `identity`).
   *
   * @throws ModelError when a value cannot be held by the layout (NaN, infinity, overflow)
   * @throws ShapeError when `bytes` is not a whole number of rows
   */
  rows(bytes: Uint8Array, cols: number): Uint8Array;
}

type Repack = (bytes: Uint8Array, out: Uint8Array) => void;

/** Conversions that keep codes and scales, by `type>layout`. */
const REPACKS: Readonly<Record<string, Repack>> = {
  "Q4_0>int8": (bytes, out) => repackNibbles(bytes, out, LINEAR_CODES),
  "IQ4_NL>int8": (bytes, out) => repackNibbles(bytes, out, NONLINEAR_CODES),
  "Q5_0>int8": repackQ5_0,
  "Q3_K>int6k": repackQ3K,
  "Q4_K>int4m": repackQ4K,
};

const LINEAR_CODES = Int8Array.from({ length: 16 }, (_, code) => code - 8);

/**
 * The conversion of a tensor type to a layout.
 *
 * @param type name of the type in the file, such as `"Q4_K"`
 * @param layout name of the layout wanted
 * @param tensor how to call the tensor in error messages, such as `tensor "output.weight"`
 * @throws ModelError when tensors of this type cannot be used
 *
 * @example
 * ```ts
 * import { transcoder } from "./transcode.ts";
 *
 * const q5 = new Uint8Array(22 * 4); // two rows of 64 zeros
 * transcoder("Q5_0", "int8").rows(q5, 64).length; // 34 * 4
 * ```
 */
export function transcoder(
  type: string,
  layout: LayoutName,
  tensor: string = "a tensor",
): Transcoder {
  const from = ggmlType(type);
  if (!from) {
    const usable = GGML_TYPES.map((it) => it.name).join(", ");
    throw new ModelError(
      `Cannot use ${tensor}: its type ${word(type)} is not supported, expected one of ${usable}`,
    );
  }
  const to = LAYOUTS[layout];
  const identity = LAYOUT_TYPES[layout] === type;
  const repack = REPACKS[`${type}>${layout}`];
  let scratch = new Float32Array(0);

  function convert(bytes: Uint8Array, cols: number, out: Uint8Array): void {
    if (repack) return repack(bytes, out);
    const length = out.length / rowBytes(to, cols) * cols;
    if (to === LAYOUTS.f32) return from!.decode(bytes, new Float32Array(out.buffer));
    if (scratch.length < length) scratch = new Float32Array(length);
    const values = scratch.subarray(0, length);
    from!.decode(bytes, values);
    encodeRows(to, values, cols, out);
  }

  return {
    type: from,
    layout: to,
    exact: layout === "f32" || identity || (repack !== undefined && repack !== repackQ4K),
    identity,
    rows(bytes: Uint8Array, cols: number): Uint8Array {
      // Only what stays as it is may have rows whose last block is padded.
      const blocks = identity ? Math.ceil(cols / from.blockSize) : cols / from.blockSize;
      const count = bytes.length / (blocks * from.blockBytes);
      if (!Number.isInteger(blocks) || !Number.isInteger(count)) {
        throw new ShapeError(
          `Cannot convert ${tensor}: ${bytes.length} bytes of ${type} are no whole rows of ${cols}`,
        );
      }
      if (identity) return bytes;
      const out = new Uint8Array(count * rowBytes(to, cols));
      try {
        convert(bytes, cols, out);
      } catch (error) {
        if (!(error instanceof InputError)) throw error;
        throw new ModelError(`Cannot convert ${tensor} from ${word(type)}: ${error.message}`);
      }
      return out;
    },
  };
}

/** Nibble codes become the bytes that `codes` gives for them; the scale is kept. */
function repackNibbles(bytes: Uint8Array, out: Uint8Array, codes: Int8Array): void {
  for (let at = 0, to = 0; at < bytes.length; at += 18, to += 34) {
    out[to] = bytes[at];
    out[to + 1] = bytes[at + 1];
    for (let k = 0; k < 16; k++) {
      const pair = bytes[at + 2 + k];
      out[to + 2 + k] = codes[pair & 15];
      out[to + 18 + k] = codes[pair >> 4];
    }
  }
}

function repackQ5_0(bytes: Uint8Array, out: Uint8Array): void {
  for (let at = 0, to = 0; at < bytes.length; at += 22, to += 34) {
    out[to] = bytes[at];
    out[to + 1] = bytes[at + 1];
    const low = bytes[at + 2] | bytes[at + 3] << 8;
    const high = bytes[at + 4] | bytes[at + 5] << 8;
    for (let k = 0; k < 16; k++) {
      const pair = bytes[at + 6 + k];
      out[to + 2 + k] = (pair & 15 | (low >> k & 1) << 4) - 16;
      out[to + 18 + k] = (pair >> 4 | (high >> k & 1) << 4) - 16;
    }
  }
}

/** Codes of three bits, less 4, are codes of six bits, less 32; scales are kept. */
function repackQ3K(bytes: Uint8Array, out: Uint8Array): void {
  for (let at = 0, to = 0; at < bytes.length; at += 110, to += 210) {
    for (let k = 0; k < 64; k++) {
      // Of each half of the block, four quarters of 32 lie in the bit pairs of a byte; so they do in
      // int6k, but for their nibbles, of which those of the first two lie below those of the others.
      const half = k >> 5, l = k & 31;
      const code = (quarter: number): number =>
        28 + (bytes[at + 32 + k] >> 2 * quarter & 3 |
          (bytes[at + l] >> 4 * half + quarter & 1) << 2);
      const a = code(0), b = code(1), c = code(2), e = code(3);
      const low = to + 64 * half + l;
      out[low] = a & 15 | (c & 15) << 4;
      out[low + 32] = b & 15 | (e & 15) << 4;
      out[to + 128 + k] = a >> 4 | b >> 4 << 2 | c >> 4 << 4 | e >> 4 << 6;
    }
    for (let group = 0; group < 16; group++) out[to + 192 + group] = scaleQ3K(bytes, at, group);
    out[to + 208] = bytes[at + 108];
    out[to + 209] = bytes[at + 109];
  }
}

/** Codes are kept; each group's scale and minimum, products of 17 bits, are rounded to halves. */
function repackQ4K(bytes: Uint8Array, out: Uint8Array): void {
  const scales = new Uint8Array(16);
  for (let at = 0, to = 0; at < bytes.length; at += 144) {
    const d = halfAt(bytes, at);
    const dmin = halfAt(bytes, at + 2);
    unpackScales(bytes, at + 4, scales);
    for (let group = 0; group < 8; group++, to += 20) {
      const scale = d * scales[group];
      const min = -dmin * scales[group + 8];
      if (!(Math.max(Math.abs(scale), Math.abs(min)) <= HALF_MAX)) {
        throw new InputError(
          `Cannot encode int4m: a block has scale ${scale} and minimum ${min}, ` +
            `too large for half precision; keep this tensor in f32`,
        );
      }
      const scaleBits = halfBits(scale);
      const minBits = halfBits(min);
      out[to] = scaleBits;
      out[to + 1] = scaleBits >> 8;
      out[to + 2] = minBits;
      out[to + 3] = minBits >> 8;
      // Groups 2j and 2j+1 are the low and the high nibbles of 32 bytes.
      const codes = at + 16 + (group >> 1) * 32;
      const shift = (group & 1) * 4;
      for (let k = 0; k < 16; k++) {
        out[to + 4 + k] = bytes[codes + k] >> shift & 15 |
          (bytes[codes + 16 + k] >> shift & 15) << 4;
      }
    }
  }
}
