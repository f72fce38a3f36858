/**
 * Models of a hub in a page: files are kept by the browser's Cache API, under the address that they came
 * from, which names the commit. An answer is there whole or not at all.
 *
 * @module
 */

import { SourceError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { contentRange } from "./announced.ts";
import { NetworkError } from "./failures.ts";
import type { HubClient, Reply } from "./http.ts";
import { fetchCommit, fetchListing, fileUrl } from "./listing.ts";
import type { FindOptions } from "./options.ts";
import { type HubFile, isHubFile, selectFiles, type Selection } from "./select.ts";
import { formatSpec, type HubSpec } from "./spec.ts";

/** Name of the cache, which the browser shows and clears with the site's data. */
const PAGE_CACHE = "sparrow";

/** The page's cache; undefined where there is none, as in a page that is not secure. */
export async function openPageCache(): Promise<Cache | undefined> {
  try {
    return await globalThis.caches?.open(PAGE_CACHE);
  } catch {
    return undefined;
  }
}

/** A model whose files are in the page. */
export interface KeptModel {
  /** Which files. */
  readonly selection: Selection;
  /** Their bytes, by path. */
  readonly files: Readonly<Record<string, Blob>>;
}

/** What is remembered of a revision. */
interface Known {
  readonly commit: string;
  readonly listing: readonly HubFile[];
}

/**
 * The files of a model, downloading what is missing; undefined where the browser has no room for them,
 * or where they are not all there and the network is not to be used.
 *
 * @throws {InputError} when the pick in the spec is unusable
 * @throws {SourceError} when the hub refuses or is out of reach
 */
export async function keepInPage(
  cache: Cache,
  client: HubClient,
  spec: HubSpec,
  options: FindOptions,
): Promise<KeptModel | undefined> {
  const { hub = {}, signal, onWarning = console.warn, onProgress } = options;
  const revision = spec.revision ?? "main";
  const ref = new URL(`${client.endpoint}/${spec.repo}/sparrow/${encodeURIComponent(revision)}`);
  const known = await readKnown(cache, ref);
  if (hub.offline && !known) return undefined;
  let now = known;
  if (!hub.offline && known?.commit !== revision) {
    try {
      now = await askHub(client, spec.repo, revision, known, signal);
    } catch (error) {
      if (!known || !(error instanceof NetworkError)) throw error;
      onWarning(
        `${error.message}; using the copy of ${formatSpec(spec)} that is here, which may be older`,
      );
    }
  }
  const { commit, listing } = now!;
  const selection = selectFiles(spec, listing);
  const total = selection.files.reduce((sum, { size }) => sum + size, 0);
  const files: Record<string, Blob> = {};
  let before = 0;
  for (const file of selection.files) {
    signal?.throwIfAborted();
    const url = fileUrl(client, spec.repo, commit, file.path);
    let blob = await readKept(cache, url, file.size);
    if (!blob) {
      // A copy that is older may have been all that could be had.
      if (hub.offline) return undefined;
      const subject = `${quote(file.path)} of ${formatSpec(spec)}`;
      const body = bytesOf(client, url, file.size, subject, signal);
      const report = (loaded: number): void =>
        onProgress?.({ phase: "download", file: file.path, loaded: before + loaded, total });
      if (!await store(cache, url, file.size, body, report)) {
        onWarning(
          `The browser has no room to keep ${formatSpec(spec)}: it is read from the hub each time`,
        );
        return undefined;
      }
      blob = await readKept(cache, url, file.size);
    }
    if (!blob) {
      throw new SourceError(`Cannot keep ${formatSpec(spec)}: the browser dropped it again`);
    }
    files[file.path] = new File([blob], file.path.slice(file.path.lastIndexOf("/") + 1));
    before += file.size;
  }
  if (now !== known) {
    await cache.put(ref, new Response(JSON.stringify(now)));
    await forgetOthers(cache, fileUrl(client, spec.repo, commit, "").href);
  }
  return { selection, files };
}

async function askHub(
  client: HubClient,
  repo: string,
  revision: string,
  known: Known | undefined,
  signal: AbortSignal | undefined,
): Promise<Known> {
  const commit = await fetchCommit(client, repo, revision, {
    signal,
    ...(known && { retries: 1 }),
  });
  if (commit === known?.commit) return known;
  return { commit, listing: await fetchListing(client, repo, commit, { signal }) };
}

async function readKnown(cache: Cache, ref: URL): Promise<Known | undefined> {
  try {
    const known = await (await cache.match(ref))?.json();
    const isSound = /^[0-9a-f]{40}$/.test(known?.commit) && Array.isArray(known.listing) &&
      known.listing.every(isHubFile);
    return isSound ? known : undefined;
  } catch {
    return undefined; // damaged: ask again
  }
}

async function readKept(cache: Cache, url: URL, size: number): Promise<Blob | undefined> {
  const blob = await (await cache.match(url))?.blob();
  return blob?.size === size ? blob : undefined;
}

/** Keeps a body that ends after `size` bytes; false where there is no room for it. */
async function store(
  cache: Cache,
  url: URL,
  size: number,
  body: AsyncGenerator<Uint8Array<ArrayBuffer>>,
  report: (loaded: number) => void,
): Promise<boolean> {
  let failure: { error: unknown } | undefined, loaded = 0;
  const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      try {
        const { value, done } = await body.next();
        if (done) return controller.close();
        report(loaded += value.length);
        controller.enqueue(value);
      } catch (error) {
        failure = { error };
        controller.error(error);
      }
    },
    cancel: () => body.return(undefined).then(() => {}),
  });
  try {
    await cache.put(url, new Response(stream, { headers: { "Content-Length": String(size) } }));
    return true;
  } catch (error) {
    if (failure) throw failure.error;
    if (error instanceof DOMException && error.name === "QuotaExceededError") return false;
    throw new SourceError(`Cannot keep ${quote(url.origin + url.pathname)} in the page's cache`, {
      cause: error,
    });
  }
}

/** The bytes of a file, on from where a connection was lost. */
async function* bytesOf(
  client: HubClient,
  url: URL,
  size: number,
  subject: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  let at = 0;
  let reply: Reply | undefined, body: ReturnType<Reply["body"]> | undefined;
  const next = async (): Promise<Uint8Array<ArrayBuffer>> => {
    try {
      if (!body) {
        const headers = at > 0 ? { range: `bytes=${at}-${size - 1}` } : undefined;
        reply = await client.open(url, { subject, signal, ...(headers && { headers }) });
        const start = reply.status === 206 ? contentRange(reply)?.from : 0;
        if (start !== at) {
          throw new SourceError(`Cannot fetch ${subject}: the server does not go on at byte ${at}`);
        }
        body = reply.body();
      }
      const { value, done } = await body.next();
      if (done) {
        throw new NetworkError(`Cannot fetch ${subject}: it ended at byte ${at} of ${size}`);
      }
      return value;
    } catch (error) {
      reply?.cancel();
      reply = body = undefined;
      throw error;
    }
  };
  try {
    while (at < size) {
      const chunk = await client.retry(next, { signal, received: () => at });
      at += chunk.length;
      if (at > size) {
        throw new SourceError(
          `Cannot fetch ${subject}: it is longer than the hub lists, ${size} bytes`,
        );
      }
      yield chunk;
    }
  } finally {
    reply?.cancel();
  }
}

/** Drops the repository's files of other commits. */
async function forgetOthers(cache: Cache, current: string): Promise<void> {
  const repo = current.replace(/resolve\/[^/]*\/$/, "resolve/");
  for (const { url } of await cache.keys()) {
    if (url.startsWith(repo) && !url.startsWith(current)) await cache.delete(url);
  }
}
