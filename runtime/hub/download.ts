/**
 * One file from one URL into a `.part` file: ranges over several connections, resumed where they
 * were cut, checked against the hash. It does not know what a model or a cache is; the caller holds the
 * lock and renames the file when this returns.
 *
 * @module
 */
import { SourceError } from "../../errors.ts";
import { HttpError, NetworkError } from "./failures.ts";
import type { HubClient, Reply } from "./http.ts";
import * as journals from "./journal.ts";
import type { Journal } from "./journal.ts";
import { type HubFile, MAX_FILE_BYTES } from "./select.ts";
import { announcedHash, contentRange, versionOf } from "./announced.ts";
import { checkRoom, freeBytes } from "./disk.ts";
import { openPart, type PartWriter, syncFile, writePart } from "./part_file.ts";
import { PrefixHash } from "./verify.ts";

/** What to download. */
export interface FileJob {
  /** Where it is. */
  readonly url: URL;
  /** What it is in words, for messages. */
  readonly subject: string;
  /** Bytes, when known beforehand. */
  readonly size?: number;
  /** What its content must hash to, when known beforehand. */
  readonly expected?: Pick<HubFile, "algorithm" | "hash">;
  /** Refuse a web page: what a browser shows at an address is not what was meant. */
  readonly binary?: boolean;
}

/** How a download reports and writes. */
export interface DownloadOptions {
  /** Ends the download; what has arrived stays for the next time. */
  readonly signal?: AbortSignal | undefined;
  /** Bytes that are here, of how many. May go back when a file has to be begun anew. */
  readonly onBytes?: (loaded: number, total: number | undefined) => void;
  /** Bytes are all here and being checked. */
  readonly onVerify?: () => void;
  /** Opens the part file for writing at an offset; tests put a full disk here. */
  readonly openPart?: (path: string, offset: number) => Promise<PartWriter>;
  /** Bytes that are free on the disk of a directory, when known; tests put a small disk here. */
  readonly freeBytes?: (dir: string) => Promise<number | undefined>;
}

/** A whole, checked file. */
export interface Downloaded {
  /** Bytes. */
  readonly size: number;
  /** SHA-256 that it was checked against; `""` when the server announced none. */
  readonly sha256: string;
}

const SAVE_EVERY_MS = 500;
/** Most of a body whose length nobody announced: it may have no end. */
const UNANNOUNCED_BYTES = 2 ** 36;
/** Part of the free room that such a body may take. */
const UNANNOUNCED_PART = 0.9;
const MAX_RESTARTS = 1; // twice the same damage is no accident

/** What is here is of no use: begin anew, and if that does not help, say so. */
class StaleError extends SourceError {}

/**
 * Downloads a file into `part`, going on from what is there.
 *
 * @throws {SourceError} when it cannot be had whole and right; what arrived stays for a later call,
 * unless it was wrong
 */
export async function downloadFile(
  client: HubClient,
  job: FileJob,
  part: string,
  options: DownloadOptions = {},
): Promise<Downloaded> {
  for (let restarts = 0;; restarts++) {
    try {
      return await new Download(client, job, part, options).run();
    } catch (error) {
      if (!(error instanceof StaleError)) throw error;
      await journals.discardPart(part);
      if (restarts === MAX_RESTARTS) throw new SourceError(error.message);
    }
  }
}

class Download {
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  #loaded = 0;
  #savedAt = 0;
  #saving: Promise<void> | undefined;

  constructor(
    readonly client: HubClient,
    readonly job: FileJob,
    readonly part: string,
    readonly options: DownloadOptions,
  ) {
    this.#signal = AbortSignal.any([
      this.#stop.signal,
      ...(options.signal ? [options.signal] : []),
    ]);
  }

  async run(): Promise<Downloaded> {
    if (this.job.size === 0) return await this.#empty();
    const journal = await journals.loadJournal(this.part);
    if (journal && this.#fits(journal)) return await this.#segments(journal);
    await journals.discardPart(this.part);
    // The first answer decides: ranges and a way to tell versions apart, or one stream.
    const { segmentBytes } = this.client.tuning;
    const range = `bytes=0-${Math.min(segmentBytes, this.job.size ?? Infinity) - 1}`;
    const first = await this.client.retry(() => this.#ask({ range }), { signal: this.#signal });
    const sha256 = this.#announced(first);
    const size = first.status === 206 ? contentRange(first)?.total : undefined;
    // Mirrors behind one name disagree about ETags; where there is a hash, it alone decides.
    const validator = this.#expected(sha256) ? "" : versionOf(first.headers);
    if (size === undefined || !(validator || this.#expected(sha256))) {
      if (first.status === 206) first.cancel();
      return await this.#stream(sha256, first.status === 200 ? first : undefined);
    }
    if (this.job.size !== undefined && size !== this.job.size) {
      first.cancel();
      throw this.#wrongLength(size);
    }
    try {
      await this.#checkRoom(size);
    } catch (error) {
      first.cancel();
      throw error;
    }
    return await this.#segments(journals.newJournal(size, segmentBytes, validator, sha256), first);
  }

  /** Ranges, several at once. */
  async #segments(journal: Journal, first?: Reply): Promise<Downloaded> {
    const { done } = journal;
    const queue = [...done.keys()].filter((i) => done[i] < journals.segmentLength(journal, i));
    const expected = this.#expected(journal.sha256);
    const hash = expected &&
      new PrefixHash(this.part, journal.size, expected.algorithm, this.#signal);
    this.#loaded = done.reduce((sum, n) => sum + n, 0);
    this.options.onBytes?.(this.#loaded, journal.size);
    let failure: unknown;
    const worker = async () => {
      try {
        for (let i = queue.shift(); i !== undefined; i = queue.shift()) {
          const given = first;
          first = undefined;
          await this.#segment(journal, i, given);
          hash?.advance(journals.prefixLength(journal));
        }
      } catch (error) {
        failure ??= error;
        this.#stop.abort(); // the others cannot make it whole either
      }
    };
    const workers = Math.min(this.client.tuning.connections, queue.length);
    await Promise.all(Array.from({ length: workers }, worker));
    await this.#saving;
    if (failure !== undefined) {
      if (this.#loaded > 0) await this.#saveNow(journal);
      throw failure;
    }
    return await this.#finish(journal.size, expected, hash);
  }

  async #segment(journal: Journal, i: number, given?: Reply): Promise<void> {
    const { done, validator, segmentBytes, size } = journal;
    const start = i * segmentBytes, length = journals.segmentLength(journal, i);
    await this.client.retry(async () => {
      const from = start + done[i];
      const reply = given ?? await this.#ask({
        range: `bytes=${from}-${start + length - 1}`,
        ...(validator && { "if-range": validator }),
      });
      given = undefined;
      try {
        const range = reply.status === 206 ? contentRange(reply) : undefined;
        const changed = validator !== "" && versionOf(reply.headers) !== validator;
        const sha256 = announcedHash(reply);
        if (
          range?.from !== from || changed || (sha256 && journal.sha256 && sha256 !== journal.sha256)
        ) {
          throw new StaleError(
            `Cannot fetch ${this.job.subject}: it keeps changing while it is read; try again later`,
          );
        }
        if (range.total !== size) throw this.#wrongLength(range.total);
        using file = await this.#open(from);
        for await (const chunk of reply.body()) {
          if (done[i] + chunk.length > length) {
            throw new NetworkError(
              `Cannot fetch ${this.job.subject}: the server sent more than the ${length} bytes it was asked for`,
            );
          }
          await writePart(file, this.part, chunk);
          done[i] += chunk.length;
          this.#loaded += chunk.length;
          this.options.onBytes?.(this.#loaded, size);
          this.#save(journal);
        }
        if (done[i] < length) throw this.#cut(start + done[i]);
      } finally {
        reply.cancel();
      }
    }, { signal: this.#signal, received: () => done[i] });
  }

  /** One stream from the start, for servers without ranges. A cut means beginning again. */
  async #stream(sha256: string, given?: Reply): Promise<Downloaded> {
    const size = await this.client.retry(async () => {
      const reply = given ?? await this.#ask({});
      given = undefined;
      try {
        if (reply.status !== 200) {
          throw new StaleError(
            `Cannot fetch ${this.job.subject}: the server answers a part to a request for the whole`,
          );
        }
        const stated = Number(reply.headers.get("content-length") ?? NaN);
        if (this.job.size !== undefined && !Number.isNaN(stated) && stated !== this.job.size) {
          throw this.#wrongLength(stated);
        }
        const total = this.job.size ?? (Number.isNaN(stated) ? undefined : stated);
        if (total !== undefined) await this.#checkRoom(total);
        const most = total ?? Math.min(
          UNANNOUNCED_BYTES,
          (await this.#free() ?? Infinity) * UNANNOUNCED_PART,
        );
        if (total === undefined && !sha256 && !reply.headers.has("transfer-encoding")) {
          throw new SourceError(
            `Cannot fetch ${this.job.subject}: the server does not say how long it is, so a cut would go unnoticed; use another address`,
          );
        }
        await journals.discardPart(this.part);
        using file = await this.#open(0);
        this.#loaded = 0;
        this.options.onBytes?.(0, total);
        for await (const chunk of reply.body()) {
          if (this.#loaded + chunk.length > most) {
            if (total !== undefined) throw this.#wrongLength(this.#loaded + chunk.length);
            await journals.discardPart(this.part);
            throw new SourceError(
              `Cannot fetch ${this.job.subject}: the server does not say how long it is, and goes ` +
                `on after ${this.#loaded} bytes; use another address`,
            );
          }
          await writePart(file, this.part, chunk);
          this.#loaded += chunk.length;
          this.options.onBytes?.(this.#loaded, total);
        }
        if (total !== undefined && this.#loaded < total) throw this.#cut(this.#loaded);
        return this.#loaded;
      } finally {
        reply.cancel();
      }
    }, { signal: this.#signal });
    return await this.#finish(size, this.#expected(sha256));
  }

  async #empty(): Promise<Downloaded> {
    await journals.discardPart(this.part);
    (await this.#open(0))[Symbol.dispose]();
    return await this.#finish(0, this.#expected(""));
  }

  async #ask(headers: Record<string, string>): Promise<Reply> {
    const { url, subject } = this.job;
    try {
      return await this.client.open(url, { subject, headers, signal: this.#signal });
    } catch (error) {
      if (error instanceof HttpError && error.status === 416) throw new StaleError(error.message);
      throw error;
    }
  }

  /** The SHA-256 that a hub announces on the way, which a plain URL is then checked against. */
  #announced(reply: Reply): string {
    const sha256 = announcedHash(reply);
    const { expected, subject } = this.job;
    if (sha256 && expected?.algorithm === "sha256" && expected.hash !== sha256) {
      reply.cancel();
      throw new SourceError(
        `Cannot fetch ${subject}: the hub lists SHA-256 ${expected.hash}, but serves ${sha256}; try again later or another endpoint`,
      );
    }
    if (this.job.binary && /^text\/html\b/i.test(reply.headers.get("content-type") ?? "")) {
      reply.cancel();
      throw new SourceError(
        `Cannot fetch ${subject}: the server answers a web page, not a file; copy the download link, or write hf:ORG/REPO`,
      );
    }
    return sha256;
  }

  #expected(announced: string): FileJob["expected"] {
    return this.job.expected ?? (announced ? { algorithm: "sha256", hash: announced } : undefined);
  }

  #fits(journal: Journal): boolean {
    const sameSize = this.job.size === undefined || this.job.size === journal.size;
    return sameSize && !!(journal.validator || this.#expected(journal.sha256));
  }

  /** Checks the hash of what is here whole. */
  async #finish(
    size: number,
    expected: FileJob["expected"],
    hash?: PrefixHash,
  ): Promise<Downloaded> {
    if (expected === undefined) return { size, sha256: "" };
    const isSha256 = expected.algorithm === "sha256";
    this.options.onVerify?.();
    hash ??= new PrefixHash(this.part, size, expected.algorithm, this.#signal);
    const found = await hash.digest(size);
    if (found === expected.hash) return { size, sha256: isSha256 ? found : "" };
    throw new StaleError(
      `Cannot use ${this.job.subject}: its ${
        isSha256 ? "SHA-256" : "git blob id"
      } is ${found}, but ` +
        `${expected.hash} was announced; the server or the network damages it, try another endpoint`,
    );
  }

  /** Refuses what no file can be, and what has no room here, before anything is made for it. */
  async #checkRoom(size: number): Promise<void> {
    const { subject } = this.job;
    if (size > MAX_FILE_BYTES) {
      throw new SourceError(
        `Cannot fetch ${subject}: the server announces ${size} bytes, expected at most ` +
          `${MAX_FILE_BYTES}; use another address`,
      );
    }
    checkRoom(subject, size, await this.#free(), folderOf(this.part));
  }

  #free(): Promise<number | undefined> {
    return (this.options.freeBytes ?? freeBytes)(folderOf(this.part));
  }

  #open(offset: number): Promise<PartWriter> {
    return (this.options.openPart ?? openPart)(this.part, offset);
  }

  /** Saves the journal now and then, never twice at once. */
  #save(journal: Journal): void {
    if (this.#saving || Date.now() - this.#savedAt < SAVE_EVERY_MS) return;
    this.#saving = this.#saveNow(journal).finally(() => {
      this.#savedAt = Date.now();
      this.#saving = undefined;
    });
  }

  async #saveNow(journal: Journal): Promise<void> {
    const snapshot = { ...journal, done: [...journal.done] };
    try {
      // Without a hash nothing would notice bytes that a power cut took after the journal claimed them.
      if (!this.#expected(journal.sha256)) await syncFile(this.part);
      await journals.saveJournal(this.part, snapshot);
    } catch {
      /* a full disk may refuse this too; then the journal before it holds, and claims less */
    }
  }

  #cut(at: number): NetworkError {
    return new NetworkError(
      `Cannot fetch ${this.job.subject}: the connection was closed at byte ${at}`,
    );
  }

  #wrongLength(found: number): StaleError {
    const { subject, size } = this.job;
    return new StaleError(
      `Cannot fetch ${subject}: the server sends ${found} bytes, but ${
        size ?? "another number"
      } was announced; try again later or another endpoint`,
    );
  }
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}
