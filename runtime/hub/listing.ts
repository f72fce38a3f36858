/**
 * What a hub says about a repository: which commit a revision is, and which files the commit has.
 * The requests and their paging are `@huggingface/hub`'s, over this project's own `fetch`
 * (token rule, retries); everything that comes back is checked before it is believed.
 *
 * @module
 */
import { SourceError, SparrowError } from "../../errors.ts";
import { plain, quote } from "../../escape.ts";
import { isSafePath } from "../files/safe_path.ts";
import { type HubLibrary, loadHubLibrary } from "./deps.ts";
import type { HubClient, RetryOptions } from "./http.ts";
import { type HubFile, isHubFile, MAX_FILE_BYTES } from "./select.ts";

// A lookup is small: whoever waits for it should hear soon that the hub is out of reach.
const LOOKUP_RETRIES = 4;
const MAX_ENTRIES = 100_000;
/** What a loader may open; other files of a repository are pictures and papers. */
const WANTED = /\.(gguf|safetensors|json|jinja|model|txt)$/i;

/**
 * The commit that a branch, tag or commit of `repo` is now: 40 hexadecimal digits.
 *
 * @throws {SourceError} when the hub refuses, does not know it, or is out of reach
 */
export function fetchCommit(
  client: HubClient,
  repo: string,
  revision: string,
  options: RetryOptions,
): Promise<string> {
  return asking(client, repo, options, async (hub, fetch) => {
    const params = { name: repo, revision, hubUrl: client.endpoint, fetch };
    const { sha } = await hub.modelInfo({ ...params, additionalFields: ["sha"] });
    if (typeof sha !== "string" || !/^[0-9a-f]{40}$/.test(sha)) {
      throw new TypeError("no commit hash");
    }
    return sha;
  });
}

/**
 * Every file of a commit, with size and hash.
 *
 * @throws {SourceError} as {@linkcode fetchCommit}, and for a path that leaves the repository
 */
export function fetchListing(
  client: HubClient,
  repo: string,
  commit: string,
  options: RetryOptions,
): Promise<HubFile[]> {
  return asking(client, repo, options, async (hub, fetch) => {
    const files: HubFile[] = [];
    let entries = 0;
    const params = { repo: { type: "model", name: repo } as const, revision: commit };
    for await (
      const entry of hub.listFiles({ ...params, recursive: true, hubUrl: client.endpoint, fetch })
    ) {
      if (++entries > MAX_ENTRIES) throw new TypeError(`more than ${MAX_ENTRIES} entries`);
      if (entry?.type !== "file") continue;
      const file = toHubFile(entry);
      if (file) files.push(file);
    }
    return files;
  });
}

/** Where the hub serves a file of a commit. */
export function fileUrl(client: HubClient, repo: string, commit: string, path: string): URL {
  return new URL(
    `${client.endpoint}/${repo}/resolve/${commit}/${
      path.split("/").map(encodeURIComponent).join("/")
    }`,
  );
}

async function asking<T>(
  client: HubClient,
  repo: string,
  options: RetryOptions,
  ask: (hub: HubLibrary, fetch: typeof globalThis.fetch) => Promise<T>,
): Promise<T> {
  const subject = `hf:${repo}`;
  const hub = await loadHubLibrary();
  try {
    return await ask(hub, client.fetcher(subject, { retries: LOOKUP_RETRIES, ...options }));
  } catch (error) {
    if (error instanceof SparrowError || options.signal?.aborted) throw error;
    const found = plain(error instanceof Error ? error.message : String(error), 300);
    throw new SourceError(
      `Cannot list ${subject}: ${client.endpoint} does not answer as a hub does (${found}); ` +
        `check the endpoint (HF_ENDPOINT)`,
    );
  }
}

/** An entry as far as it can be believed; nothing for a file that no loader wants under such a name. */
function toHubFile(
  entry: { path: string; size: number; oid?: string; lfs?: { oid: string; size: number } },
): HubFile | undefined {
  const { path, lfs } = entry;
  if (typeof path !== "string") throw new TypeError(`the path ${quote(path)}`);
  if (!isSafePath(path)) {
    // Some systems cannot have a file "a: b.png" or "aux.md"; what points out of the folder is meant ill.
    const harmless = path.split("/").every((part) => !/^\.{0,2}$/.test(part));
    if (harmless && !WANTED.test(path)) return undefined;
    throw new TypeError(`the path ${quote(path)}`);
  }
  // Of a large file, `oid` names the pointer that git keeps in its place.
  const { size, oid: hash } = lfs ?? entry;
  if (!Number.isSafeInteger(size) || size < 0 || size > MAX_FILE_BYTES) {
    throw new TypeError(`the size of ${quote(path)}, ${quote(size)} bytes`);
  }
  const file = { path, size, algorithm: lfs ? "sha256" : "git-sha1", hash };
  if (isHubFile(file)) return file;
  throw new TypeError(`the hash of ${quote(path)}, ${quote(hash)}`);
}
