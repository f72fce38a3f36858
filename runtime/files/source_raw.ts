/**
 * What each kind of source provides, and what they share. `source.ts` makes it safe to use.
 *
 * @module
 */

import { SourceError } from "../../errors.ts";
import { quote } from "../../escape.ts";

/** Bytes at one location, read by one caller at a time and always inside `size`. */
export interface RawSource {
  /** Path or URL for messages; never with credentials. */
  readonly name: string;
  /** Length in bytes. */
  readonly size: number;
  /** Path or `file:` URL by which another thread can open the same bytes. */
  readonly path?: string;
  /** As `ByteSource.unchanged`. */
  unchanged?(): Promise<void>;
  /** As `ByteSource.intact`. */
  intact?(): Promise<void>;
  /** Fills all of `target` from `offset`. */
  fill(offset: number, target: Uint8Array): Promise<void>;
  /** Releases what is held. Called once. */
  close(): void;
}

/** The location was reached, but nothing is there. */
export class NotFoundError extends SourceError {}

/** What to do about a path of a model where nothing is: some are meant for a hub. */
export function missingHint(path: string): string {
  const spec = /^(?:(?:hf|huggingface)\.co\/)?(\w[\w.-]*\/\w[\w.-]*(?:[:@].*)?)$/.exec(path)?.[1];
  return spec === undefined
    ? "; check the path"
    : `; for a repository on a hub write ${quote(`hf:${spec}`)}`;
}

/** The message of whatever was thrown. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
