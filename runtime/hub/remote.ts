/**
 * A model of a hub without a disk: its files are read by ranges straight from the hub, or, in a page,
 * kept by the browser (page_cache.ts). Runs in pages too, so nothing here touches `Deno`.
 *
 * @module
 */

import { SourceError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { type Folder, memoryFolder } from "../files/folder.ts";
import type { ModelFile } from "../files/model_file.ts";
import { openModelFolder, openModelIn, type OpenOptions } from "../files/open.ts";
import { type ByteSource, NotFoundError, openSource } from "../files/source.ts";
import { readEndpoint } from "./endpoint.ts";
import { HubClient } from "./http.ts";
import { TRANSFER_TUNING } from "./tuning.ts";
import { fetchCommit, fetchListing, fileUrl } from "./listing.ts";
import type { FindOptions, FoundModel } from "./options.ts";
import { keepInPage, openPageCache } from "./page_cache.ts";
import { type HubFile, selectFiles, type Selection } from "./select.ts";
import { formatSpec, type HubSpec } from "./spec.ts";

/**
 * Finds a model on a hub. In a page its files are kept by the browser, unless only its text is wanted.
 *
 * @throws {InputError} when the pick in the spec or an option is unusable
 * @throws {SourceError} when the hub refuses or is out of reach, or is not to be asked
 */
export async function findRemote(spec: HubSpec, options: FindOptions): Promise<FoundModel> {
  const { endpoint, token } = options.hub ?? {};
  const settings = { endpoint: readEndpoint(endpoint), token, tuning: TRANSFER_TUNING };
  const client = new HubClient(settings);
  try { // and not `using`, which Node 20 and browsers of today do not all read
    return await findWith(client, spec, options);
  } finally {
    client[Symbol.dispose]();
  }
}

async function findWith(
  client: HubClient,
  spec: HubSpec,
  options: FindOptions,
): Promise<FoundModel> {
  const { hub = {}, signal, weights = true } = options;
  const inPage = hub.cache !== false && !("Deno" in globalThis);
  const cache = inPage ? await openPageCache() : undefined;
  if (cache && weights) {
    const kept = await keepInPage(cache, client, spec, options);
    if (kept) {
      const { selection, files } = kept;
      return { open: (how) => openSelection(selection, memoryFolder("", files, how)) };
    }
  }
  if (hub.offline) {
    throw new SourceError(
      `Cannot use ${formatSpec(spec)}: the network is not to be used, and ` +
        (cache ? "the page has not kept it" : "there is no cache that may be read") +
        `; leave offline away, or load it once with a cache`,
    );
  }
  const commit = await fetchCommit(client, spec.repo, spec.revision ?? "main", { signal });
  const listing = await fetchListing(client, spec.repo, commit, { signal });
  const selection = selectFiles(spec, listing);
  const files = new Map(selection.files.map((file) => [file.path, file]));
  const url = (path: string): URL => fileUrl(client, spec.repo, commit, path);
  const headers = hub.token === undefined ? {} : { Authorization: `Bearer ${hub.token}` };
  return {
    open(how) {
      const folder = hubFolder("", files, url, { ...how, headers });
      return openSelection(selection, folder);
    },
  };
}

/** Opens what was selected, of a folder with its files. */
function openSelection({ entry }: Selection, folder: Folder): Promise<ModelFile> {
  if (entry === "") return openModelFolder(folder);
  const at = entry.lastIndexOf("/");
  const inner = at < 0 ? folder : folder.subfolder(entry.slice(0, at));
  return openModelIn(inner, entry.slice(at + 1));
}

/** A folder of a commit, of which only the selected files are known. */
function hubFolder(
  prefix: string,
  files: ReadonlyMap<string, HubFile>,
  url: (path: string) => URL,
  options: OpenOptions,
): Folder {
  const name = url(prefix).href;
  return {
    name,
    list: () => {
      const inside = Array.from(files.keys()).filter((path) => path.startsWith(prefix));
      return Promise.resolve(
        inside.map((path) => path.slice(prefix.length)).filter((it) => !it.includes("/")).sort(),
      );
    },
    async open(file): Promise<ByteSource> {
      const known = files.get(prefix + file);
      if (!known) {
        throw new NotFoundError(`Cannot open ${quote(name + file)}: there is no such file`);
      }
      const source = await openSource(url(known.path), options).catch(adviseOnRefusal);
      if (source.size === known.size) return source;
      source.close();
      throw new SourceError(
        `Cannot read ${quote(source.name)}: it has ${source.size} bytes, but the hub lists ` +
          `${known.size}; load it again`,
      );
    },
    subfolder: (inner) => hubFolder(`${prefix}${inner}/`, files, url, options),
  };
}

function adviseOnRefusal(error: unknown): never {
  if (!(error instanceof SourceError) || !/status 40[13]\b/.test(error.message)) throw error;
  throw new SourceError(
    `${error.message}; it is private or gated: accept the terms on its page, and give a token of ` +
      `that account (HF_TOKEN, or hub: { token })`,
  );
}
