/**
 * What a model was made from: the names of its files, and hashes by which others can tell whether they
 * have the same ones.
 *
 * @module
 */

import type { ByteSource } from "../../runtime/files/source.ts";
import type { ModelFile } from "../../runtime/files/model_file.ts";
import { createHash } from "../../runtime/hub/deps.ts";

/** Files with weights. */
export interface SourceFacts {
  /** Their names without folders, in the order of the model's tensors. */
  readonly files: readonly string[];
  /** Bytes of all of them. */
  readonly bytes: number;
  /** SHA-256 of each, in hexadecimal, as `sha256sum` prints it. */
  readonly sha256: readonly string[];
}

/** Bytes that are read at once. */
const PIECE = 4 << 20;

/** Reads the files that a model's tensors lie in. */
export async function sourceFacts(
  file: ModelFile,
  signal: AbortSignal | undefined,
): Promise<SourceFacts> {
  const sources = new Set(file.tensors.values().map((it) => it.source));
  const files: string[] = [], sha256: string[] = [];
  let bytes = 0;
  for (const source of sources) {
    files.push(nameOf(source));
    sha256.push(await hashOf(source, signal));
    bytes += source.size;
  }
  return { files, bytes, sha256 };
}

/** SHA-256 of token ids: of their JSON, a list of lists. */
export function hashOfIds(ids: readonly (readonly number[])[]): string {
  return createHash("sha256").update(JSON.stringify(ids)).digest("hex");
}

async function hashOf(source: ByteSource, signal: AbortSignal | undefined): Promise<string> {
  const hash = createHash("sha256"), piece = new Uint8Array(Math.min(PIECE, source.size));
  for (let at = 0; at < source.size; at += PIECE) {
    signal?.throwIfAborted();
    const length = Math.min(PIECE, source.size - at);
    hash.update((await source.read(at, length, piece)).subarray(0, length));
  }
  return hash.digest("hex");
}

/** The last part of a path or a URL; folders are nobody else's business. */
function nameOf({ name }: ByteSource): string {
  return name.replace(/[?#].*$/, "").split(/[/\\]/).findLast((it) => it !== "") ?? name;
}
