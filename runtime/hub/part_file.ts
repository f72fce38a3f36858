/**
 * Writing of partial files, and what a failing disk means.
 *
 * @module
 */
import { SourceError } from "../../errors.ts";
import { quote } from "../../escape.ts";

/** Sequential writing from an offset. */
export interface PartWriter extends Disposable {
  /** Writes some of the bytes and says how many. */
  write(bytes: Uint8Array): Promise<number>;
}

/** Opens a part file, making it if need be, for writing at an offset. */
export async function openPart(path: string, offset: number): Promise<PartWriter> {
  try {
    const file = await Deno.open(path, { create: true, write: true });
    await file.seek(offset, Deno.SeekMode.Start);
    return file;
  } catch (error) {
    throw diskError(error, path);
  }
}

/**
 * Writes all of the bytes.
 *
 * @throws {SourceError} when the disk is full or fails
 */
export async function writePart(file: PartWriter, path: string, bytes: Uint8Array): Promise<void> {
  try {
    while (bytes.length > 0) bytes = bytes.subarray(await file.write(bytes));
  } catch (error) {
    throw diskError(error, path);
  }
}

/** Puts what was written to a file, by whichever handle, on the disk itself. */
export async function syncFile(path: string): Promise<void> {
  using file = await Deno.open(path, { write: true });
  await file.syncData();
}

/** What a failure of the file system means for the person; other errors as they are. */
export function diskError(error: unknown, path: string): unknown {
  const ours = error instanceof SourceError;
  const system = error instanceof Error &&
    ("code" in error || error instanceof Deno.errors.NotCapable);
  if (ours || !system) return error;
  const { code } = error as Error & { code?: string };
  const full = code === "ENOSPC" || code === "EDQUOT" ||
    /no space left|disk (is )?full|quota exceeded/i.test(error.message);
  return new SourceError(
    full
      ? `Cannot write ${quote(path)}: ` +
        `the disk is full; free some space and run it again, what has arrived is kept`
      : `Cannot write ${quote(path)}: ${error.message}; check the cache directory`,
  );
}
