/**
 * From what a caller names to a model that can be opened: a path, a URL, a Blob, a model of a hub, or
 * the one that comes with Sparrow. What hubs need is loaded only for a model of a hub.
 *
 * @module
 */

import { SourceError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { ModelFile } from "../files/model_file.ts";
import { openModelFile, type OpenOptions } from "../files/open.ts";
import { NotFoundError } from "../files/source.ts";
import type { DownloadProgress } from "./context.ts";
import { type FoundModel, type HubOptions, isHubSpec } from "./options.ts";

/** How far loading has come. */
export interface LoadProgress {
  /**
   * What is under way: `"weights"`, reading them; before that, of a model from a hub, `"download"`,
   * `"verify"` (checking what arrived), or `"wait"` (another process downloads the same file).
   */
  readonly phase: "wait" | "download" | "verify" | "weights";
  /** The file that is downloaded. */
  readonly file?: string;
  /** Bytes that are here, of all files of a download, or of the weights. */
  readonly loaded: number;
  /** Bytes in all. */
  readonly total: number;
}

/** The model that comes with Sparrow, used where no source is named. */
export const DEFAULT_MODEL: URL = new URL("../../models/default/model.gguf", import.meta.url);

/** How a model is found. */
export interface FindModelOptions {
  /** How a model named `hf:ORG/REPO` is found: token, hub, cache. */
  readonly hub?: HubOptions;
  /** Ends it with its reason. */
  readonly signal?: AbortSignal;
  /** Called as a download arrives. */
  readonly onProgress?: (progress: LoadProgress) => void;
  /** Told when the model may not be the newest, or cannot be kept. Default `console.warn`. */
  readonly onWarning?: (message: string) => void;
}

/** Finds a model, so that it can be opened; one of a hub is downloaded. `weights` as in `FindOptions`. */
export async function findModel(
  source: string | URL | Blob | undefined,
  { hub, signal, onProgress, onWarning = console.warn }: FindModelOptions,
  weights = true,
): Promise<FoundModel> {
  if (!isHubSpec(source)) return { open: (how) => openLocal(source, how) };
  const { findHubModel } = await import("./open.ts");
  return await findHubModel(source, {
    ...{ hub, signal, onWarning, weights },
    onProgress: ({ total, ...progress }: DownloadProgress) =>
      onProgress?.({ ...progress, total: total ?? progress.loaded }),
  });
}

/** Opens a model's files, or those of the model that comes with Sparrow. Errors as `loadModel`. */
export async function openModel(
  source: string | URL | Blob | undefined,
  options: FindModelOptions = {},
): Promise<ModelFile> {
  const { signal } = options;
  return await (await findModel(source, options)).open({ signal });
}

async function openLocal(
  source: string | URL | Blob | undefined,
  options: OpenOptions = {},
): Promise<ModelFile> {
  if (source !== undefined) return await openModelFile(source, options);
  try {
    return await openModelFile(DEFAULT_MODEL, options);
  } catch (error) {
    if (!(error instanceof NotFoundError)) throw error;
    throw new SourceError(
      `Cannot load the model that comes with Sparrow: ${quote(DEFAULT_MODEL)} is not there; name ` +
        `another one: a GGUF file, a safetensors folder or a URL, on the command line with --model`,
    );
  }
}
