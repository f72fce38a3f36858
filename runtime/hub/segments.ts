/**
 * A file as ranges over several connections, each resumed where it was cut; a journal beside the file
 * says what has arrived.
 *
 * @module
 */
import { announcedHash, contentRange, versionOf } from "./announced.ts";
import { NetworkError } from "./failures.ts";
import type { Reply } from "./http.ts";
import { type Journal, prefixLength, saveJournal, segmentLength } from "./journal.ts";
import { syncFile, writePart } from "./part_file.ts";
import { StaleError, type Transfer } from "./transfer.ts";
import { PrefixHash } from "./verify.ts";

const SAVE_EVERY_MS = 500;

/** Ranges of one file that are being fetched. */
class Segments {
  readonly #transfer: Transfer;
  readonly #journal: Journal;
  #loaded: number;
  #savedAt = 0;
  #saving: Promise<void> | undefined;

  constructor(transfer: Transfer, journal: Journal) {
    this.#transfer = transfer;
    this.#journal = journal;
    this.#loaded = journal.done.reduce((sum, n) => sum + n, 0);
  }

  /** Fetches what is missing; `first` is an answer for the first of it. */
  async fetch(first: Reply | undefined, hash: PrefixHash | undefined): Promise<void> {
    const transfer = this.#transfer, journal = this.#journal;
    const { done, size } = journal;
    const queue = [...done.keys()].filter((i) => done[i] < segmentLength(journal, i));
    transfer.options.onBytes?.(this.#loaded, size);
    let failure: unknown;
    const worker = async () => {
      try {
        for (let i = queue.shift(); i !== undefined; i = queue.shift()) {
          const given = first;
          first = undefined;
          await this.#segment(i, given);
          hash?.advance(prefixLength(journal));
        }
      } catch (error) {
        failure ??= error;
        transfer.stop(); // the others cannot make it whole either
      }
    };
    const workers = Math.min(transfer.client.tuning.connections, queue.length);
    await Promise.all(Array.from({ length: workers }, worker));
    await this.#saving;
    if (failure === undefined) return;
    if (this.#loaded > 0) await this.#saveNow();
    throw failure;
  }

  async #segment(i: number, given?: Reply): Promise<void> {
    const transfer = this.#transfer, journal = this.#journal;
    const { done, validator, segmentBytes } = journal;
    const start = i * segmentBytes, length = segmentLength(journal, i);
    await transfer.client.retry(async () => {
      const from = start + done[i];
      const reply = given ?? await transfer.ask({
        range: `bytes=${from}-${start + length - 1}`,
        ...(validator && { "if-range": validator }),
      });
      given = undefined;
      try {
        this.#check(reply, from);
        await this.#receive(reply, i);
        if (done[i] < length) throw transfer.cut(start + done[i]);
      } finally {
        reply.cancel();
      }
    }, { signal: transfer.signal, received: () => done[i] });
  }

  /** Refuses an answer that is of another version of the file, or of another range. */
  #check(reply: Reply, from: number): void {
    const { validator, sha256, size } = this.#journal;
    const range = reply.status === 206 ? contentRange(reply) : undefined;
    const changed = validator !== "" && versionOf(reply.headers) !== validator;
    const announced = announcedHash(reply);
    if (range?.from !== from || changed || (announced && sha256 && announced !== sha256)) {
      throw new StaleError(
        `Cannot fetch ${this.#transfer.job.subject}: it keeps changing while it is read; try again later`,
      );
    }
    if (range.total !== size) throw this.#transfer.wrongLength(range.total);
  }

  /** Writes what an answer brings of a segment. */
  async #receive(reply: Reply, i: number): Promise<void> {
    const transfer = this.#transfer, { done, segmentBytes, size } = this.#journal;
    const length = segmentLength(this.#journal, i);
    using file = await transfer.open(i * segmentBytes + done[i]);
    for await (const chunk of reply.body()) {
      if (done[i] + chunk.length > length) {
        throw new NetworkError(
          `Cannot fetch ${transfer.job.subject}: the server sent more than the ${length} bytes it was asked for`,
        );
      }
      await writePart(file, transfer.part, chunk);
      done[i] += chunk.length;
      this.#loaded += chunk.length;
      transfer.options.onBytes?.(this.#loaded, size);
      this.#save();
    }
  }

  /** Saves the journal now and then, never twice at once. */
  #save(): void {
    if (this.#saving || Date.now() - this.#savedAt < SAVE_EVERY_MS) return;
    this.#saving = this.#saveNow().finally(() => {
      this.#savedAt = Date.now();
      this.#saving = undefined;
    });
  }

  async #saveNow(): Promise<void> {
    const journal = this.#journal, { part } = this.#transfer;
    const snapshot = { ...journal, done: [...journal.done] };
    try {
      // Without a hash nothing would notice bytes that a power cut took after the journal claimed them.
      if (!this.#transfer.expected(journal.sha256)) await syncFile(part);
      await saveJournal(part, snapshot);
    } catch {
      /* a full disk may refuse this too; then the journal before it holds, and claims less */
    }
  }
}

/**
 * Fetches what a journal says is missing, several ranges at once; `first` is an answer for the first
 * of it. Returns the hash of what is there, where there is one to compare with: it goes along.
 */
export async function fetchSegments(
  transfer: Transfer,
  journal: Journal,
  first?: Reply,
): Promise<PrefixHash | undefined> {
  const expected = transfer.expected(journal.sha256);
  const hash = expected &&
    new PrefixHash(transfer.part, journal.size, expected.algorithm, transfer.signal);
  await new Segments(transfer, journal).fetch(first, hash);
  return hash;
}
