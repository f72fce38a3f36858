/**
 * Room on the disk of the cache, asked for before anything is downloaded into it.
 *
 * @module
 */
import { SourceError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { statfs } from "./deps.ts";

/** Bytes that are free for us on the disk of a directory; undefined where nobody may or can tell. */
export async function freeBytes(dir: string): Promise<number | undefined> {
  try {
    const kind = "statfs" as "systemMemoryInfo"; // Deno knows it, its types do not
    if (Deno.permissions.querySync({ name: "sys", kind }).state !== "granted") return undefined;
    const { bavail, bsize } = await statfs(dir);
    return bavail * bsize;
  } catch {
    return undefined;
  }
}

/**
 * Refuses what does not fit.
 *
 * @throws {SourceError} when `needed` bytes are more than `free`
 */
export function checkRoom(
  subject: string,
  needed: number,
  free: number | undefined,
  dir: string,
): void {
  if (free === undefined || needed <= free) return;
  throw new SourceError(
    `Cannot fetch ${subject}: it takes ${gigabytes(needed)}, but the disk of ${quote(dir)} has ` +
      `${gigabytes(free)} free; free some space, or choose another directory (SPARROW_CACHE)`,
  );
}

function gigabytes(bytes: number): string {
  return bytes < 1e8 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e9).toFixed(1)} GB`;
}
