/**
 * What is known of a partly downloaded file, kept beside it so that a later process goes on where
 * this one was cut. `X.part` holds the bytes, each at its final offset; `X.json` is the journal.
 * A journal never claims bytes that were not written.
 *
 * @module
 */

/** The state of a `.part` file. */
export interface Journal {
  /** Whole file in bytes. */
  readonly size: number;
  /** The file's ETag or Last-Modified when it was begun, for If-Range; `""` when it has none. */
  readonly validator: string;
  /** SHA-256 that a hub announced for a plain URL; `""` when unknown. */
  readonly sha256: string;
  /** Bytes in a segment, but for the last. */
  readonly segmentBytes: number;
  /** Bytes that arrived of each segment, from its start. */
  readonly done: number[];
}

/** Segments of a file, so that a journal stays small, however large the file. */
const MAX_SEGMENTS = 8192;

/** A journal for a file of which nothing is here. Segments of very large files are larger. */
export function newJournal(
  size: number,
  segmentBytes: number,
  validator: string,
  sha256: string,
): Journal {
  segmentBytes = Math.max(segmentBytes, Math.ceil(size / MAX_SEGMENTS));
  const done = new Array<number>(Math.ceil(size / segmentBytes)).fill(0);
  return { size, validator, sha256, segmentBytes, done };
}

/** Bytes in segment `i`. */
export function segmentLength(journal: Journal, i: number): number {
  return Math.min(journal.segmentBytes, journal.size - i * journal.segmentBytes);
}

/** Bytes that are here without a gap from the file's start. */
export function prefixLength(journal: Journal): number {
  const i = journal.done.findIndex((done, i) => done < segmentLength(journal, i));
  return i < 0 ? journal.size : i * journal.segmentBytes + journal.done[i];
}

/** The journal of `part`, or nothing when there is none that agrees with itself and the file. */
export async function loadJournal(part: string): Promise<Journal | undefined> {
  try {
    const journal: Journal = JSON.parse(await Deno.readTextFile(journalPath(part)));
    const { size, segmentBytes, done } = journal;
    const length = (await Deno.stat(part)).size;
    const sane = Number.isSafeInteger(size) && Array.isArray(done) && done.length <= MAX_SEGMENTS &&
      Number.isSafeInteger(segmentBytes) &&
      segmentBytes > 0 &&
      typeof journal.validator === "string" && typeof journal.sha256 === "string" &&
      done.length === Math.ceil(size / segmentBytes) &&
      done.every((n, i) =>
        Number.isSafeInteger(n) && n >= 0 && n <= segmentLength(journal, i) &&
        (n === 0 || i * segmentBytes + n <= length)
      );
    return sane ? journal : undefined;
  } catch {
    return undefined; // absent or torn: the file is begun anew
  }
}

/** Writes the journal; a process that dies meanwhile leaves the journal before it. */
export async function saveJournal(part: string, journal: Journal): Promise<void> {
  await writeAtomically(journalPath(part), JSON.stringify(journal));
}

/** Forgets a partial file. */
export async function discardPart(part: string): Promise<void> {
  for (const path of [journalPath(part), part]) await Deno.remove(path).catch(ignoreMissing);
}

/** Forgets the journal of a file that became whole. */
export async function removeJournal(part: string): Promise<void> {
  await Deno.remove(journalPath(part)).catch(ignoreMissing);
}

/** Writes a small text file so that readers see all of it or none. */
export async function writeAtomically(path: string, text: string): Promise<void> {
  const next = `${path}.${crypto.randomUUID().slice(0, 8)}.tmp`;
  try {
    await Deno.writeTextFile(next, text);
    await Deno.rename(next, path);
  } catch (error) {
    await Deno.remove(next).catch(ignoreMissing);
    throw error;
  }
}

function journalPath(part: string): string {
  return part.replace(/\.part$/, ".json");
}

function ignoreMissing(error: unknown): void {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}
