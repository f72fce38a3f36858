/**
 * A writer of small torch checkpoints in both forms, and of zip archives and pickles that no honest
 * program writes.
 *
 * @module
 */

import type { ModelFile } from "../runtime/files/model_file.ts";
import { openModelFile } from "../runtime/files/open.ts";
import { concat, u32, u64 } from "./fixtures.ts";

const utf8 = new TextEncoder();

/** One byte. */
export function op(...codes: number[]): Uint8Array {
  return Uint8Array.from(codes);
}

/** Text in a pickle. */
export function text(value: string): Uint8Array {
  const bytes = utf8.encode(value);
  return concat([op(0x58), u32(bytes.length), bytes]);
}

/** A whole number in a pickle, of up to 64 bits. */
export function int(value: number | bigint): Uint8Array {
  return concat([op(0x8a, 8), u64(BigInt.asUintN(64, BigInt(value)))]);
}

/** A tuple in a pickle. */
export function tuple(...items: Uint8Array[]): Uint8Array {
  return concat([op(0x28), ...items, op(0x74)]);
}

/** A reference to something of a module. */
export function global(module: string, name: string): Uint8Array {
  return concat([op(0x63), utf8.encode(`${module}\n${name}\n`)]);
}

/** What is called with which arguments. */
export function called(what: Uint8Array, ...args: Uint8Array[]): Uint8Array {
  return concat([what, tuple(...args), op(0x52)]);
}

/** A dictionary in a pickle. */
export function dict(items: Readonly<Record<string, Uint8Array>>): Uint8Array {
  const pairs = Object.entries(items).flatMap(([key, value]) => [text(key), value]);
  return concat([op(0x7d, 0x28), ...pairs, op(0x75)]);
}

/** A whole pickle of protocol 2. */
export function pickle(...pieces: Uint8Array[]): Uint8Array {
  return concat([op(0x80, 2), ...pieces, op(0x2e)]);
}

/** A tensor in a storage. */
export interface TestTensor {
  /** Such as `"Float"`. */
  kind: string;
  key: string;
  /** Elements of the storage. */
  count: number | bigint;
  first?: number | bigint;
  shape: readonly (number | bigint)[];
  strides: readonly (number | bigint)[];
}

/** The storage of a tensor in a pickle. */
export function storage({ kind, key, count }: TestTensor, ...part: Uint8Array[]): Uint8Array {
  const type = global("torch", `${kind}Storage`);
  return concat([
    tuple(text("storage"), type, text(key), text("cpu"), int(count), ...part),
    op(0x51),
  ]);
}

/** A tensor in a pickle. */
export function tensor(it: TestTensor): Uint8Array {
  return called(
    global("torch._utils", "_rebuild_tensor_v2"),
    storage(it),
    int(it.first ?? 0),
    tuple(...it.shape.map(int)),
    tuple(...it.strides.map(int)),
    op(0x89),
    called(global("collections", "OrderedDict")),
  );
}

/** How an archive is written. */
export interface ZipOptions {
  /** Whether sizes and places stand in 64-bit fields. */
  wide?: boolean;
  /** Method that a file claims; it is stored as it is whatever this says. */
  method?: number;
}

/** A zip archive. */
export function zip(
  files: Readonly<Record<string, Uint8Array>>,
  { wide = false, method = 0 }: ZipOptions = {},
): Uint8Array<ArrayBuffer> {
  const pieces: Uint8Array[] = [], rows: Uint8Array[] = [];
  let at = 0;
  const u16 = (value: number): Uint8Array => op(value & 255, value >> 8);
  for (const [file, contents] of Object.entries(files)) {
    const name = utf8.encode(file), padding = new Uint8Array(64 - (at + 34 + name.length) % 64);
    const extra = concat([u16(0x4246), u16(padding.length), padding]);
    const size = u32(contents.length);
    const common = concat([u16(0), u16(method), u32(0), u32(0)]);
    const head = concat([
      ...[u32(0x04034b50), u16(0), common, size, size, u16(name.length), u16(extra.length)],
      ...[name, extra],
    ]);
    const all = u32(0xffffffff);
    const more = wide
      ? concat([u16(1), u16(24), u64(contents.length), u64(contents.length), u64(at)])
      : op();
    rows.push(concat([
      ...[u32(0x02014b50), u16(0), u16(0), common, wide ? all : size, wide ? all : size],
      ...[u16(name.length), u16(more.length), u16(0), u16(0), u16(0), u32(0), wide ? all : u32(at)],
      ...[name, more],
    ]));
    pieces.push(head, contents);
    at += head.length + contents.length;
  }
  const list = concat(rows), count = rows.length;
  const end = at + list.length;
  if (wide) {
    pieces.push(
      list,
      ...[u32(0x06064b50), u64(44), u16(45), u16(45), u32(0), u32(0), u64(count), u64(count)],
      ...[u64(list.length), u64(at), u32(0x07064b50), u32(0), u64(end), u32(1)],
      ...[u32(0x06054b50), u16(0), u16(0), u16(0xffff), u16(0xffff), u32(0xffffffff)],
      ...[u32(0xffffffff), u16(0)],
    );
  } else {
    pieces.push(
      ...[list, u32(0x06054b50), u16(0), u16(0), u16(count), u16(count), u32(list.length)],
      ...[u32(at), u16(0)],
    );
  }
  return concat(pieces);
}

/** A checkpoint as torch writes it since 1.6, of any pickle. */
export function torchZip(
  state: Uint8Array,
  storages: Readonly<Record<string, Uint8Array>>,
  { prefix = "archive/", ...options }: ZipOptions & { prefix?: string } = {},
): Uint8Array<ArrayBuffer> {
  const data = Object.entries(storages).map(([key, bytes]) => [`${prefix}data/${key}`, bytes]);
  return zip({
    [`${prefix}data.pkl`]: state,
    [`${prefix}byteorder`]: utf8.encode("little"),
    ...Object.fromEntries(data),
    [`${prefix}version`]: utf8.encode("3\n"),
    [`${prefix}.data/serialization_id`]: utf8.encode("1"),
  }, options);
}

/** A checkpoint as torch wrote it before, of any pickle; `elementBytes` by the key of a storage. */
export function torchLegacy(
  state: Uint8Array,
  storages: Readonly<Record<string, Uint8Array>>,
  elementBytes: Readonly<Record<string, number>>,
): Uint8Array<ArrayBuffer> {
  const magic = op(0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19);
  const system = dict({ protocol_version: int(1001), little_endian: op(0x88) });
  const keys = Object.keys(storages);
  return concat([
    ...[pickle(magic), pickle(int(1001)), pickle(system), state],
    pickle(op(0x5d, 0x28), ...keys.map(text), op(0x65)),
    ...keys.flatMap((key) => [u64(storages[key]!.length / elementBytes[key]!), storages[key]!]),
  ]);
}

/** A configuration, without which no checkpoint opens. */
export const CONFIG: Readonly<Record<string, Uint8Array>> = {
  "config.json": new TextEncoder().encode("{}"),
};

/** Opens a checkpoint that is at hand as bytes. */
export function openTorch(bytes: Uint8Array): Promise<ModelFile> {
  return openModelFile(new File([bytes.slice()], "m.bin"), { siblings: CONFIG });
}

/** The bytes of numbers. */
export const bytesOf = (values: ArrayBufferView): Uint8Array => new Uint8Array(values.buffer);

/** A storage of the bytes 0 to 11 as twelve elements. */
export const TWELVE: TestTensor = {
  kind: "Byte",
  key: "0",
  count: 12,
  shape: [3, 4],
  strides: [4, 1],
};

/** The bytes of it. */
export const BYTES = { "0": Uint8Array.from({ length: 12 }, (_, i) => i) };
