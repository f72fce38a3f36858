/**
 * Tensors that are read as others: some rows of one, one with its two extents exchanged, several on
 * top of each other or side by side. Nothing is read before somebody asks for the bytes.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote, word } from "../../escape.ts";
import { tensorBlocks } from "../../quant/ggml_types.ts";
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

/**
 * A tensor whose rows (of a vector, numbers) are read in another order: every group of `order.length` of
 * them has its row `order[i]` at place i. Only the groups that are asked for are read.
 */
export function rowGroups(entry: TensorEntry, order: readonly number[]): TensorEntry {
  const { source, offset, bytes, shape } = entry;
  const row = bytes / shape[0]!, group = row * order.length;
  const view: ByteSource = {
    ...derived(source, bytes),
    async read(start, length, into = new Uint8Array(length)) {
      const begin = Math.floor(start / group) * group;
      const end = Math.min(bytes, Math.ceil((start + length) / group) * group);
      const read = await source.read(offset + begin, end - begin);
      for (let at = Math.floor(start / row) * row; at < start + length; at += row) {
        const place = Math.floor(at / row), own = place % order.length;
        const from = (place - own + order[own]!) * row - begin;
        // What was asked for may cut a row.
        const first = Math.max(start - at, 0), last = Math.min(row, start + length - at);
        into.set(read.subarray(from + first, from + last), at + first - start);
      }
      return into.subarray(0, length);
    },
  };
  return { ...entry, source: view, offset: 0 };
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
  const view = wholeView(
    source,
    bytes,
    turn,
    (all, start, into) => into.set(all.subarray(start, start + into.length)),
  );
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

/**
 * Tensors `[rows, columns]` side by side, as one `[rows, columns of all]`. A few rows of each are read
 * at once.
 *
 * @throws ModelError for packed types whose blocks the border between two tensors would cut
 */
export function beside(entries: readonly TensorEntry[]): TensorEntry {
  const [first] = entries as readonly [TensorEntry];
  if (entries.length === 1) return first;
  const { shape: [rows, columns], type, bytes } = first as TensorEntry & {
    shape: [number, number];
  };
  const blockSize = tensorBlocks(type)?.blockSize ?? 1;
  if (columns % blockSize !== 0) {
    throw new ModelError(
      `Cannot put tensor ${quote(first.name)} of ${
        quote(first.source.name)
      } beside others: it has ` +
        `${columns} columns of type ${word(type)}, expected a multiple of ${blockSize}; load it ` +
        `with weights "f32"`,
    );
  }
  const own = bytes / rows, stride = own * entries.length;
  const view: ByteSource = {
    ...derived(first.source, rows * stride),
    async read(start, length, into = new Uint8Array(length)) {
      const begin = Math.floor(start / stride), end = Math.ceil((start + length) / stride);
      for (const [part, { source, offset }] of entries.entries()) {
        const read = await source.read(offset + begin * own, (end - begin) * own);
        for (let row = begin; row < end; row++) {
          // Where this part of the row lies in what was asked for, which may cut it.
          const at = row * stride + part * own - start;
          const from = Math.max(0, -at), to = Math.min(own, length - at);
          const here = (row - begin) * own;
          if (from < to) into.set(read.subarray(here + from, here + to), at + from);
        }
      }
      return into.subarray(0, length);
    },
  };
  const shape = [rows, columns * entries.length];
  return { ...first, source: view, offset: 0, bytes: rows * stride, shape };
}

/** What a view shares with the file behind it. */
export function derived(source: ByteSource, size: number): Omit<ByteSource, "read"> {
  return {
    name: source.name,
    size,
    ...(source.unchanged ? { unchanged: () => source.unchanged!() } : {}),
    close(): void {},
  };
}

/**
 * A tensor whose elements lie `strides` apart: itself where that is one after the other, else one that
 * reads them so. All the bytes between its first and last element are read at once, and forgotten when
 * every byte has been handed on.
 *
 * @param entry the tensor: where its first element is, its extents and the bytes of its elements
 * @param strides elements from one to the next along each extent
 * @param elementBytes bytes of an element
 */
export function strided(
  entry: TensorEntry,
  strides: readonly number[],
  elementBytes: number,
): TensorEntry {
  const { shape, source, offset, bytes } = entry;
  let dense = 1;
  let isDense = true, end = 1; // one past its last element
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1 && strides[i] !== dense) isDense = false;
    dense *= shape[i]!;
    end += (shape[i]! - 1) * strides[i]!;
  }
  if (isDense || bytes === 0) return entry;
  const place = (element: number): number => {
    let at = 0;
    for (let i = shape.length - 1; i >= 0; i--) {
      at += element % shape[i]! * strides[i]!;
      element = Math.floor(element / shape[i]!);
    }
    return at;
  };
  const readAll = (): Promise<Uint8Array> => source.read(offset, end * elementBytes);
  return { ...entry, source: wholeView(source, bytes, readAll, gather), offset: 0 };

  function gather(all: Uint8Array, start: number, into: Uint8Array): void {
    for (let done = 0; done < into.length;) {
      const byte = start + done, element = Math.floor(byte / elementBytes);
      const from = place(element) * elementBytes + byte % elementBytes;
      const length = Math.min(elementBytes - byte % elementBytes, into.length - done);
      for (let i = 0; i < length; i++) into[done + i] = all[from + i]!;
      done += length;
    }
  }
}

/** Bytes that are made of what is read at once, and forgotten when all have been handed on. */
export function wholeView<T>(
  source: ByteSource,
  size: number,
  readAll: () => Promise<T>,
  copy: (all: T, start: number, into: Uint8Array) => void,
): ByteSource {
  let read: Promise<T> | undefined, handedOn = 0;
  return {
    ...derived(source, size),
    async read(start, length, into = new Uint8Array(length)) {
      const all = await (read ??= readAll().catch((error) => {
        read = undefined;
        throw error;
      }));
      copy(all, start, into.subarray(0, length));
      handedOn += length;
      if (handedOn >= size) {
        read = undefined;
        handedOn = 0;
      }
      return into.subarray(0, length);
    },
  };
}
