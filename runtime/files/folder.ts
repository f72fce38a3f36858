/**
 * Files that lie beside each other: a local directory, the folder of a URL, or files in memory.
 *
 * @module
 */

import { listFiles, showPath } from "./source_file.ts";
import { quote } from "../../escape.ts";
import { showUrl } from "./source_http.ts";
import {
  type ByteSource,
  isHttp,
  NotFoundError,
  openSource,
  resolveLocation,
  type SourceOptions,
} from "./source.ts";

/** Opens files by their names. */
export interface Folder {
  /** Path or URL for messages; ends in a slash where it is not empty. */
  readonly name: string;
  /** Names of its files, sorted; undefined where they cannot be listed (servers). */
  list(): Promise<readonly string[] | undefined>;
  /**
   * Opens one of them.
   *
   * @throws NotFoundError when there is no such file
   * @throws SourceError when it cannot be opened
   */
  open(name: string): Promise<ByteSource>;
  /** A folder inside of it, whether or not it is there; listing one that is not throws NotFoundError. */
  subfolder(name: string): Folder;
}

/** Opens a file of a folder; undefined where there is none. */
export async function openIfThere(folder: Folder, name: string): Promise<ByteSource | undefined> {
  try {
    return await folder.open(name);
  } catch (error) {
    if (error instanceof NotFoundError) return undefined;
    throw error;
  }
}

/** The folder at a path or URL, whether or not it ends in a slash. */
export function openFolder(location: string | URL, options: SourceOptions = {}): Folder {
  const place = resolveLocation(location);
  if (typeof place === "string") {
    return localFolder(/[/\\]$/.test(place) ? place : `${place}/`, options);
  }
  const url = new URL(place);
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return urlFolder(url, options);
}

/** The folder that holds the file at a path or URL. */
export function folderOf(location: string | URL, options: SourceOptions = {}): Folder {
  const place = resolveLocation(location);
  if (typeof place !== "string") return urlFolder(place, options);
  const windows = typeof Deno !== "undefined" && Deno.build.os === "windows";
  return localFolder(place.replace(windows ? /[^/\\]*$/ : /[^/]*$/, ""), options);
}

/** Files that are at hand as bytes or Blobs, such as those that a browser's user has picked. */
export function memoryFolder(
  name: string,
  files: Readonly<Record<string, Blob | Uint8Array>>,
  options: SourceOptions = {},
): Folder {
  return {
    name,
    list: () => Promise.resolve(Object.keys(files).sort()),
    open(file: string): Promise<ByteSource> {
      if (Object.hasOwn(files, file)) return openSource(files[file], options);
      return Promise.reject(
        new NotFoundError(`Cannot open ${quote(name + file)}: there is no such file`),
      );
    },
    subfolder(inner: string): Folder {
      const path = `${inner}/`;
      const inside = Object.entries(files).filter(([file]) => file.startsWith(path))
        .map(([file, bytes]) => [file.slice(path.length), bytes] as const);
      return memoryFolder(name + path, Object.fromEntries(inside), options);
    },
  };
}

function localFolder(path: string, options: SourceOptions): Folder {
  return {
    name: path,
    list: () => listFiles(path || "."),
    open: (file) => openSource(path + file, options),
    subfolder: (inner) => localFolder(`${path}${inner}/`, options),
  };
}

/** Files of a `file:` or `http(s):` folder; a query, which may hold a token, is kept. */
function urlFolder(base: URL, options: SourceOptions): Folder {
  const folder = new URL(base);
  folder.pathname = folder.pathname.replace(/[^/]*$/, "");
  return {
    name: isHttp(folder) ? showUrl(folder) : showPath(folder),
    list: () => isHttp(folder) ? Promise.resolve(undefined) : listFiles(folder),
    open(file: string): Promise<ByteSource> {
      const url = new URL(folder);
      url.pathname += encodeURIComponent(file);
      return openSource(url, options);
    },
    subfolder(inner: string): Folder {
      const url = new URL(folder);
      url.pathname += `${encodeURIComponent(inner)}/`;
      return urlFolder(url, options);
    },
  };
}
