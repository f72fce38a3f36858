/**
 * Writing a model so that its file is whole or not there: to another name beside it, which becomes the
 * file's own when every byte is on the disk.
 *
 * @module
 */

import { InputError, SparrowError } from "../errors.ts";
import { formatBytes, quote } from "../escape.ts";
import type { ModelFile } from "../runtime/files/model_file.ts";
import { type GgufContents, writeGguf } from "../runtime/files/gguf_write.ts";
import { freeBytes } from "../runtime/hub/disk.ts";

/**
 * Refuses a destination that is there already, or that cannot be one.
 *
 * @throws InputError when it is no file, or one and `force` was not given
 * @throws SparrowError when the system lets nobody write there
 */
export async function checkDestination(path: string, force: boolean): Promise<void> {
  if (path === "") throw new InputError('Cannot write "": expected the name of a file');
  const found = await Deno.stat(path).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw failed(path, error);
  });
  if (found?.isDirectory) {
    throw new InputError(
      `Cannot write ${quote(path)}: it is a folder, expected the name of a file`,
    );
  }
  if (found && !found.isFile) {
    throw new InputError(
      `Cannot write ${quote(path)}: it is a device or a pipe, expected the name of a file`,
    );
  }
  if (found && !force) {
    throw new InputError(
      `Cannot write ${quote(path)}: it exists; give another name, or force (--force) to replace it`,
    );
  }
  // Better now than after the work: a folder that is missing, or where nothing may be made.
  const probe = partOf(path);
  try {
    (await Deno.open(probe, { write: true, createNew: true })).close();
    await Deno.remove(probe);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw failed(path, error);
    throw new SparrowError(`Cannot write ${quote(path)}: there is no such folder; make it first`, {
      cause: error,
    });
  }
}

/**
 * Refuses a destination that is one of a model's own files, by whatever name or link.
 *
 * @throws InputError when it is
 */
export async function checkApart(file: ModelFile, path: string): Promise<void> {
  const real = await Deno.realPath(path).catch(() => undefined);
  if (real === undefined) return; // not there yet
  const found = await Deno.stat(path);
  for (const source of new Set(file.tensors.values().map((it) => it.source))) {
    if (source.path === undefined) continue;
    const own = source.path.startsWith("file:") ? new URL(source.path) : source.path;
    const { dev, ino } = await Deno.stat(own);
    const isSame = ino !== null && found.ino === ino && found.dev === dev ||
      await Deno.realPath(own) === real;
    if (!isSame) continue;
    throw new InputError(
      `Cannot write ${
        quote(path)
      }: it is the model that is read, which stays as it is; give another ` +
        `name`,
    );
  }
}

/**
 * Writes a GGUF file; its size in bytes.
 *
 * @param part its name until it is whole
 *
 * @throws SparrowError when the disk is full, or refuses; nothing is left behind then
 */
export async function writeModel(
  path: string,
  contents: GgufContents,
  part: string = partOf(path),
): Promise<number> {
  try {
    const bytes = await write(part, contents);
    await Deno.rename(part, path);
    return bytes;
  } catch (error) {
    await Deno.remove(part).catch(() => {});
    throw failed(path, error);
  }
}

/** A name beside a file's for what is not yet it. */
function partOf(path: string): string {
  return `${path}.${crypto.randomUUID().slice(0, 8)}.part`;
}

async function write(path: string, contents: GgufContents): Promise<number> {
  using file = await Deno.open(path, { write: true, create: true, truncate: true });
  let bytes = 0;
  await writeGguf(
    contents,
    new WritableStream<Uint8Array<ArrayBuffer>>({
      async write(piece) {
        for (let at = 0; at < piece.length;) at += await file.write(piece.subarray(at));
        bytes += piece.length;
      },
    }),
  );
  await file.sync();
  return bytes;
}

/**
 * Refuses a file that the disk of `part` has no room for, before the work that it is made by; `bytes`
 * are what it still needs there.
 *
 * @throws SparrowError when there is less, as far as anybody can tell
 */
export async function checkRoom(path: string, part: string, bytes: number): Promise<void> {
  const free = await freeBytes(part);
  if (free === undefined || bytes <= free) return;
  throw new SparrowError(
    `Cannot write ${quote(path)}: it takes ${formatBytes(bytes)}, but the disk has ` +
      `${formatBytes(free)} free; choose a smaller type, or another disk`,
  );
}

/** Writes all bytes at a position of a file. */
export function writeAt(file: Deno.FsFile, offset: number, bytes: Uint8Array): void {
  file.seekSync(offset, Deno.SeekMode.Start);
  for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
}

/** Reads bytes from a position of a file until `bytes` is full. */
export function readAt(file: Deno.FsFile, offset: number, bytes: Uint8Array): Uint8Array {
  file.seekSync(offset, Deno.SeekMode.Start);
  for (let at = 0; at < bytes.length;) {
    const count = file.readSync(bytes.subarray(at));
    if (count === null) throw new SparrowError(`a draft ends at byte ${offset + at}`);
    at += count;
  }
  return bytes;
}

/** What the system said, as an error that names the file. */
export function failed(path: string, error: unknown): unknown {
  const { code } = error as { code?: string };
  if (code === undefined || error instanceof SparrowError) return error;
  // The rest of the system's message names a file that nobody has asked for.
  const [said] = (error as Error).message.split(" (os error");
  const reason = code === "ENOSPC" ? "no room is left on the disk" : said;
  return new SparrowError(`Cannot write ${quote(path)}: ${reason}`, { cause: error });
}
