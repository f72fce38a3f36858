/**
 * Local files by path or `file:` URL. `Deno` is touched only when one is opened, so that browsers
 * can import this module.
 *
 * @module
 */

import { SourceError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { NotFoundError, type RawSource, reasonOf } from "./source_raw.ts";

/**
 * Opens a regular file.
 *
 * @throws NotFoundError when nothing is there
 * @throws SourceError when it is no regular file, or reading is not permitted
 */
export async function openFile(path: string | URL): Promise<RawSource> {
  const name = showPath(path);
  // Opening comes second: a pipe or device would make it wait for ever.
  const { isFile, isDirectory } = await local(name, () => Deno.stat(path));
  if (!isFile) {
    const found = isDirectory ? "a directory" : "neither a file nor a directory";
    throw new SourceError(`Cannot open ${quote(name)}: it is ${found}, expected a file`);
  }
  const file = await local(name, () => Deno.open(path));
  const opened = await local(name, () => file.stat());
  const { size } = opened;
  let position = 0;

  async function unchanged(): Promise<void> {
    let now: Deno.FileInfo;
    try {
      now = await local(name, () => Deno.stat(path));
    } catch (error) {
      // What is open can be read to its end.
      if (error instanceof NotFoundError) return;
      throw error;
    }
    const isSame = now.size === size && now.mtime?.getTime() === opened.mtime?.getTime() &&
      now.ino === opened.ino && now.dev === opened.dev;
    if (isSame) return;
    throw new SourceError(
      `Cannot use what was read from ${quote(name)}: the file was written or replaced meanwhile; ` +
        `load it again when it is complete`,
    );
  }

  async function intact(): Promise<void> {
    const now = await local(name, () => file.stat());
    if (now.size === size && now.mtime?.getTime() === opened.mtime?.getTime()) return;
    throw new SourceError(
      `Cannot use what was read from ${quote(name)}: the file was written meanwhile; load the ` +
        `model again when it is complete`,
    );
  }

  async function fill(offset: number, target: Uint8Array): Promise<void> {
    if (position !== offset) position = file.seekSync(offset, Deno.SeekMode.Start);
    for (let got = 0; got < target.length;) {
      const count = await file.read(target.subarray(got));
      if (count === null) {
        throw new SourceError(
          `Cannot read ${quote(name)}: it ends at byte ${position}, expected ${size}; ` +
            `it was cut while open`,
        );
      }
      got += count;
      position += count;
    }
  }

  return {
    name,
    size,
    path: path.toString(),
    unchanged,
    intact,
    fill: (offset, target) => local(name, () => fill(offset, target)),
    close: () => file.close(),
  };
}

/** Whether a directory is at `path`; false where nothing is. */
export async function isDirectory(path: string | URL): Promise<boolean> {
  try {
    return (await local(showPath(path), () => Deno.stat(path))).isDirectory;
  } catch (error) {
    if (error instanceof NotFoundError) return false;
    throw error;
  }
}

/** Names of the files in a directory, sorted. */
export function listFiles(path: string | URL): Promise<string[]> {
  return local(showPath(path), async () => {
    const names: string[] = [];
    for await (const entry of Deno.readDir(path)) if (!entry.isDirectory) names.push(entry.name);
    return names.sort();
  });
}

/** A path as messages show it. */
export function showPath(path: string | URL): string {
  return typeof path === "string" ? path : decoded(path.pathname);
}

/** A part of a URL without its `%` escapes, as far as they are any. */
export function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Runs a file operation, turning the system's errors into `SourceError`. */
async function local<T>(name: string, operation: () => Promise<T>): Promise<T> {
  if (typeof Deno === "undefined") {
    throw new SourceError(`Cannot open ${quote(name)}: paths need Deno; pass a URL or a Blob`);
  }
  try {
    return await operation();
  } catch (error) {
    if (error instanceof SourceError) throw error;
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      throw new NotFoundError(`Cannot open ${quote(name)}: there is no such file`, {
        cause: error,
      });
    }
    if (error instanceof Deno.errors.NotCapable) {
      throw new SourceError(
        `Cannot read ${quote(name)}: reading files is not permitted; run with ` +
          `--allow-read=${quote(name)}`,
        { cause: error },
      );
    }
    throw new SourceError(`Cannot read ${quote(name)}: ${reasonOf(error)}`, { cause: error });
  }
}
