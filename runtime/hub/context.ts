/**
 * What one call of `resolveModel` carries: options, client, progress over several files, and the one way
 * in which a file gets into the cache.
 *
 * @module
 */
import { InputError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { modelLock } from "./cache.ts";
import { type Downloaded, downloadFile } from "./download.ts";
import type { DownloadOptions, FileJob } from "./transfer.ts";
import { HubClient } from "./http.ts";
import { TRANSFER_TUNING, type TransferTuning } from "./tuning.ts";
import { discardPart, removeJournal } from "./journal.ts";
import { DEFAULT_ENDPOINT, readEndpoint } from "./endpoint.ts";
import { lockFile } from "./lock.ts";
import { syncFile } from "./part_file.ts";
import { formatSpec, type ModelSpec } from "./spec.ts";

export { DEFAULT_ENDPOINT };

/** Where a download stands. */
export interface DownloadProgress {
  /** `"wait"`: another process is downloading the file; `"verify"`: it is here and being checked. */
  readonly phase: "wait" | "download" | "verify";
  /** The file at work, by its own name. */
  readonly file: string;
  /** Bytes that are here, of all files of the model. */
  readonly loaded: number;
  /** Bytes of all files of the model, when known. */
  readonly total: number | undefined;
}

/** How {@linkcode resolveModel} finds and downloads. Nothing is read from the environment. */
export interface ResolveOptions extends Pick<DownloadOptions, "openPart" | "freeBytes"> {
  /** Where downloads are kept (see `cache.ts`); needed for everything but a path. */
  readonly cacheDir?: string;
  /** The hub; {@linkcode DEFAULT_ENDPOINT} when absent. */
  readonly endpoint?: string | URL;
  /** Access token; sent to the endpoint's origin and nowhere else. */
  readonly token?: string | undefined;
  /** Use what is here and ask no network. */
  readonly offline?: boolean;
  /** Ends the work with the signal's reason; what has arrived is kept for the next call. */
  readonly signal?: AbortSignal | undefined;
  /** Called often while something arrives. */
  readonly onProgress?: (progress: DownloadProgress) => void;
  /** Called with one sentence when the result may not be the newest. */
  readonly onWarning?: (message: string) => void;
  /** Connections for one large file; 4 when absent. */
  readonly connections?: number;
  /** Patience, for unusual networks. */
  readonly tuning?: Partial<TransferTuning>;
}

/** One call's options, checked, and the sum of its progress. */
export class Context {
  /** Without a slash at its end. */
  readonly cacheDir: string;
  /** The hub. */
  readonly endpoint: URL;
  /** To be disposed of by whoever made the context. */
  readonly client: HubClient;
  /** As given. */
  readonly options: ResolveOptions;
  /** Bytes that came over the network. */
  downloaded = 0;
  #before = 0;
  #total: number | undefined;

  /**
   * Checks the options.
   *
   * @throws {InputError} when one is unusable
   */
  constructor(spec: ModelSpec, options: ResolveOptions) {
    const { cacheDir, endpoint, connections, token } = options;
    if (!cacheDir) {
      throw new InputError(
        `Cannot fetch ${formatSpec(spec)}: found no cache directory; pass options.cacheDir`,
      );
    }
    const url = readEndpoint(endpoint);
    if (
      connections !== undefined &&
      !(Number.isInteger(connections) && connections >= 1 && connections <= 32)
    ) {
      throw new InputError(`Cannot use ${quote(connections)} connections: expected 1 to 32`);
    }
    this.cacheDir = cacheDir.replace(/[/\\]+$/, "");
    this.endpoint = url;
    this.options = options;
    const tuning = { ...TRANSFER_TUNING, ...options.tuning, ...(connections && { connections }) };
    this.client = new HubClient({ endpoint: url, token, tuning });
  }

  /** Starts the sum of progress over files of `total` bytes together. */
  begin(total: number | undefined): void {
    this.#total = total;
  }

  /** A file of the sum is here. */
  finish(size: number): void {
    this.#before += size;
  }

  /** Tells how far a file is. */
  report(phase: DownloadProgress["phase"], file: string, loaded: number, total?: number): void {
    this.options.onProgress?.({
      phase,
      file,
      loaded: this.#before + loaded,
      total: this.#total ?? total,
    });
  }

  /** Keeps others from removing a model's directory until it is disposed of. */
  async hold(dir: string): Promise<Disposable> {
    const { signal } = this.options;
    return await lockFile(await modelLock(this.cacheDir, dir), signal, undefined, true);
  }

  /** Downloads a file unless it is whole, or becomes so while another process holds it. */
  async ensure(
    file: { name: string; job: FileJob; partial: string },
    hooks: FileHooks,
  ): Promise<void> {
    const { signal, openPart, freeBytes } = this.options;
    if (await hooks.present()) return;
    await Deno.mkdir(file.partial.slice(0, file.partial.lastIndexOf("/")), { recursive: true });
    using _lock = await lockFile(
      `${file.partial}.lock`,
      signal,
      () => this.report("wait", file.name, 0),
    );
    const part = `${file.partial}.part`;
    if (await hooks.present()) return await discardPart(part);
    let seen: number | undefined;
    const got = await downloadFile(this.client, file.job, part, {
      signal,
      ...(openPart && { openPart }),
      ...(freeBytes && { freeBytes }),
      onBytes: (loaded, total) => {
        this.downloaded += Math.max(0, loaded - (seen ?? loaded)); // the first report is what was here
        seen = loaded;
        this.report("download", file.name, loaded, total);
      },
      onVerify: () => this.report("verify", file.name, seen ?? 0, seen),
    });
    await syncFile(part); // a rename may reach the disk before the bytes do
    await hooks.place(part, got);
    await removeJournal(part);
  }
}

/** Where a file belongs. */
export interface FileHooks {
  /** Whether the file is in its place; may put it there from what the cache has. */
  present(): Promise<boolean>;
  /** Renames the checked part file to its place. */
  place(part: string, got: Downloaded): Promise<void>;
}
