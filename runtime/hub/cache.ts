/**
 * The cache of downloaded models, by plain files that any tool can read:
 *
 * ```text
 * CACHE/hub/ENDPOINT/ORG/REPO/          ENDPOINT: host and path of the hub, so that mirrors stay apart
 *   refs/REVISION                       the commit that a branch or tag was when it was last complete here
 *   listings/COMMIT.json                every file of the commit with size and hash
 *   files/COMMIT/…                      whole, checked files under their own names: what loaders open
 *   partial/HASH.{part,json,lock}       files that are still arriving, and how far they are
 * CACHE/locks/KEY.lock                  held while a model is downloaded or removed
 * CACHE/url/HOST/KEY/                   KEY: SHA-256 of the URL, 16 digits (parts of one split file share it)
 *   records/NAME.json                   where the file came from, its size and hash
 *   files/NAME                          the file
 *   partial/NAME.{part,json,lock}
 * ```
 *
 * A file appears under `files/` by one rename, after its hash was checked and its bytes were synced:
 * being there is being right. A file that another commit of the repository already has is a hard link.
 * Deleting any folder is safe; what is missing is fetched again.
 *
 * @module
 */
import { createHash } from "./deps.ts";
import { writeAtomically } from "./journal.ts";
import { type HubFile, isHubFile } from "./select.ts";
import { showUrl } from "./spec.ts";
import { shardOf, shardPath } from "../files/shards.ts";

/** Where a repository is cached. */
export function repoDir(cacheDir: string, endpoint: URL, repo: string): string {
  return `${cacheDir}/hub/${fileName(endpoint.host + endpoint.pathname)}/${repo}`;
}

/** Where the file behind a URL is cached, and under which name. */
export function urlDir(cacheDir: string, url: URL): { dir: string; name: string } {
  const first = new URL(url);
  if (shardOf(url.pathname)) first.pathname = shardPath(url.pathname, 1);
  const key = createHash("sha256").update(first.href).digest("hex").slice(0, 16);
  const last = url.pathname.slice(url.pathname.lastIndexOf("/") + 1);
  return { dir: `${cacheDir}/url/${fileName(url.host)}/${key}`, name: fileName(last) || "model" };
}

/**
 * The lock of a model's directory: shared by those who download into it, so that whoever removes it
 * waits for none and harms none. It lies outside of what is removed.
 */
export async function modelLock(cacheDir: string, dir: string): Promise<string> {
  const key = createHash("sha256").update(dir.slice(cacheDir.length)).digest("hex").slice(0, 16);
  await Deno.mkdir(`${cacheDir}/locks`, { recursive: true });
  return `${cacheDir}/locks/${key}.lock`;
}

/** Where a whole file of a commit is, or will be. */
export function filePath(dir: string, commit: string, path: string): string {
  return `${dir}/files/${commit}/${path}`;
}

/** The commit that a revision was when it was last complete here. */
export async function readRef(dir: string, revision: string): Promise<string | undefined> {
  if (/^[0-9a-f]{40}$/.test(revision)) return revision;
  const commit = await readText(`${dir}/refs/${encodeURIComponent(revision)}`);
  return commit !== undefined && /^[0-9a-f]{40}$/.test(commit) ? commit : undefined;
}

/** The revision that a file under `refs/` is about; undefined for a file that is not ours. */
export function refName(name: string): string | undefined {
  try {
    return decodeURIComponent(name);
  } catch {
    return undefined;
  }
}

/** Remembers which commit a revision is. Writes nothing where nothing is new. */
export async function writeRef(dir: string, revision: string, commit: string): Promise<void> {
  if (await readRef(dir, revision) === commit) return;
  await Deno.mkdir(`${dir}/refs`, { recursive: true });
  await writeAtomically(`${dir}/refs/${encodeURIComponent(revision)}`, commit);
}

/** The files of a commit, if its listing is here. */
export async function readListing(dir: string, commit: string): Promise<HubFile[] | undefined> {
  const text = await readText(`${dir}/listings/${commit}.json`);
  try {
    const files: unknown = text === undefined ? undefined : JSON.parse(text);
    return Array.isArray(files) && files.every(isHubFile) ? files : undefined;
  } catch {
    return undefined; // damaged by hand: ask again
  }
}

/** Keeps a commit's listing, which never changes. */
export async function writeListing(
  dir: string,
  commit: string,
  files: readonly HubFile[],
): Promise<void> {
  await Deno.mkdir(`${dir}/listings`, { recursive: true });
  await writeAtomically(`${dir}/listings/${commit}.json`, JSON.stringify(files, null, 1));
}

/** Whether a file is here: it came by rename, so its length tells. */
export async function isWhole(path: string, size: number): Promise<boolean> {
  const stat = await Deno.stat(path).catch(() => null);
  return stat !== null && stat.isFile && stat.size === size;
}

/** Where each content would be, by its hash, in all commits of the repository that are known here. */
export async function placesByHash(dir: string): Promise<Map<string, string[]>> {
  const places = new Map<string, string[]>();
  for (const name of await names(`${dir}/listings`)) {
    const commit = name.replace(/\.json$/, "");
    for (const { hash, path } of await readListing(dir, commit) ?? []) {
      const at = filePath(dir, commit, path);
      places.set(hash, [...places.get(hash) ?? [], at]);
    }
  }
  return places;
}

/** What is kept of a file that came from a plain URL. */
export interface UrlRecord {
  /** The URL without its query. */
  readonly url: string;
  /** Bytes. */
  readonly size: number;
  /** SHA-256, when a server announced it. */
  readonly sha256: string;
}

/** The record of a file from a URL, if the file is here whole. */
export async function readUrlRecord(dir: string, name: string): Promise<UrlRecord | undefined> {
  const text = await readText(`${dir}/records/${name}.json`);
  if (text === undefined) return undefined;
  try {
    const record: UrlRecord = JSON.parse(text);
    const sane = typeof record.url === "string" && typeof record.sha256 === "string";
    return sane && await isWhole(`${dir}/files/${name}`, record.size) ? record : undefined;
  } catch {
    return undefined;
  }
}

/** Writes the record; before the file is renamed into place, so that no file is without one. */
export async function writeUrlRecord(
  dir: string,
  name: string,
  url: URL,
  size: number,
  sha256: string,
): Promise<void> {
  await Deno.mkdir(`${dir}/records`, { recursive: true });
  const record: UrlRecord = { url: showUrl(url), size, sha256 };
  await writeAtomically(`${dir}/records/${name}.json`, JSON.stringify(record));
}

/** Names in a directory, sorted; none when it is not there. */
export async function names(dir: string): Promise<string[]> {
  try {
    return (await Array.fromAsync(Deno.readDir(dir), (entry) => entry.name)).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return [];
    }
    throw error;
  }
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** A name that every file system takes. */
function fileName(text: string): string {
  return text.replace(/[^\w.-]+/g, "_").replace(/^[._]+|_+$/g, "").slice(-120);
}
