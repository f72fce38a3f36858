/**
 * What the cache holds, for people: listing and removing.
 *
 * @module
 */
import { InputError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import * as cache from "./cache.ts";
import { isLocked, tryLockFile } from "./lock.ts";
import { diskError } from "./part_file.ts";
import { selectFiles } from "./select.ts";
import { formatSpec, parseModelSpec } from "./spec.ts";

/** A file in the cache. */
export interface CachedFile {
  /** Path inside the model. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
}

/** One commit of a repository, or one plain URL, that is in the cache. */
export interface CachedEntry {
  /** How a spec names it: `hf:ORG/REPO`, or the URL. */
  readonly name: string;
  /** The hub that it came from; `""` for a plain URL. */
  readonly endpoint: string;
  /** Branches and tags that were this commit when last looked up. */
  readonly revisions: readonly string[];
  /** The commit; `""` for a plain URL. */
  readonly commit: string;
  /** Where it lies, and what is removed with it. */
  readonly dir: string;
  /** Whole files. */
  readonly files: readonly CachedFile[];
  /** Bytes of whole files. */
  readonly bytes: number;
  /** Bytes of files that are still partial, of the whole repository. */
  readonly partialBytes: number;
  /** When its newest file came, in ISO form; `""` when it has none yet. */
  readonly date: string;
}

/** Everything in the cache, by name, then date. */
export async function listCache(cacheDir: string): Promise<CachedEntry[]> {
  const entries: CachedEntry[] = [];
  for (const endpoint of await cache.names(`${cacheDir}/hub`)) {
    for (const org of await cache.names(`${cacheDir}/hub/${endpoint}`)) {
      for (const repo of await cache.names(`${cacheDir}/hub/${endpoint}/${org}`)) {
        entries.push(
          ...await repoEntries(
            `${cacheDir}/hub/${endpoint}/${org}/${repo}`,
            endpoint,
            `${org}/${repo}`,
          ),
        );
      }
    }
  }
  for (const host of await cache.names(`${cacheDir}/url`)) {
    for (const key of await cache.names(`${cacheDir}/url/${host}`)) {
      entries.push(...await urlEntry(`${cacheDir}/url/${host}/${key}`));
    }
  }
  return entries.sort((a, b) => a.name.localeCompare(b.name) || a.date.localeCompare(b.date));
}

/**
 * Removes what a spec names: a repository, `@REVISION` of it, `:FILE-or-QUANT-TAG` of it, or a URL.
 *
 * @returns the bytes of the files that were removed
 * @throws {InputError} when the cache has no such thing, or it is being downloaded
 */
export async function removeCached(cacheDir: string, text: string, endpoint: URL): Promise<number> {
  cacheDir = cacheDir.replace(/[/\\]+$/, "");
  try {
    return await remove(cacheDir, text, endpoint);
  } catch (error) {
    throw diskError(error, cacheDir);
  }
}

async function remove(cacheDir: string, text: string, endpoint: URL): Promise<number> {
  const spec = parseModelSpec(text);
  const missing = new InputError(
    `Cannot remove ${formatSpec(spec)}: it is not in the cache ${quote(cacheDir)}; ` +
      `"deno task models" lists what is`,
  );
  if (spec.kind === "path") throw missing;
  const dir = spec.kind === "hub"
    ? cache.repoDir(cacheDir, endpoint, spec.repo)
    : cache.urlDir(cacheDir, spec.url).dir;
  const all = await walk(dir);
  if (all.length === 0) throw missing;
  using alone = await tryLockFile(await cache.modelLock(cacheDir, dir));
  const locks = all.filter(({ path }) => path.endsWith(".lock"));
  const locked = await Promise.all(locks.map(({ path }) => isLocked(`${dir}/${path}`)));
  if (!alone || locked.includes(true)) {
    throw new InputError(
      `Cannot remove ${formatSpec(spec)}: ` +
        `another process is downloading it; wait for it or end it`,
    );
  }
  if (spec.kind === "url" || (spec.revision === undefined && spec.pick === undefined)) {
    await Deno.remove(dir, { recursive: true });
    return sum(all.filter(({ path }) => /^(files|partial)\//.test(path)));
  }
  const commit = spec.revision && await cache.readRef(dir, spec.revision);
  if (spec.revision !== undefined && commit === undefined) throw missing;
  let removed = 0;
  for (const each of commit ? [commit] : await cache.names(`${dir}/files`)) {
    const files = await walk(`${dir}/files/${each}`);
    const listing = await cache.readListing(dir, each) ?? [];
    const here = listing.filter(({ path }) => files.some((file) => file.path === path));
    const chosen = spec.pick === undefined
      ? files
      : here.length > 0
      ? selectFiles(spec, here).files
      : [];
    for (const { path } of chosen) await Deno.remove(cache.filePath(dir, each, path));
    removed += sum(chosen);
    if (chosen.length < files.length) continue;
    await Deno.remove(`${dir}/files/${each}`, { recursive: true }).catch(() => {});
    await Deno.remove(`${dir}/listings/${each}.json`).catch(() => {});
  }
  if (removed === 0) throw missing;
  return removed;
}

async function repoEntries(dir: string, endpoint: string, repo: string): Promise<CachedEntry[]> {
  const refs = new Map<string, string>(); // revision → commit
  for (const ref of await cache.names(`${dir}/refs`)) {
    const revision = cache.refName(ref);
    const commit = revision === undefined ? undefined : await cache.readRef(dir, revision);
    if (revision !== undefined && commit) refs.set(revision, commit);
  }
  const partialBytes = await partBytes(dir);
  const commits = await cache.names(`${dir}/files`);
  const entries = await Promise.all(commits.map(async (commit) => ({
    ...await contents(`${dir}/files/${commit}`),
    name: `hf:${repo}`,
    endpoint,
    revisions: [...refs].filter(([, at]) => at === commit).map(([revision]) => revision),
    commit,
    dir: `${dir}/files/${commit}`,
    partialBytes,
  })));
  if (entries.length > 0 || partialBytes === 0) return entries;
  return [{ ...EMPTY, name: `hf:${repo}`, endpoint, dir, partialBytes }];
}

async function urlEntry(dir: string): Promise<CachedEntry[]> {
  const partialBytes = await partBytes(dir);
  const [record] = await cache.names(`${dir}/records`);
  const known = record && await cache.readUrlRecord(dir, record.replace(/\.json$/, ""));
  if (!known && partialBytes === 0) return [];
  const name = known ? known.url : (await cache.names(`${dir}/partial`))[0];
  return [{ ...EMPTY, ...await contents(`${dir}/files`), name, dir: `${dir}/files`, partialBytes }];
}

const EMPTY = { endpoint: "", revisions: [], commit: "", files: [], bytes: 0, date: "" };

async function contents(dir: string): Promise<Pick<CachedEntry, "files" | "bytes" | "date">> {
  const files = (await walk(dir)).filter(({ path }) => !path.endsWith(".tmp"));
  const newest = files.reduce((latest, { modified }) => Math.max(latest, modified), 0);
  return {
    files: files.map(({ path, size }) => ({ path, size })),
    bytes: sum(files),
    date: newest === 0 ? "" : new Date(newest).toISOString(),
  };
}

async function partBytes(dir: string): Promise<number> {
  return sum((await walk(`${dir}/partial`)).filter(({ path }) => path.endsWith(".part")));
}

interface Walked extends CachedFile {
  readonly modified: number; // ms
}

async function walk(dir: string, prefix = ""): Promise<Walked[]> {
  const found: Walked[] = [];
  for (const name of await cache.names(dir)) {
    // A file may be a link to another disk. A directory that is one may lead in a circle, or out of here.
    const link = await Deno.lstat(`${dir}/${name}`).catch(() => null); // may vanish meanwhile
    const stat = link?.isSymlink ? await Deno.stat(`${dir}/${name}`).catch(() => null) : link;
    if (link?.isDirectory) found.push(...await walk(`${dir}/${name}`, `${prefix}${name}/`));
    if (stat?.isFile) {
      found.push({ path: prefix + name, size: stat.size, modified: stat.mtime?.getTime() ?? 0 });
    }
  }
  return found;
}

function sum(files: readonly CachedFile[]): number {
  return files.reduce((total, { size }) => total + size, 0);
}
