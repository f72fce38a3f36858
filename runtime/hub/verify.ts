/**
 * The hash of a file that is still arriving: follows the gapless prefix and reads it back from the
 * disk, so that what is checked is what will be used, several connections may write out of order,
 * and little is left to do when the last byte comes.
 *
 * @module
 */
import { createHash, type Hash } from "./deps.ts";
import { quote } from "../../escape.ts";
import type { HubFile } from "./select.ts";

const CHUNK = 256 << 10; // about a millisecond of hashing between two turns of the event loop

/** Hashes the prefix of the file at a path as it grows. */
export class PrefixHash {
  readonly #path: string;
  readonly #hash: Hash;
  readonly #signal: AbortSignal | undefined;
  #at = 0;
  #work: Promise<void> = Promise.resolve();

  /** A hash at byte 0; `size` is the whole file's, which git's blob id hashes before the content. */
  constructor(path: string, size: number, algorithm: HubFile["algorithm"], signal?: AbortSignal) {
    this.#path = path;
    this.#signal = signal;
    this.#hash = createHash(algorithm === "sha256" ? "sha256" : "sha1");
    if (algorithm === "git-sha1") this.#hash.update(`blob ${size}\0`);
  }

  /** Lets the hash go on to byte `end`, in the background; failures show in {@linkcode digest}. */
  advance(end: number): void {
    this.#work = this.#work.then(() => this.#read(end));
    this.#work.catch(() => {});
  }

  /** Hexadecimal hash of everything up to `size`. */
  async digest(size: number): Promise<string> {
    this.advance(size);
    await this.#work;
    return this.#hash.digest("hex");
  }

  async #read(end: number): Promise<void> {
    if (end <= this.#at) return;
    using file = await Deno.open(this.#path);
    await file.seek(this.#at, Deno.SeekMode.Start);
    const chunk = new Uint8Array(CHUNK);
    while (this.#at < end) {
      this.#signal?.throwIfAborted();
      const n = await file.read(chunk.subarray(0, Math.min(CHUNK, end - this.#at)));
      if (n === null) {
        throw new Deno.errors.UnexpectedEof(`${quote(this.#path)} ends at byte ${this.#at}`);
      }
      this.#hash.update(chunk.subarray(0, n));
      this.#at += n;
    }
  }
}
