/**
 * Zip archives whose files are stored as they are, as torch writes them: where the bytes of each file
 * lie. Nothing is unpacked.
 *
 * Source: APPNOTE, the specification of the zip format (PKWARE), with its 64-bit extension.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { ByteSource } from "./source.ts";

/** A file of an archive, as the list at the archive's end has it. */
export interface ZipEntry {
  /** Its path in the archive. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** How it is packed; 0 for as it is. */
  readonly method: number;
  /** Where its own header begins. */
  readonly header: number;
}

/** An archive. */
export interface ZipArchive {
  /** Files by their path. */
  readonly entries: ReadonlyMap<string, ZipEntry>;
  /**
   * The first byte of a file's contents.
   *
   * @throws FormatError when it is packed, or its header does not agree with the list
   */
  locate(entry: ZipEntry): Promise<number>;
}

/** Bytes of the list of files; no archive of tensors comes near this. */
const LIST_LIMIT = 64 << 20;
/** Bytes of the record at the end without its comment, and of one file in the list without its name. */
const END_BYTES = 22, ROW_BYTES = 46, HEADER_BYTES = 30;
/** What stands where a number of 32 or 16 bits is too small. */
const WIDE = 0xffffffff, WIDE_COUNT = 0xffff;

const utf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * Reads the list of files of an archive.
 *
 * @throws FormatError when it is cut, encrypted, in several parts, or its numbers leave the file
 * @throws SourceError when bytes cannot be read
 */
export async function readZip(source: ByteSource): Promise<ZipArchive> {
  const fail = (found: string): never => {
    throw new FormatError(`Cannot read zip archive ${quote(source.name)}: ${found}`);
  };
  const { count, start, bytes } = await readEnd(source, fail);
  const list = await source.read(start, bytes);
  const view = new DataView(list.buffer, list.byteOffset, bytes);
  const entries = new Map<string, ZipEntry>();
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + ROW_BYTES > bytes || view.getUint32(at, true) !== 0x02014b50) {
      return fail(`its list ends after ${i} files, expected ${count}`);
    }
    const lengths = [28, 30, 32].map((field) => view.getUint16(at + field, true));
    const [nameBytes, extraBytes, commentBytes] = lengths as [number, number, number];
    const next = at + ROW_BYTES + nameBytes + extraBytes + commentBytes;
    if (next > bytes) return fail(`file ${i + 1} of its list is cut`);
    const name = nameOf(list.subarray(at + ROW_BYTES, at + ROW_BYTES + nameBytes), i, fail);
    const file = `file ${quote(name)}`;
    if (view.getUint16(at + 8, true) & 1) return fail(`${file} is encrypted`);
    const [packed, size, header] = wideNumbers(
      view,
      at + ROW_BYTES + nameBytes,
      extraBytes,
      [20, 24, 42].map((field) => view.getUint32(at + field, true)),
      (found) => fail(`${file} ${found}`),
    ) as [number, number, number];
    const method = view.getUint16(at + 10, true);
    if (method === 0 && packed !== size) {
      return fail(`${file} has ${packed} bytes stored as they are, expected ${size}`);
    }
    if (header + HEADER_BYTES > start || header + HEADER_BYTES + packed > start) {
      return fail(
        `${file} of ${packed} bytes at byte ${header} does not end before the list of files at ` +
          `byte ${start}`,
      );
    }
    if (entries.has(name)) return fail(`${file} occurs twice`);
    entries.set(name, { name, size, method, header });
    at = next;
  }
  return { entries, locate: (entry) => locate(source, entry, start, fail) };
}

/** Where the list of files is, from the record at the archive's end. */
async function readEnd(
  source: ByteSource,
  fail: (found: string) => never,
): Promise<{ count: number; start: number; bytes: number }> {
  const { size } = source;
  if (size < END_BYTES) return fail(`it has ${size} bytes, too few for an archive`);
  const tailBytes = Math.min(size, END_BYTES + 0xffff), tailStart = size - tailBytes;
  const tail = await source.read(tailStart, tailBytes);
  const view = new DataView(tail.buffer, tail.byteOffset, tailBytes);
  let at = tailBytes - END_BYTES;
  const isEnd = (): boolean =>
    view.getUint32(at, true) === 0x06054b50 &&
    at + END_BYTES + view.getUint16(at + 20, true) === tailBytes;
  while (at >= 0 && !isEnd()) at--;
  if (at < 0) {
    return fail(
      "it has no list of files at its end, so it is cut; if it was downloaded, fetch it again",
    );
  }
  let count = view.getUint16(at + 10, true);
  let bytes = view.getUint32(at + 12, true), start = view.getUint32(at + 16, true);
  let end = tailStart + at;
  if (view.getUint16(at + 4, true) % WIDE_COUNT !== 0) return fail("it is one of several parts");
  const hasWide = at >= 20 && view.getUint32(at - 20, true) === 0x07064b50;
  if (hasWide) {
    const place = whole(view.getBigUint64(at - 12, true), fail);
    if (place + 56 > end - 20) {
      return fail(`its 64-bit record is at byte ${place}, expected before`);
    }
    const record = await source.read(place, 56);
    const wide = new DataView(record.buffer, record.byteOffset, 56);
    if (wide.getUint32(0, true) !== 0x06064b50) return fail("its 64-bit record is damaged");
    [count, bytes, start] = [32, 40, 48].map((field) =>
      whole(wide.getBigUint64(field, true), fail)
    ) as [number, number, number];
    end = place;
  } else if (count === WIDE_COUNT || bytes === WIDE || start === WIDE) {
    return fail("its 64-bit record is missing");
  }
  if (bytes > LIST_LIMIT) {
    return fail(`its list of files takes ${bytes} bytes, expected at most ${LIST_LIMIT}`);
  }
  if (start + bytes > end || count * ROW_BYTES > bytes) {
    return fail(`its list of ${count} files in ${bytes} bytes at byte ${start} does not fit`);
  }
  return { count, start, bytes };
}

/** A number of 64 bits as one that can be computed with. */
function whole(value: bigint, fail: (found: string) => never): number {
  return value > Number.MAX_SAFE_INTEGER
    ? fail(`it has a number of ${value} bytes`)
    : Number(value);
}

function nameOf(bytes: Uint8Array, i: number, fail: (found: string) => never): string {
  try {
    return utf8.decode(bytes);
  } catch {
    return fail(`the name of file ${i + 1} of its list is not UTF-8`);
  }
}

/** Packed size, size and place of a file; those too large for 32 bits are in the extra fields. */
function wideNumbers(
  view: DataView,
  extra: number,
  extraBytes: number,
  numbers: number[],
  fail: (found: string) => never,
): number[] {
  // Sizes come in the order size, packed size, place.
  const wanted = [1, 0, 2].filter((i) => numbers[i] === WIDE);
  for (let at = extra; wanted.length > 0 && at + 4 <= extra + extraBytes;) {
    const id = view.getUint16(at, true), length = view.getUint16(at + 2, true);
    at += 4;
    if (at + length > extra + extraBytes) break;
    if (id === 1) {
      if (length < 8 * wanted.length) break;
      wanted.forEach((i, n) => numbers[i] = whole(view.getBigUint64(at + 8 * n, true), fail));
      return numbers;
    }
    at += length;
  }
  return wanted.length > 0 ? fail("has no 64-bit sizes, which it needs") : numbers;
}

async function locate(
  source: ByteSource,
  { name, size, method, header }: ZipEntry,
  limit: number,
  fail: (found: string) => never,
): Promise<number> {
  const file = `file ${quote(name)}`;
  if (method !== 0) {
    return fail(
      `${file} is compressed (method ${method}), expected one that is stored as it is, as torch ` +
        `writes it`,
    );
  }
  const head = await source.read(header, HEADER_BYTES);
  const view = new DataView(head.buffer, head.byteOffset, HEADER_BYTES);
  if (view.getUint32(0, true) !== 0x04034b50 || view.getUint16(8, true) !== method) {
    return fail(`${file} has no header at byte ${header}, where the list of files has it`);
  }
  const start = header + HEADER_BYTES + view.getUint16(26, true) + view.getUint16(28, true);
  if (start + size > limit) {
    return fail(`${file} ends at byte ${start + size}, expected at most ${limit}`);
  }
  return start;
}
