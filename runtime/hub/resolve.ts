/**
 * From a model spec to files on this disk, downloading what is missing.
 *
 * @module
 */
import { InputError, SourceError, SparrowError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { missingHint } from "../files/source_raw.ts";
import * as cache from "./cache.ts";
import { Context, type ResolveOptions } from "./context.ts";
import type { FileJob } from "./transfer.ts";
import { checkRoom, freeBytes } from "./disk.ts";
import { NetworkError } from "./failures.ts";
import { fetchCommit, fetchListing, fileUrl } from "./listing.ts";
import { diskError } from "./part_file.ts";
import { type HubFile, selectFiles, type Selection } from "./select.ts";
import {
  formatSpec,
  type HubSpec,
  type ModelSpec,
  parseModelSpec,
  showUrl,
  type UrlSpec,
} from "./spec.ts";
import { MAX_SHARDS, shardOf, shardPath } from "../files/shards.ts";

export { DEFAULT_ENDPOINT, type DownloadProgress, type ResolveOptions } from "./context.ts";

/** A model on this disk. */
export interface ResolvedModel {
  /** A GGUF file (the first part of a split one), or the directory of a safetensors model. */
  readonly path: string;
  /** Every file of it, with its size in bytes. */
  readonly files: readonly { readonly path: string; readonly size: number }[];
  /** The repository's commit, for a model from a hub. */
  readonly commit?: string;
  /** Bytes that came over the network in this call. */
  readonly downloaded: number;
}

/**
 * The local path of a model, downloading what is missing: a GGUF file (with all parts of a split one
 * beside it), or the directory of a safetensors repository.
 *
 * @example
 * ```ts ignore
 * const path = await resolveModel("hf:Qwen/Qwen3-0.6B-GGUF:Q8_0", { cacheDir: "/tmp/sparrow" });
 * ```
 *
 * @throws {InputError} when the spec, the pick in it or an option is unusable
 * @throws {SourceError} when the model cannot be had; {@linkcode HttpError} has the hub's status
 */
export async function resolveModel(spec: string, options: ResolveOptions = {}): Promise<string> {
  return (await fetchModel(spec, options)).path;
}

/** As {@linkcode resolveModel}, and says which files, which commit and how much was downloaded. */
export async function fetchModel(
  text: string,
  options: ResolveOptions = {},
): Promise<ResolvedModel> {
  const spec = parseModelSpec(text);
  options.signal?.throwIfAborted();
  if (spec.kind === "path") return await localModel(spec.path);
  const context = new Context(spec, options);
  try {
    return spec.kind === "hub" ? await hubModel(spec, context) : await urlModel(spec, context);
  } catch (error) {
    const ours = error instanceof SparrowError || options.signal?.aborted;
    throw ours ? error : diskError(error, context.cacheDir);
  } finally {
    context.client[Symbol.dispose]();
  }
}

async function hubModel(spec: HubSpec, context: Context): Promise<ResolvedModel> {
  const { cacheDir, endpoint, client, options } = context;
  const dir = cache.repoDir(cacheDir, endpoint, spec.repo);
  const revision = spec.revision ?? "main";
  const known = await cachedModel(spec, dir, options.offline ?? false);
  if (known && (options.offline || revision === known.commit)) return found(dir, known, context);
  if (options.offline) {
    throw new SourceError(
      `Cannot use ${formatSpec(spec)}: it is not whole in the cache ${quote(dir)} ` +
        `and the network is not to be used; ` +
        `fetch it first with "deno task pull"`,
    );
  }
  let commit: string;
  try {
    const retry = { signal: options.signal, ...(known && { retries: 1 }) };
    commit = await fetchCommit(client, spec.repo, revision, retry);
  } catch (error) {
    if (!known || !(error instanceof NetworkError)) throw error;
    options.onWarning?.(
      `${error.message}; using the copy of ${formatSpec(spec)} that is here, which may be older`,
    );
    return found(dir, known, context);
  }
  if (commit === known?.commit) return found(dir, known, context);
  const listing = await cache.readListing(dir, commit) ??
    await fetchListing(client, spec.repo, commit, { signal: options.signal });
  const selection = selectFiles(spec, listing);
  context.begin(selection.files.reduce((sum, file) => sum + file.size, 0));
  using _ = await context.hold(dir);
  await cache.writeListing(dir, commit, listing);
  const places = await cache.placesByHash(dir);
  await checkRoomFor(selection.files, spec, dir, commit, places, context);
  for (const file of selection.files) {
    await ensureHubFile(context, spec, dir, commit, file, places);
    context.finish(file.size);
  }
  for (const { path, size } of selection.files) {
    if (!await cache.isWhole(cache.filePath(dir, commit, path), size)) throw vanished(spec, path);
  }
  // The revision moves here only when it is complete, with what the cache has of it besides.
  for (const file of listing) await placeTwin(dir, commit, file, places);
  await cache.writeRef(dir, revision, commit);
  return found(dir, { commit, selection }, context);
}

interface CachedModel {
  readonly commit: string;
  readonly selection: Selection;
}

/** What the cache has for a spec, if it has all of it. */
async function cachedModel(
  spec: HubSpec,
  dir: string,
  offline: boolean,
): Promise<CachedModel | undefined> {
  const commit = await cache.readRef(dir, spec.revision ?? "main");
  const listing = commit && await cache.readListing(dir, commit);
  if (!listing) return undefined;
  let selection: Selection;
  try {
    selection = selectFiles(spec, listing);
  } catch (error) {
    if (offline) throw error;
    return undefined; // the hub may have it by now
  }
  for (const file of selection.files) {
    if (!await cache.isWhole(cache.filePath(dir, commit, file.path), file.size)) return undefined;
  }
  return { commit, selection };
}

function found(dir: string, { commit, selection }: CachedModel, context: Context): ResolvedModel {
  const files = selection.files.map(({ path, size }) => ({
    path: cache.filePath(dir, commit, path),
    size,
  }));
  const path = cache.filePath(dir, commit, selection.entry).replace(/\/$/, "");
  return { path, files, commit, downloaded: context.downloaded };
}

/** Refuses a model of which the disk has no room for what is missing, before any of it is fetched. */
async function checkRoomFor(
  files: readonly HubFile[],
  spec: HubSpec,
  dir: string,
  commit: string,
  places: Map<string, string[]>,
  { options }: Context,
): Promise<void> {
  let needed = 0;
  for (const { path, size, hash } of files) {
    const here = [cache.filePath(dir, commit, path), ...places.get(hash) ?? []];
    if ((await Promise.all(here.map((at) => cache.isWhole(at, size)))).includes(true)) continue;
    const part = await Deno.stat(`${dir}/partial/${hash}.part`).catch(() => null);
    needed += Math.max(0, size - 512 * (part?.blocks ?? 0)); // a part may have holes
  }
  checkRoom(formatSpec(spec), needed, await (options.freeBytes ?? freeBytes)(dir), dir);
}

async function ensureHubFile(
  context: Context,
  spec: HubSpec,
  dir: string,
  commit: string,
  file: HubFile,
  places: Map<string, string[]>,
): Promise<void> {
  const target = cache.filePath(dir, commit, file.path);
  const job: FileJob = {
    url: fileUrl(context.client, spec.repo, commit, file.path),
    subject: `${quote(file.path)} of hf:${spec.repo}`,
    size: file.size,
    expected: file,
  };
  await context.ensure({ name: file.path, job, partial: `${dir}/partial/${file.hash}` }, {
    present: () => placeTwin(dir, commit, file, places),
    place: async (part) => {
      await makeParent(target);
      await Deno.rename(part, target);
    },
  });
}

/** Puts a file in its place from another commit that has the same content; says whether it is there. */
async function placeTwin(
  dir: string,
  commit: string,
  file: HubFile,
  places: Map<string, string[]>,
): Promise<boolean> {
  const target = cache.filePath(dir, commit, file.path);
  if (await cache.isWhole(target, file.size)) return true;
  for (const twin of places.get(file.hash) ?? []) {
    if (!await cache.isWhole(twin, file.size)) continue;
    await makeParent(target);
    const next = `${target}.${crypto.randomUUID().slice(0, 8)}.tmp`;
    await Deno.link(twin, next).catch(() => Deno.copyFile(twin, next)); // some disks have no links
    await Deno.rename(next, target);
    return true;
  }
  return false;
}

async function urlModel(spec: UrlSpec, context: Context): Promise<ResolvedModel> {
  const { cacheDir, options } = context;
  const files: { path: string; size: number }[] = [];
  let lock: Disposable | undefined;
  using _ = { [Symbol.dispose]: () => lock?.[Symbol.dispose]() };
  for (const url of splitUrls(spec.url)) {
    const { dir, name } = cache.urlDir(cacheDir, url); // one directory for all parts
    const path = `${dir}/files/${name}`;
    if (options.offline && !await cache.readUrlRecord(dir, name)) {
      throw new SourceError(
        `Cannot use ${showUrl(url)}: it is not in the cache ${quote(dir)} ` +
          `and the network is not to be used; ` +
          `fetch it first with "deno task pull"`,
      );
    }
    if (!lock && !await cache.readUrlRecord(dir, name)) lock = await context.hold(dir);
    const job: FileJob = { url, subject: showUrl(url), binary: true };
    await context.ensure({ name, job, partial: `${dir}/partial/${name}` }, {
      present: async () => await cache.readUrlRecord(dir, name) !== undefined,
      place: async (part, { size, sha256 }) => {
        await makeParent(path);
        await cache.writeUrlRecord(dir, name, url, size, sha256);
        await Deno.rename(part, path);
      },
    });
    const record = await cache.readUrlRecord(dir, name);
    if (!record) throw vanished(spec, name);
    context.finish(record.size);
    files.push({ path, size: record.size });
  }
  return { path: files[0].path, files, downloaded: context.downloaded };
}

function vanished(spec: ModelSpec, path: string): SourceError {
  return new SourceError(
    `Cannot use ${formatSpec(spec)}: ${quote(path)} was removed from the cache meanwhile; ` +
      `run it again`,
  );
}

/** The URLs of all shards of a split GGUF file, or just this one. */
function splitUrls(url: URL): URL[] {
  const { count } = shardOf(url.pathname) ?? { count: 1 };
  if (count <= 1) return [url];
  if (count > MAX_SHARDS) {
    throw new InputError(
      `Cannot fetch ${showUrl(url)}: it is one of ${count} parts, expected at most ${MAX_SHARDS}`,
    );
  }
  return Array.from({ length: count }, (_, i) => {
    const shard = new URL(url);
    shard.pathname = shardPath(url.pathname, i + 1);
    return shard;
  });
}

async function localModel(path: string): Promise<ResolvedModel> {
  const stat = await Deno.stat(path).catch((error: Error) => {
    const reason = error instanceof Deno.errors.NotFound
      ? "there is no such file or directory"
      : error.message;
    throw new SourceError(`Cannot read model ${quote(path)}: ${reason}${missingHint(path)}`);
  });
  return { path, files: stat.isFile ? [{ path, size: stat.size }] : [], downloaded: 0 };
}

async function makeParent(path: string): Promise<void> {
  await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
}
