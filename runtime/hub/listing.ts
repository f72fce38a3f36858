/**
 * What a hub says about a repository: which commit a revision is, and which files the commit has, by
 * the two requests of a Hugging Face style hub that tell it (https://huggingface.co/docs/hub/api).
 * Everything that comes back is checked before it is believed.
 *
 * @module
 */
import { SourceError, SparrowError } from "../../errors.ts";
import { plain, quote } from "../../escape.ts";
import { isSafePath } from "../files/safe_path.ts";
import type { HubClient, RetryOptions } from "./http.ts";
import { beginLookup, type Lookup } from "./lookup.ts";
import { type HubFile, isHubFile, MAX_FILE_BYTES } from "./select.ts";

// A lookup is small: whoever waits for it should hear soon that the hub is out of reach.
const LOOKUP_RETRIES = 4;
const MAX_ENTRIES = 100_000;
/** What a loader may open; other files of a repository are pictures and papers. */
const WANTED = /\.(gguf|safetensors|bin|pt|pth|json|jinja|model|txt)$/i;

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
  return asking(client, repo, options, async (lookup) => {
    const path = `revision/${encodeURIComponent(revision)}`;
    const { value } = await lookup(apiUrl(client, repo, path));
    const { sha } = (value ?? {}) as { sha?: unknown };
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
  return asking(client, repo, options, async (lookup) => {
    const files: HubFile[] = [];
    let entries = 0;
    let page: URL | undefined = apiUrl(client, repo, `tree/${commit}?recursive=true`);
    while (page) {
      const { value, headers } = await lookup(page);
      if (!Array.isArray(value)) throw new TypeError("no list of files");
      for (const entry of value) {
        if (++entries > MAX_ENTRIES) throw new TypeError(`more than ${MAX_ENTRIES} entries`);
        if (entry?.type !== "file") continue;
        const file = toHubFile(entry);
        if (file) files.push(file);
      }
      page = nextPage(headers, page);
    }
    return files;
  });
}

function apiUrl(client: HubClient, repo: string, path: string): URL {
  return new URL(`${client.endpoint}/api/models/${repo}/${path}`);
}

/** The page after this one, as the `Link` header names it (RFC 8288). */
function nextPage(headers: Headers, page: URL): URL | undefined {
  const [, link] = /<([^>]*)>\s*;\s*rel="?next"?/.exec(headers.get("link") ?? "") ?? [];
  return link === undefined ? undefined : new URL(link, page);
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
  ask: (lookup: Lookup) => Promise<T>,
): Promise<T> {
  const subject = `hf:${repo}`;
  try {
    return await ask(beginLookup(client, subject, { retries: LOOKUP_RETRIES, ...options }));
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
