/**
 * What callers say about hubs, and what finding a model there takes and gives.
 *
 * @module
 */

import { FLAG, isA, type Rule, type Rules, TEXT } from "../../options.ts";
import type { ModelFile } from "../files/model_file.ts";
import type { OpenOptions } from "../files/open.ts";
import type { DownloadProgress } from "./context.ts";

/** How models named `hf:ORG/REPO` are found. */
export interface HubOptions {
  /**
   * Access token; sent to the endpoint's origin and nowhere else. Where neither it nor `endpoint` is
   * given, `HF_TOKEN` or the hub's usual token file, where the program may read them.
   */
  readonly token?: string;
  /** The hub. Where absent, `HF_ENDPOINT`, else https://huggingface.co. */
  readonly endpoint?: string | URL;
  /** Use what is kept and ask no network. Where absent, `HF_HUB_OFFLINE`, else false. */
  readonly offline?: boolean;
  /**
   * Folder of downloaded models. Where absent, `SPARROW_CACHE`, else `sparrow` in the user's folder
   * for caches. It needs permission to read and write `hub` and `locks` in it; without it, or without
   * a folder, files are read from the hub by ranges and nothing is kept.
   */
  readonly cacheDir?: string;
  /** Whether downloads are kept, on the disk or by a page's browser. Default true. */
  readonly cache?: boolean;
}

const ENDPOINT: Rule = {
  expected: "a URL",
  accepts: (value) => typeof value === "string" || isA(value, URL),
};

/** What each option may be. */
export const HUB_RULES: Rules<HubOptions> = {
  token: TEXT,
  endpoint: ENDPOINT,
  offline: FLAG,
  cacheDir: TEXT,
  cache: FLAG,
};

/** How a model is found, and who is told. */
export interface FindOptions {
  /** Which hub, and what is kept. */
  readonly hub?: HubOptions | undefined;
  /** Ends it with its reason; what has arrived is kept for the next time. */
  readonly signal?: AbortSignal | undefined;
  /** Called often while something arrives. */
  readonly onProgress?: ((progress: DownloadProgress) => void) | undefined;
  /** Told when the result may not be the newest, or cannot be kept. */
  readonly onWarning?: ((message: string) => void) | undefined;
  /** False where only what is said about text is wanted: no weights are downloaded for it then. */
  readonly weights?: boolean;
}

/** A model that was found; it can be opened any number of times. */
export interface FoundModel {
  /** Opens its files. Errors as `openModelFile`. */
  open(options?: OpenOptions): Promise<ModelFile>;
}

/** Whether a text or URL names a model of a hub. */
export function isHubSpec(source: unknown): source is string | URL {
  if (typeof source !== "string" && !isA(source, URL)) return false;
  try {
    return /^hf:/i.test(String(source));
  } catch {
    return false; // a proxy that throws
  }
}
