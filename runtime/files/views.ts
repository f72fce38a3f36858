/**
 * Tensors that are read as others: some rows of one, one with its two extents exchanged, several on
 * top of each other. Nothing is read before somebody asks for the bytes.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { TensorEntry } from "./model_file.ts";
import type { ByteSource } from "./source.ts";

/** Rows `first` up to `first + count` of a tensor `[rows, …]`; of a vector, numbers. */
export function rowsOf(entry: TensorEntry, first: number, count: number): TensorEntry {
  const stride = entry.bytes / entry.shape[0]!;
  return {
    ...entry,
    shape: [count, ...entry.shape.slice(1)],
    offset: entry.offset + first * stride,
    bytes: count * stride,
  };
}

/** Types whose elements are bytes of their own, which can be moved one by one. */
const MOVABLE = ["F32", "F16", "BF16"];

/**
 * A tensor `[rows, columns]` as `[columns, rows]`. All of it is read at once, and forgotten when every
 * byte has been handed on.
 *
 * @throws ModelError for a type that is packed in blocks
 */
export function transposed(entry: TensorEntry): TensorEntry {
  const { source, offset, bytes, type, shape } = entry;
  const [rows, columns] = shape as readonly [number, number];
  if (!MOVABLE.includes(type) || shape.length !== 2) {
    throw new ModelError(
      `Cannot transpose tensor ${quote(entry.name)} of ${
        quote(source.name)
      }: it is of type ${type} ` +
        `and shape [${shape.join(", ")}], expected ${MOVABLE.join(", ")} and two extents`,
    );
  }
  let turned: Promise<Uint8Array> | undefined, handedOn = 0;
  const turn = async (): Promise<Uint8Array> => {
    const read = await source.read(offset, bytes);
    const Words = bytes === 4 * rows * columns ? Uint32Array : Uint16Array;
    const from = new Words(read.slice().buffer), to = new Words(from.length);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        to[column * rows + row] = from[row * columns + column]!;
      }
    }
    return new Uint8Array(to.buffer);
  };
  const view: ByteSource = {
    ...derived(source, bytes),
    async read(start, length, into = new Uint8Array(length)) {
      const all = await (turned ??= turn());
      into.set(all.subarray(start, start + length));
      handedOn += length;
      if (handedOn >= bytes) {
        turned = undefined;
        handedOn = 0;
      }
      return into.subarray(0, length);
    },
  };
  return { ...entry, source: view, offset: 0, shape: [columns, rows] };
}

/** Tensors on top of each other, which differ in nothing but their first extent, as one to read. */
export function stacked(entries: readonly TensorEntry[]): TensorEntry {
  const [first] = entries;
  if (entries.length === 1) return first!;
  let bytes = 0, rows = 0;
  const pieces = entries.map((entry) => {
    const start = bytes;
    bytes += entry.bytes;
    rows += entry.shape[0]!;
    return { entry, start };
  });
  const view: ByteSource = {
    ...derived(first!.source, bytes),
    async read(start, length, into = new Uint8Array(length)) {
      for (const { entry, start: begin } of pieces) {
        const from = Math.max(start, begin), to = Math.min(start + length, begin + entry.bytes);
        if (from >= to) continue;
        const part = into.subarray(from - start, to - start);
        await entry.source.read(entry.offset + from - begin, to - from, part);
      }
      return into.subarray(0, length);
    },
  };
  return { ...first!, source: view, offset: 0, bytes, shape: [rows, ...first!.shape.slice(1)] };
}

/** What a view shares with the file behind it. */
function derived(source: ByteSource, size: number): Omit<ByteSource, "read"> {
  return {
    name: source.name,
    size,
    ...(source.unchanged ? { unchanged: () => source.unchanged!() } : {}),
    close(): void {},
  };
}
