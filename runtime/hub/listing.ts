/**
 * What a hub says about a repository: which commit a revision is, and which files the commit has.
 * The requests and their paging are `@huggingface/hub`'s, over this project's own `fetch`
 * (token rule, retries); everything that comes back is checked before it is believed.
 *
 * @module
 */
import { SourceError, SparrowError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { type HubLibrary, loadHubLibrary } from "./deps.ts";
import type { HubClient, RetryOptions } from "./http.ts";
import type { HubFile } from "./select.ts";
import { isSafePath } from "./spec.ts";

// A lookup is small: whoever waits for it should hear soon that the hub is out of reach.
const LOOKUP_RETRIES = 4;
const MAX_FILES = 100_000;

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
    const params = { repo: { type: "model", name: repo } as const, revision: commit };
    for await (
      const entry of hub.listFiles({ ...params, recursive: true, hubUrl: client.endpoint, fetch })
    ) {
      if (entry.type !== "file") continue;
      files.push(toHubFile(entry));
      if (files.length > MAX_FILES) throw new TypeError(`more than ${MAX_FILES} files`);
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
    const found = error instanceof Error ? error.message : String(error);
    throw new SourceError(
      `Cannot list ${subject}: ${client.endpoint} does not answer as a hub does (${found}); check the endpoint (HF_ENDPOINT)`,
    );
  }
}

function toHubFile(
  entry: { path: string; size: number; oid?: string; lfs?: { oid: string; size: number } },
): HubFile {
  const { path, lfs } = entry;
  // Of a large file, `oid` names the pointer that git keeps in its place.
  const [size, hash, digits] = lfs ? [lfs.size, lfs.oid, 64] : [entry.size, entry.oid, 40];
  if (typeof path !== "string" || !isSafePath(path)) {
    throw new TypeError(`the path ${quote(path)}`);
  }
  if (!Number.isSafeInteger(size) || size < 0) {
    throw new TypeError(`the size of ${quote(path)}`);
  }
  if (typeof hash !== "string" || hash.length !== digits || !/^[0-9a-f]+$/.test(hash)) {
    throw new TypeError(`the hash of ${quote(path)}`);
  }
  return { path, size, algorithm: lfs ? "sha256" : "git-sha1", hash };
}
