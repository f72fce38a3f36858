/**
 * Files on a server. One connection streams from the position of the first read; reads that follow
 * it continue it, others ask for a new range. A server without ranges is read forward, from the
 * start again when the position lies behind. Nothing is buffered beyond the chunk at hand.
 *
 * @module
 */

import { SourceError } from "../../errors.ts";
import { plain, quote } from "../../escape.ts";
import { decoded } from "./source_file.ts";
import { NotFoundError, type RawSource, reasonOf } from "./source_raw.ts";

/** Bytes that are read and dropped rather than asking for a new range. */
const SKIP_LIMIT = 1 << 20;
/** Connections that one read may lose before it fails. */
const RETRIES = 2;
/** Bytes a second that a connection must bring: generous, a modem of 1990 brings 300. */
const SLOW_RATE = 250;
/** Far more than any model's file has; a server that announces more is not to be believed. */
const MAX_BYTES = 2 ** 43;

/** What a server is asked with. */
export interface HttpOptions {
  /** Sent with every request; a redirect to another origin gets no `Authorization`. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Ends every request with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds without a byte before a read fails (default 60 000). */
  readonly stallTimeout?: number | undefined;
  /** Milliseconds of waiting over which the rate of a connection is measured (default 60 000). */
  readonly slowTimeout?: number | undefined;
}

/**
 * Opens a file on a server.
 *
 * @throws NotFoundError on status 404 or 410
 * @throws SourceError on any other failure, with the URL and the status where there is one
 */
export async function openHttp(url: URL, options: HttpOptions): Promise<RawSource> {
  const file = new HttpFile(url, options);
  await file.open();
  return file;
}

/** A URL as messages show it: no user, password, query or fragment. */
export function showUrl(url: URL): string {
  return url.origin + url.pathname;
}

/** A response being read. */
interface Stream {
  readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  /** Bytes received but not yet consumed. */
  rest: Uint8Array;
  /** Position in the file of the first of them. */
  position: number;
}

class HttpFile implements RawSource {
  readonly name: string;
  size = -1;
  readonly #url: URL;
  readonly #headers: Record<string, string> = {};
  readonly #signal: AbortSignal | undefined;
  readonly #stallTimeout: number;
  readonly #slowTimeout: number;
  /** Milliseconds waited, and bytes that came meanwhile, of the measurement under way. */
  #waited = 0;
  #came = 0;
  #request = new AbortController();
  #stream: Stream | undefined;
  /** What the last response said, for messages. */
  #status = "";
  #ranges = false;
  #version: { tag: string | null; modified: string | null } | undefined;

  constructor(
    url: URL,
    { headers, signal, stallTimeout = 60_000, slowTimeout = 60_000 }: HttpOptions,
  ) {
    this.name = showUrl(url);
    this.#url = new URL(url);
    Object.assign(this.#headers, headers);
    this.#signal = signal;
    this.#stallTimeout = stallTimeout;
    this.#slowTimeout = slowTimeout;
    if (url.username || url.password) {
      // Requests refuse credentials in URLs; this is the header that they stand for.
      const pair = `${decoded(url.username)}:${decoded(url.password)}`;
      this.#headers.Authorization = `Basic ${new TextEncoder().encode(pair).toBase64()}`;
      this.#url.username = this.#url.password = "";
    }
  }

  async open(): Promise<void> {
    try {
      this.#stream = await this.#connect(0);
    } catch (error) {
      this.close();
      throw this.#explain(error, 0);
    }
  }

  async fill(offset: number, target: Uint8Array): Promise<void> {
    let got = 0;
    for (let lost = 0; got < target.length;) {
      const at = offset + got;
      try {
        if (!this.#leadsTo(at)) this.#stream = await this.#connect(at);
        got += await this.#take(at, target.subarray(got));
      } catch (error) {
        this.#drop();
        const final = error instanceof SourceError || this.#signal?.aborted;
        if (final || lost++ === RETRIES) throw this.#explain(error, at);
      }
    }
  }

  close(): void {
    this.#drop();
  }

  #drop(): void {
    this.#request.abort(new SourceError(`Cannot read ${quote(this.name)}: it was closed`));
    this.#stream = undefined;
  }

  /** Whether reading on in the open response is the way to `at`. */
  #leadsTo(at: number): boolean {
    if (!this.#stream) return false;
    const distance = at - this.#stream.position;
    return distance >= 0 && (distance <= SKIP_LIMIT || !this.#ranges);
  }

  /** Copies what the response holds for `at`; may be nothing yet. */
  async #take(at: number, target: Uint8Array): Promise<number> {
    const stream = this.#stream!;
    if (stream.rest.length === 0) {
      const begun = performance.now();
      const { value, done } = await this.#timed(stream.reader.read());
      if (done) throw new Error("the body ended");
      this.#measure(performance.now() - begun, value.length);
      stream.rest = value;
    }
    const from = Math.min(at - stream.position, stream.rest.length);
    const part = stream.rest.subarray(from, from + target.length);
    target.set(part);
    stream.rest = stream.rest.subarray(from + part.length);
    stream.position += from + part.length;
    return part.length;
  }

  /** Gives up a connection that trickles, which would keep the reader waiting for years. */
  #measure(ms: number, bytes: number): void {
    this.#waited += ms;
    this.#came += bytes;
    if (this.#waited < this.#slowTimeout) return;
    const slow = this.#came / this.#waited * 1000 < SLOW_RATE;
    this.#waited = this.#came = 0;
    if (slow) throw this.#failure(`it sends less than ${SLOW_RATE} bytes a second`);
  }

  /** Asks for the file from `offset` on; a server without ranges answers from its start. */
  async #connect(offset: number): Promise<Stream> {
    this.#drop();
    this.#request = new AbortController();
    const signals = [this.#request.signal];
    if (this.#signal) signals.push(this.#signal);
    const response = await this.#timed(fetch(this.#url, {
      // Compressed bytes have no ranges, and no end that could be told beforehand.
      headers: { "Accept-Encoding": "identity", ...this.#headers, Range: `bytes=${offset}-` },
      signal: AbortSignal.any(signals),
    }));
    const { status, statusText, headers } = response;
    this.#status = `status ${status} ${plain(statusText, 60)}`.trimEnd();
    const range = headers.get("Content-Range") ?? "";
    const coding = headers.get("Content-Encoding") ?? "identity";
    if (response.ok && coding !== "identity") {
      throw this.#failure(`the body is in coding ${quote(coding)}, which was not asked for`);
    }
    let total: number;
    if (status === 206) {
      const [, first, length] = /^bytes (\d+)-\d+\/(\d+)$/.exec(range) ?? [];
      if (Number(first) !== offset) {
        throw this.#failure(
          `Content-Range is ${quote(range)}, expected bytes ${offset}- and a size`,
        );
      }
      total = Number(length);
    } else if (status === 200) {
      total = Number(headers.get("Content-Length") || NaN);
      if (!(total >= 0)) {
        throw this.#failure("the server does not tell the file's size (Content-Length)");
      }
    } else if (status === 416 && range === "bytes */0") {
      total = 0;
    } else if (status === 404 || status === 410) {
      throw new NotFoundError(`Cannot open ${quote(this.name)}: ${this.#status}; check the URL`);
    } else {
      throw this.#failure("expected status 200 or 206");
    }
    if (total > MAX_BYTES) {
      throw this.#failure(`the file has ${total} bytes, expected at most ${MAX_BYTES}`);
    }
    if (this.size >= 0 && total !== this.size) {
      throw this.#failure(`the file has ${total} bytes now, but had ${this.size} when opened`);
    }
    this.#checkVersion(headers);
    this.size = total;
    this.#ranges = status === 206 || (offset === 0 && headers.get("Accept-Ranges") === "bytes");
    const reader = (response.body ?? new Blob().stream()).getReader();
    return { reader, rest: new Uint8Array(0), position: status === 206 ? offset : 0 };
  }

  /**
   * Throws when a later response is of another version of the file than the first one. Where both
   * have a strong tag, dates say nothing: servers of one address may differ in them.
   */
  #checkVersion(headers: Headers): void {
    const strong = (tag: string | null): string | null => tag?.startsWith("W/") ? null : tag;
    const found = {
      tag: strong(headers.get("ETag")),
      modified: headers.get("Last-Modified"),
    };
    const first = this.#version ??= found;
    const [name, was, is] = first.tag && found.tag
      ? ["ETag", first.tag, found.tag]
      : ["Last-Modified", first.modified, found.modified];
    if (!was || !is || was === is) return;
    const bare = (value: string): string => quote(value.replaceAll('"', ""));
    throw this.#failure(
      `the file changed while it was read: ${name} is ${bare(is)} now, but was ${bare(was)} ` +
        `when opened; load it again`,
    );
  }

  /** Ends the request when nothing comes for too long. */
  async #timed<T>(work: Promise<T>): Promise<T> {
    const timer = setTimeout(() => {
      this.#request.abort(this.#failure(`nothing came for ${this.#stallTimeout / 1000} s`));
    }, this.#stallTimeout);
    try {
      return await work;
    } finally {
      clearTimeout(timer);
    }
  }

  #failure(reason: string): SourceError {
    const status = this.#status && `${this.#status}, `;
    return new SourceError(`Cannot read ${quote(this.name)}: ${status}${reason}`);
  }

  /** What is thrown for `error` at byte `at`: the caller's own reason, or a `SourceError`. */
  #explain(error: unknown, at: number): unknown {
    if (this.#signal?.aborted) return this.#signal.reason;
    if (error instanceof SourceError) return error;
    if (error instanceof Error && error.name === "NotCapable") {
      const host = /net access to "([^"]+)"/.exec(error.message)?.[1] ?? this.#url.host;
      return new SourceError(
        `Cannot open ${quote(this.name)}: ` +
          `network access is not permitted; run with --allow-net=${host}`,
      );
    }
    // Not as a cause: the system's messages quote URLs with their queries.
    const reason = plain(reasonOf(error), 300);
    if (this.size < 0) return this.#failure(reason);
    return this.#failure(`the connection was lost at byte ${at} of ${this.size}: ${reason}`);
  }
}
