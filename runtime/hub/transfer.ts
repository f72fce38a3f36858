/**
 * One file that is being fetched into a `.part` file: what both ways of fetching it (segments.ts,
 * stream.ts) ask of the server and the disk, and what they refuse.
 *
 * @module
 */
import { SourceError } from "../../errors.ts";
import { announcedHash } from "./announced.ts";
import { checkRoom, freeBytes } from "./disk.ts";
import { HttpError, NetworkError } from "./failures.ts";
import type { HubClient, Reply } from "./http.ts";
import { openPart, type PartWriter } from "./part_file.ts";
import { type HubFile, MAX_FILE_BYTES } from "./select.ts";

/** What to download. */
export interface FileJob {
  /** Where it is. */
  readonly url: URL;
  /** What it is in words, for messages. */
  readonly subject: string;
  /** Bytes, when known beforehand. */
  readonly size?: number;
  /** What its content must hash to, when known beforehand. */
  readonly expected?: ExpectedHash;
  /** Refuse a web page: what a browser shows at an address is not what was meant. */
  readonly binary?: boolean;
}

/** What a file's content must hash to. */
export type ExpectedHash = Pick<HubFile, "algorithm" | "hash">;

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

/** What is here is of no use: begin anew, and if that does not help, say so. */
export class StaleError extends SourceError {}

/** A file, where it comes from and where it goes. */
export class Transfer {
  readonly #stop = new AbortController();
  /** Ended by the caller, or by `stop`. */
  readonly signal: AbortSignal;

  /** Nothing is asked for yet. */
  constructor(
    readonly client: HubClient,
    readonly job: FileJob,
    readonly part: string,
    readonly options: DownloadOptions,
  ) {
    this.signal = AbortSignal.any([
      this.#stop.signal,
      ...(options.signal ? [options.signal] : []),
    ]);
  }

  /** Ends every connection of the file. */
  stop(): void {
    this.#stop.abort();
  }

  /** Asks for the file, or a range of it. */
  async ask(headers: Record<string, string>): Promise<Reply> {
    const { url, subject } = this.job;
    try {
      return await this.client.open(url, { subject, headers, signal: this.signal });
    } catch (error) {
      if (error instanceof HttpError && error.status === 416) throw new StaleError(error.message);
      throw error;
    }
  }

  /** The SHA-256 that a hub announces on the way, which a plain URL is then checked against. */
  announced(reply: Reply): string {
    const sha256 = announcedHash(reply);
    const { expected, subject, binary } = this.job;
    if (sha256 && expected?.algorithm === "sha256" && expected.hash !== sha256) {
      reply.cancel();
      throw new SourceError(
        `Cannot fetch ${subject}: the hub lists SHA-256 ${expected.hash}, but serves ${sha256}; try again later or another endpoint`,
      );
    }
    if (binary && /^text\/html\b/i.test(reply.headers.get("content-type") ?? "")) {
      reply.cancel();
      throw new SourceError(
        `Cannot fetch ${subject}: the server answers a web page, not a file; copy the download link, or write hf:ORG/REPO`,
      );
    }
    return sha256;
  }

  /** What the content must hash to, where a server has announced this SHA-256, or `""`. */
  expected(announced: string): ExpectedHash | undefined {
    return this.job.expected ?? (announced ? { algorithm: "sha256", hash: announced } : undefined);
  }

  /** Refuses what no file can be, and what has no room here, before anything is made for it. */
  async checkRoom(size: number): Promise<void> {
    const { subject } = this.job;
    if (size > MAX_FILE_BYTES) {
      throw new SourceError(
        `Cannot fetch ${subject}: the server announces ${size} bytes, expected at most ` +
          `${MAX_FILE_BYTES}; use another address`,
      );
    }
    checkRoom(subject, size, await this.free(), folderOf(this.part));
  }

  /** Bytes that are free where the file goes, when known. */
  free(): Promise<number | undefined> {
    return (this.options.freeBytes ?? freeBytes)(folderOf(this.part));
  }

  /** Opens the part file for writing at an offset. */
  open(offset: number): Promise<PartWriter> {
    return (this.options.openPart ?? openPart)(this.part, offset);
  }

  /** A connection that ended at a byte before the end. */
  cut(at: number): NetworkError {
    return new NetworkError(
      `Cannot fetch ${this.job.subject}: the connection was closed at byte ${at}`,
    );
  }

  /** Another number of bytes than was announced. */
  wrongLength(found: number): StaleError {
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
