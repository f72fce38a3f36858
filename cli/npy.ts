/**
 * Vectors as a file of NumPy, version 1.0: a magic number, a header in Python's spelling that is padded
 * to a multiple of 64 bytes, and the numbers in the order of rows.
 *
 * Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 *
 * @module
 */

import { SourceError } from "../errors.ts";
import { quote } from "../escape.ts";
import { checkDestination } from "../quantize/write.ts";
import { writeBytes } from "./command.ts";
import { systemReason, UsageError } from "./errors.ts";

/** Bytes before the header: magic number, version, length of the header. */
const PREAMBLE = 10;
/** Vectors that are written together. */
const ROWS = 1024;

/**
 * The pieces of a file with vectors of one length as an array `[vectors, length]` of little-endian f32.
 */
export function* npyPieces(vectors: readonly Float32Array[]): Iterable<Uint8Array> {
  const columns = vectors[0]?.length ?? 0;
  const shape = `(${vectors.length}, ${columns})`;
  const fields = `{'descr': '<f4', 'fortran_order': False, 'shape': ${shape}, }`;
  const padding = 63 - (PREAMBLE + fields.length) % 64; // and a newline
  const header = new TextEncoder().encode(`${fields}${" ".repeat(padding)}\n`);
  const length = [header.length & 255, header.length >> 8];
  yield Uint8Array.of(0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, ...length, ...header);
  for (let first = 0; first < vectors.length; first += ROWS) {
    const rows = vectors.slice(first, first + ROWS);
    const view = new DataView(new ArrayBuffer(rows.length * columns * 4));
    rows.forEach((row, i) => {
      row.forEach((value, k) => view.setFloat32((i * columns + k) * 4, value, true));
    });
    yield new Uint8Array(view.buffer);
  }
}

/**
 * Refuses to show bytes to a person, and places that cannot be a file, before there are any.
 *
 * @throws UsageError when the place is stdout ("-"), and that is a terminal
 * @throws InputError when it is a folder, a device or a pipe
 * @throws SparrowError when the system lets nobody write there
 */
export async function checkNpyPlace(path: string, isTerminal: boolean): Promise<void> {
  if (path !== "-") return await checkDestination(path, true);
  if (!isTerminal) return;
  throw new UsageError(
    'Cannot write the bytes of --npy "-" to a terminal: name a file, or send stdout to one',
  );
}

/**
 * Writes vectors to a file, which appears when it is whole, or with "-" to stdout.
 *
 * @throws SourceError when the system does not let it
 */
export async function writeNpy(path: string, vectors: readonly Float32Array[]): Promise<void> {
  if (path === "-") {
    for (const piece of npyPieces(vectors)) writeBytes(piece);
    return;
  }
  const part = `${path}.${crypto.randomUUID()}.part`;
  try {
    using file = await Deno.open(part, { write: true, createNew: true });
    for (const piece of npyPieces(vectors)) {
      for (let at = 0; at < piece.length;) at += await file.write(piece.subarray(at));
    }
    await file.sync();
    await Deno.rename(part, path);
  } catch (error) {
    await Deno.remove(part).catch(() => {}); // there may be none
    const reason = systemReason(error);
    if (reason === undefined) throw error;
    throw new SourceError(`Cannot write ${quote(path)}: ${reason}`, { cause: error });
  }
}
