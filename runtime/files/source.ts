/**
 * Bytes at a location, read by position: a path, a `file:` or `http(s):` URL, a Blob, or memory.
 * Knows nothing of what the bytes mean; folders of several files are in `folder.ts`.
 *
 * @module
 */

import { InputError, SourceError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { NotFoundError, type RawSource, reasonOf } from "./source_raw.ts";
import { openFile } from "./source_file.ts";
import { openHttp } from "./source_http.ts";

export { NotFoundError };

/** Where bytes are. Strings are paths unless they begin with `file:`, `http:` or `https:`. */
export type Location = string | URL | Blob | Uint8Array;

/** How a source is opened. */
export interface SourceOptions {
  /** Headers of every request to a server; a redirect to another origin gets no `Authorization`. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Ends opening and every later read with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds without a byte from a server before a read fails (default 60 000). */
  readonly stallTimeout?: number | undefined;
  /** Milliseconds of waiting over which a server's rate is measured (default 60 000). */
  readonly slowTimeout?: number | undefined;
}

/** Bytes that can be read at any position, in any order, by several callers at once. */
export interface ByteSource {
  /** Path or URL for messages; never with credentials. */
  readonly name: string;
  /** Length in bytes. */
  readonly size: number;
  /** Of a local file: the path or `file:` URL by which another thread can open it too. */
  readonly path?: string;
  /**
   * Reads exactly `length` bytes from `offset`, into the start of `into` where given. The result
   * belongs to the caller.
   *
   * @throws SourceError when the range is not inside the source or its bytes cannot be had
   */
  read(offset: number, length: number, into?: Uint8Array): Promise<Uint8Array>;
  /**
   * Of what can change while it is read and does not say so by itself, a local file: compares it with
   * what it was when it was opened.
   *
   * @throws SourceError when it has been written or replaced since
   */
  unchanged?(): Promise<void>;
  /**
   * As `unchanged`, of the open file itself: that it was deleted, or that another one has its name now,
   * makes no difference.
   *
   * @throws SourceError when it has been written since it was opened
   */
  intact?(): Promise<void>;
  /** Releases the file or connection. Reads after it fail. */
  close(): void;
}

/**
 * Opens the bytes at a location. Nothing but the first bytes of a connection is held in memory.
 *
 * @throws NotFoundError when there is no such file
 * @throws SourceError when it cannot be opened: permission, HTTP status, unknown size, a directory
 *
 * @example
 * ```ts
 * import { openSource } from "./source.ts";
 *
 * const source = await openSource(new Blob(["GGUF and more"]));
 * const magic = new TextDecoder().decode(await source.read(0, 4)); // "GGUF"
 * source.close();
 * ```
 */
export async function openSource(
  location: Location,
  options: SourceOptions = {},
): Promise<ByteSource> {
  options.signal?.throwIfAborted();
  return serialSource(await openRaw(location, options), options.signal);
}

function openRaw(location: Location, options: SourceOptions): Promise<RawSource> | RawSource {
  if (location instanceof Uint8Array) return bytesSource(location);
  if (location instanceof Blob) return blobSource(location);
  const place = resolveLocation(location);
  return isHttp(place) ? openHttp(place, options) : openFile(place);
}

/**
 * The URL that a string or URL means, or the path itself. In a browser a path is relative to the
 * page.
 *
 * @throws InputError when it is a URL of a scheme that cannot be read
 */
export function resolveLocation(location: string | URL): string | URL {
  if (typeof location === "string" && !/^(file:|[a-z][a-z0-9+.-]+:\/\/)/i.test(location)) {
    const page = "Deno" in globalThis ? undefined : globalThis.location;
    return page ? new URL(location, page.href) : location;
  }
  const url = URL.parse(location);
  if (url && /^(file|https?):$/.test(url.protocol)) return url;
  const found = url ? `the scheme ${url.protocol} cannot be read` : "it is a malformed URL";
  throw new InputError(
    `Cannot open ${quote(location instanceof URL ? location.href : location)}: ${found}; ` +
      `pass a path or a file, http or https URL`,
  );
}

/** Whether a resolved location is fetched from a server. */
export function isHttp(place: string | URL): place is URL {
  return place instanceof URL && place.protocol !== "file:";
}

/** Adds bounds checks, one-at-a-time reads and abort to a raw source. */
function serialSource(raw: RawSource, signal?: AbortSignal): ByteSource {
  const { name, size } = raw;
  let last: Promise<unknown> = Promise.resolve();
  let closed = false;

  function check(offset: number, length: number, into?: Uint8Array): void {
    signal?.throwIfAborted();
    if (closed) throw new SourceError(`Cannot read ${quote(name)}: it is closed`);
    if (!(offset >= 0 && length >= 0 && offset + length <= size)) {
      throw new SourceError(
        `Cannot read ${quote(name)}: bytes ${offset} to ${offset + length} are wanted, ` +
          `but it has ${size}`,
      );
    }
    if (into && into.length < length) {
      throw new InputError(
        `Cannot read ${quote(name)}: ${length} bytes do not fit in a buffer of ${into.length}`,
      );
    }
  }

  return {
    name,
    size,
    ...(raw.path === undefined ? {} : { path: raw.path }),
    ...(raw.unchanged ? { unchanged: () => raw.unchanged!() } : {}),
    ...(raw.intact ? { intact: () => raw.intact!() } : {}),
    async read(offset: number, length: number, into?: Uint8Array): Promise<Uint8Array> {
      check(offset, length, into);
      const target = into?.subarray(0, length) ?? new Uint8Array(length);
      const work = last.then(() => {
        check(offset, length);
        return raw.fill(offset, target);
      });
      last = work.catch(() => {});
      await abortable(work, signal);
      return target;
    },
    close(): void {
      if (!closed) raw.close();
      closed = true;
    },
  };
}

function abortable<T>(work: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return work;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

function bytesSource(bytes: Uint8Array): RawSource {
  return {
    name: "bytes",
    size: bytes.length,
    fill(offset: number, target: Uint8Array): Promise<void> {
      target.set(bytes.subarray(offset, offset + target.length));
      return Promise.resolve();
    },
    close(): void {},
  };
}

function blobSource(blob: Blob): RawSource {
  const name = blob instanceof File ? blob.name : "blob";
  return {
    name,
    size: blob.size,
    async fill(offset: number, target: Uint8Array): Promise<void> {
      try {
        const part = await blob.slice(offset, offset + target.length).arrayBuffer();
        target.set(new Uint8Array(part));
      } catch (error) {
        throw new SourceError(`Cannot read ${quote(name)}: ${reasonOf(error)}`, { cause: error });
      }
    },
    close(): void {},
  };
}
