/**
 * Writes GGUF files, version 3, as a stream: tensors need not be in memory together.
 *
 * Source: the GGUF specification (ggml, docs/gguf.md).
 *
 * @module
 */

import { InputError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { tensorBlocks } from "../../quant/ggml_types.ts";
import {
  isNumberType,
  type MetadataArray,
  type MetadataValue,
  NUMBER_ARRAYS,
  type NumberType,
  VALUE_TYPES,
  type ValueType,
} from "./gguf_metadata.ts";
import { elements } from "../../kernels/op.ts";

/** A tensor to write. */
export interface GgufTensor {
  /** Name, unique in the file. */
  readonly name: string;
  /** Extents, outermost first. */
  readonly shape: readonly number[];
  /** Element type, such as `"Q4_0"`. */
  readonly type: string;
  /** Its bytes, whole or in pieces. A piece may be overwritten once the next is asked for. */
  readonly data: Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

/** What a GGUF file holds. */
export interface GgufContents {
  /** Metadata with explicit types, in order. `general.alignment` is obeyed (default 32). */
  readonly fields: Iterable<readonly [string, MetadataValue]>;
  /** Tensors in order. */
  readonly tensors: readonly GgufTensor[];
}

/**
 * Writes a file and closes `sink`, or aborts it when this fails.
 *
 * @throws InputError when a value does not fit its type or a tensor's data its shape
 *
 * @example
 * ```ts
 * import { writeGguf } from "./gguf_write.ts";
 *
 * const { readable, writable } = new TransformStream<Uint8Array<ArrayBuffer>>();
 * const file = new Response(readable).bytes();
 * await writeGguf({
 *   fields: [["general.architecture", { type: "string", value: "llama" }]],
 *   tensors: [{ name: "scale", shape: [2], type: "F32", data: new Uint8Array(8) }],
 * }, writable);
 * new TextDecoder().decode((await file).subarray(0, 4)); // "GGUF"
 * ```
 */
export async function writeGguf(
  contents: GgufContents,
  sink: WritableStream<Uint8Array<ArrayBuffer>>,
): Promise<void> {
  const writer = sink.getWriter();
  const write = (bytes: Uint8Array) => writer.write(bytes as Uint8Array<ArrayBuffer>);
  try {
    const { header, alignment, sizes } = layoutGguf(contents);
    await write(header);
    for (const [i, { name, data }] of contents.tensors.entries()) {
      let length = 0;
      for await (const piece of data instanceof Uint8Array ? [data] : data) {
        length += piece.length;
        if (length > sizes[i]) break;
        await write(piece);
      }
      if (length !== sizes[i]) {
        fail(`tensor ${quote(name)} gives ${length} bytes, expected ${sizes[i]}`);
      }
      const padding = -length & (alignment - 1);
      if (padding > 0) await write(new Uint8Array(padding));
    }
    await writer.close();
  } catch (error) {
    await writer.abort(error).catch(() => {});
    throw error;
  }
}

/** Where everything in a GGUF file lies. */
export interface GgufLayout {
  /** The file up to the data of its tensors. */
  readonly header: Uint8Array;
  /** What tensors begin at multiples of. */
  readonly alignment: number;
  /** Bytes of each tensor. */
  readonly sizes: readonly number[];
  /** Where each tensor begins in the file. */
  readonly starts: readonly number[];
  /** Bytes of the file. */
  readonly bytes: number;
}

/**
 * The layout of a file, for whoever writes its tensors in another order.
 *
 * @throws InputError when a value does not fit its type
 */
export function layoutGguf(
  { fields, tensors }: Pick<GgufContents, "fields"> & {
    readonly tensors: readonly Omit<GgufTensor, "data">[];
  },
): GgufLayout {
  const entries = new Map(fields);
  const alignment = Number(entries.get("general.alignment")?.value ?? 32);
  if (!(alignment >= 1 && Number.isInteger(Math.log2(alignment)) && alignment <= 1 << 20)) {
    fail(`general.alignment is ${alignment}, expected a power of two`);
  }
  const out = new ByteWriter();
  out.u32(0x46554747);
  out.u32(3);
  out.wide(tensors.length);
  out.wide(entries.size);
  for (const [key, value] of entries) {
    out.string(key);
    out.u32(VALUE_TYPES.indexOf(value.type));
    writeValue(out, key, value);
  }
  let offset = 0;
  const names = new Set<string>();
  const offsets: number[] = [];
  const sizes = tensors.map((tensor) => {
    if (names.has(tensor.name)) fail(`tensor ${quote(tensor.name)} occurs twice`);
    names.add(tensor.name);
    const { id, bytes } = measure(tensor);
    out.string(tensor.name);
    out.u32(tensor.shape.length);
    for (const extent of tensor.shape.toReversed()) out.wide(extent);
    out.u32(id);
    out.wide(offset);
    offsets.push(offset);
    offset += Math.ceil(bytes / alignment) * alignment;
    return bytes;
  });
  out.zeros(-out.length & (alignment - 1));
  const header = out.bytes();
  const starts = offsets.map((it) => header.length + it);
  return { header, alignment, sizes, starts, bytes: header.length + offset };
}

function measure({ name, shape, type }: Omit<GgufTensor, "data">): { id: number; bytes: number } {
  const blocks = tensorBlocks(type);
  if (!blocks) fail(`tensor ${quote(name)} has the unknown type ${type}`);
  const { id, blockSize, blockBytes } = blocks;
  if (shape.length > 4 || !shape.every((extent) => Number.isSafeInteger(extent) && extent > 0)) {
    fail(`tensor ${quote(name)} has shape [${shape}], expected up to 4 positive extents`);
  }
  const cols = shape.at(-1) ?? 1;
  if (cols % blockSize !== 0) {
    fail(`tensor ${quote(name)} has rows of ${cols}, but ${type} needs a multiple of ${blockSize}`);
  }
  const count = elements(shape);
  return { id, bytes: count / blockSize * blockBytes };
}

function writeValue(out: ByteWriter, key: string, value: MetadataValue): void {
  if (value.type !== "array") return writeItems(out, key, value.type, [value.value]);
  out.u32(VALUE_TYPES.indexOf(value.items));
  out.wide(value.value.length);
  writeItems(out, key, value.items, value.value);
}

function writeItems(
  out: ByteWriter,
  key: string,
  type: ValueType,
  items: ArrayLike<unknown>,
): void {
  if (isNumberType(type)) return out.numbers(key, type, items as ArrayLike<number>);
  for (let i = 0; i < items.length; i++) {
    const item = items[i];
    if (type === "string" && typeof item === "string") out.string(item);
    else if (type === "bool" && typeof item === "boolean") out.numbers(key, "u8", [Number(item)]);
    else if (type === "u64" || type === "i64") out.wide(item as number | bigint, key, type);
    else if (type === "array") writeValue(out, key, item as MetadataArray);
    else fail(`metadata field ${quote(key)} has the value ${quote(item)}, expected a ${type}`);
  }
}

const utf8 = new TextEncoder();

/** Little-endian bytes that grow as they are written. */
class ByteWriter {
  length = 0;
  #buffer = new Uint8Array(1 << 16);
  #view = new DataView(this.#buffer.buffer);

  bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.length);
  }

  #grow(length: number): number {
    const from = this.length;
    this.length += length;
    if (this.length > this.#buffer.length) {
      const buffer = new Uint8Array(Math.max(this.length, this.#buffer.length * 2));
      buffer.set(this.#buffer.subarray(0, from));
      this.#buffer = buffer;
      this.#view = new DataView(buffer.buffer);
    }
    return from;
  }

  zeros(length: number): void {
    this.#grow(length);
  }

  u32(value: number): void {
    const at = this.#grow(4);
    this.#view.setUint32(at, value, true);
  }

  wide(value: number | bigint, key: string = "", type: "u64" | "i64" = "u64"): void {
    const integer = typeof value === "bigint" || Number.isSafeInteger(value) ? BigInt(value) : null;
    const kept = integer !== null && (type === "u64" ? BigInt.asUintN : BigInt.asIntN)(64, integer);
    if (kept !== integer) {
      fail(`metadata field ${quote(key)} has the value ${quote(value)}, expected a ${type}`);
    }
    const at = this.#grow(8);
    this.#view.setBigUint64(at, BigInt.asUintN(64, integer!), true);
  }

  numbers(key: string, type: NumberType, values: ArrayLike<number>): void {
    const array = new NUMBER_ARRAYS[type](values.length);
    array.set(values);
    for (let i = 0; i < values.length; i++) {
      // Floats may round; integers may not change.
      if (type !== "f32" && type !== "f64" && array[i] !== values[i]) {
        fail(`metadata field ${quote(key)} has the value ${quote(values[i])}, expected a ${type}`);
      }
    }
    const bytes = new Uint8Array(array.buffer);
    const at = this.#grow(bytes.length);
    this.#buffer.set(bytes, at);
  }

  string(text: string): void {
    const bytes = utf8.encode(text);
    this.wide(bytes.length);
    const at = this.#grow(bytes.length);
    this.#buffer.set(bytes, at);
  }
}

function fail(found: string): never {
  throw new InputError(`Cannot write GGUF: ${found}`);
}
