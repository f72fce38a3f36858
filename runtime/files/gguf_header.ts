/**
 * The header of a GGUF file, versions 2 and 3, little endian: metadata fields and tensor
 * descriptions, from bytes at hand. Everything that the file claims is checked against its size
 * before memory is taken for it. Where tensors lie and whether they fit is checked in `gguf.ts`.
 *
 * Source: the GGUF specification (ggml, docs/gguf.md).
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { GGML_TYPES, type TensorBlocks, tensorBlocks } from "../../quant/ggml_types.ts";
import {
  isNumberType,
  type MetadataArray,
  type MetadataValue,
  NUMBER_ARRAYS,
  type NumberType,
  VALUE_TYPES,
  type ValueType,
} from "./gguf_metadata.ts";
import { quote } from "../../escape.ts";

/** A tensor as the header describes it. */
export interface TensorInfo {
  /** Name, unique in the file. */
  readonly name: string;
  /** Extents, outermost first. */
  readonly shape: readonly number[];
  /** Its type's name and block sizes. */
  readonly blocks: TensorBlocks;
  /** Position from the start of the tensor data. */
  readonly offset: number;
}

/** A parsed header. */
export interface GgufHeader {
  /** The file in error messages. */
  readonly name: string;
  /** 2 or 3. */
  readonly version: number;
  /** Metadata with types, in file order. */
  readonly fields: ReadonlyMap<string, MetadataValue>;
  /** Tensors in file order. */
  readonly tensors: readonly TensorInfo[];
  /** Bytes that the header takes. */
  readonly length: number;
}

/** Far more than any model has; what lies beyond would exhaust memory, not describe a model. */
const LIMITS = { fields: 1 << 16, tensors: 1 << 18, items: 1 << 22, depth: 8 };

/** Thrown inside the parser when the bytes at hand end before the header does. */
class Shortage {
  constructor(readonly wanted: number) {}
}

/**
 * Parses the header at the start of `bytes`.
 *
 * @param bytes the file's first bytes
 * @param size the whole file's length
 * @param name the file in error messages
 * @returns the header, or how many bytes are wanted at least to go on
 * @throws FormatError when the bytes break the format, or the file ends inside the header
 */
export function parseGgufHeader(
  bytes: Uint8Array,
  size: number,
  name: string,
): GgufHeader | number {
  const cursor = new Cursor(bytes, size, name);
  try {
    return readHeader(cursor);
  } catch (error) {
    if (error instanceof Shortage) return error.wanted;
    throw error;
  }
}

function readHeader(cursor: Cursor): GgufHeader {
  cursor.place = "the file header";
  if (cursor.u32() !== 0x46554747) cursor.fail("does not begin with the letters GGUF");
  const version = cursor.u32();
  if (version !== 2 && version !== 3) failVersion(cursor, version);
  const tensorCount = cursor.count("tensors", 24, LIMITS.tensors);
  const fieldCount = cursor.count("metadata fields", 13, LIMITS.fields);

  const fields = new Map<string, MetadataValue>();
  for (let i = 0; i < fieldCount; i++) {
    cursor.place = `the name of metadata field ${i}`;
    const key = cursor.string();
    cursor.place = `metadata field ${quote(key)}`;
    if (fields.has(key)) cursor.fail("occurs twice");
    fields.set(key, readValue(cursor));
  }

  const tensors: TensorInfo[] = [];
  for (let i = 0; i < tensorCount; i++) tensors.push(readTensor(cursor, i));
  return { name: cursor.name, version, fields, tensors, length: cursor.at };
}

function failVersion(cursor: Cursor, version: number): never {
  if (version === 0x02000000 || version === 0x03000000) {
    cursor.fail("is big endian, expected a little-endian file; convert it");
  }
  cursor.fail(`has version ${version}, expected 2 or 3; convert the model again`);
}

function readValue(cursor: Cursor): MetadataValue {
  const type = cursor.valueType();
  if (isNumberType(type)) return { type, value: cursor.numbers(type, 1)[0] };
  if (type === "string") return { type, value: cursor.string() };
  if (type === "bool") return { type, value: cursor.bool() };
  if (type === "array") return readArray(cursor, 1);
  return { type, value: cursor.wide(type === "i64") };
}

function readArray(cursor: Cursor, depth: number): MetadataArray {
  const type = "array";
  const items = cursor.valueType();
  if (isNumberType(items)) {
    const count = cursor.count("items", NUMBER_ARRAYS[items].BYTES_PER_ELEMENT, Infinity);
    return { type, items, value: cursor.numbers(items, count) };
  }
  const least = { u64: 8, i64: 8, bool: 1, string: 8, array: 12 }[items];
  const count = cursor.boxed(cursor.count("items", least, LIMITS.items));
  if (items === "string") return { type, items, value: cursor.strings(count) };
  const length = { length: count };
  if (items === "bool") return { type, items, value: Array.from(length, () => cursor.bool()) };
  if (items === "array") {
    if (depth === LIMITS.depth) cursor.fail(`nests arrays more than ${LIMITS.depth} deep`);
    return { type, items, value: Array.from(length, () => readArray(cursor, depth + 1)) };
  }
  return { type, items, value: Array.from(length, () => cursor.wide(items === "i64")) };
}

function readTensor(cursor: Cursor, index: number): TensorInfo {
  cursor.place = `the name of tensor ${index}`;
  const name = cursor.string();
  cursor.place = `tensor ${quote(name)}`;
  const rank = cursor.u32();
  if (rank > 4) cursor.fail(`has ${rank} dimensions, expected at most 4`);
  const shape: number[] = [];
  for (let i = 0; i < rank; i++) {
    const extent = cursor.wide(false);
    if (typeof extent === "bigint" || extent === 0) cursor.fail(`has an extent of ${extent}`);
    shape.unshift(extent); // the file has the innermost first
  }
  const id = cursor.u32();
  const blocks = tensorBlocks(id);
  if (!blocks) {
    const names = GGML_TYPES.map((type) => type.name).join(", ");
    cursor.fail(`has the unknown type ${id}, expected one of ${names}`);
  }
  const offset = cursor.wide(false);
  if (typeof offset === "bigint") cursor.fail(`has its data at offset ${offset}`);
  return { name, shape, blocks, offset };
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Reads forward through the bytes at hand, and knows where the whole file ends. */
class Cursor {
  at = 0;
  readonly name: string;
  /** What is being read, for messages. */
  place = "";
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #size: number;
  #boxed = 0;

  constructor(bytes: Uint8Array, size: number, name: string) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#size = size;
    this.name = name;
  }

  fail(found: string): never {
    throw new FormatError(`Cannot read GGUF ${quote(this.name)}: ${this.place} ${found}`);
  }

  /** Steps over `length` bytes and returns where they begin. */
  take(length: number): number {
    const from = this.at;
    const end = from + length;
    if (end > this.#size) {
      this.fail(
        `needs ${length} bytes at byte ${from}, but the file ends at byte ${this.#size}; ` +
          `if it was downloaded, fetch it again`,
      );
    }
    if (end > this.#bytes.length) throw new Shortage(end);
    this.at = end;
    return from;
  }

  u32(): number {
    return this.#view.getUint32(this.take(4), true);
  }

  /** A 64-bit integer, as a number where that is exact. */
  wide(signed: boolean): number | bigint {
    const at = this.take(8);
    const high = signed ? this.#view.getInt32(at + 4, true) : this.#view.getUint32(at + 4, true);
    const number = high * 2 ** 32 + this.#view.getUint32(at, true);
    if (Number.isSafeInteger(number)) return number;
    return signed ? this.#view.getBigInt64(at, true) : this.#view.getBigUint64(at, true);
  }

  /** A count of things that take at least `least` bytes each. */
  count(things: string, least: number, limit: number): number {
    const count = this.wide(false);
    const room = this.#size - this.at;
    if (typeof count === "bigint" || count > room / least) {
      this.fail(
        `announces ${count} ${things}, more than fit in the ${room} bytes that follow; ` +
          `the file is damaged or incomplete`,
      );
    }
    if (count > limit) this.fail(`announces ${count} ${things}, expected at most ${limit}`);
    return count;
  }

  /** Counts values that each take an object, over the whole header. */
  boxed(count: number): number {
    this.#boxed += count;
    if (this.#boxed > LIMITS.items) {
      this.fail(`brings the array items to ${this.#boxed}, expected at most ${LIMITS.items}`);
    }
    return count;
  }

  valueType(): ValueType {
    const id = this.u32();
    if (id >= VALUE_TYPES.length) {
      this.fail(`has the unknown value type ${id}, expected 0 to ${VALUE_TYPES.length - 1}`);
    }
    return VALUE_TYPES[id];
  }

  numbers(type: NumberType, count: number): ArrayLike<number> {
    const Numbers = NUMBER_ARRAYS[type];
    const length = count * Numbers.BYTES_PER_ELEMENT;
    const at = this.take(length);
    return new Numbers(this.#bytes.slice(at, at + length).buffer as ArrayBuffer);
  }

  bool(): boolean {
    const byte = this.#bytes[this.take(1)];
    if (byte > 1) this.fail(`has a boolean of ${byte}, expected 0 or 1`);
    return byte === 1;
  }

  string(): string {
    const length = this.count("bytes of text", 1, Infinity);
    const at = this.take(length);
    return this.#decode(this.#bytes.subarray(at, at + length));
  }

  /** Many strings by one call of the decoder, which is several times faster than one call each. */
  strings(count: number): string[] {
    const from = this.at;
    for (let i = 0; i < count; i++) this.take(this.count("bytes of text", 1, Infinity));
    const packed = new Uint8Array(this.at - from - 8 * count);
    const ends = new Uint32Array(count); // [count], in UTF-16 units of the text of all strings
    let length = 0;
    let units = 0;
    for (let i = 0, at = from; i < count; i++) {
      const end = at + 8 + this.#view.getUint32(at, true);
      at += 8;
      if (isContinuation(this.#bytes[at]) && end > at) this.#failText();
      for (; at < end; at++) {
        const byte = this.#bytes[at];
        packed[length++] = byte;
        if (!isContinuation(byte)) units += byte < 0xf0 ? 1 : 2;
      }
      ends[i] = units;
    }
    const text = this.#decode(packed);
    return Array.from(ends, (end, i) => text.slice(i && ends[i - 1], end));
  }

  #decode(bytes: Uint8Array): string {
    try {
      return utf8.decode(bytes);
    } catch {
      this.#failText();
    }
  }

  #failText(): never {
    this.fail("has text that is not UTF-8");
  }
}

/** Whether a byte continues a UTF-8 character; as a string's first byte it makes it invalid. */
function isContinuation(byte: number): boolean {
  return (byte & 0xc0) === 0x80;
}
