/**
 * What decides the bytes of a quantized file: options, and what the source is. Whoever goes on with an
 * unfinished file must have the same.
 *
 * @module
 */

import type { ByteSource } from "../runtime/files/source.ts";
import type { ModelFile } from "../runtime/files/model_file.ts";
import { openSource } from "../runtime/files/source.ts";
import type { Terms } from "./draft.ts";
import type { ChosenOptions } from "./options.ts";

/** Options that change nothing in the tensors of the file. */
const INDIFFERENT: ReadonlySet<string> = new Set<keyof ChosenOptions>([
  ...["saveImatrix", "verify", "threads", "force", "resume"] as const,
  ...["onWarning", "onEstimate", "onProgress", "signal"] as const,
]);

/** Bytes at a file's beginning and at its end that are looked at. */
const LOOKED_AT = 1 << 16;

/** The terms of a call; files that it reads whole are named by their digests. */
export async function termsOf(
  file: ModelFile,
  { imatrix, ...options }: ChosenOptions,
): Promise<Terms> {
  const terms: Record<string, string> = {};
  for (const [name, value] of Object.entries(options)) {
    if (INDIFFERENT.has(name) || value === undefined) continue;
    const text = typeof value === "string" ? value : JSON.stringify(value, readable);
    terms[name] = text.length <= 200 ? text : `SHA-256 ${await digest(text)}`;
  }
  if (imatrix !== undefined) {
    const source = await openSource(imatrix);
    terms.imatrix = await identityOf(source).finally(() => source.close());
  }
  const sources = new Set(file.tensors.values().map((it) => it.source));
  const identities: string[] = [];
  for (const it of sources) identities.push(await identityOf(it));
  terms.source = identities.length === 1
    ? identities[0]!
    : `SHA-256 ${await digest(identities.join("\\n"))}`;
  return terms;
}

/** Patterns as they are written. */
function readable(_name: string, value: unknown): unknown {
  return value instanceof RegExp ? String(value) : value;
}

/** A file by its size, when it was written, and its first and last bytes. */
async function identityOf(source: ByteSource): Promise<string> {
  const { size, path } = source, length = Math.min(LOOKED_AT, size);
  const ends = new Uint8Array(2 * length);
  ends.set(await source.read(0, length));
  ends.set(await source.read(size - length, length), length);
  const written = path === undefined
    ? ""
    : `, written ${(await Deno.stat(/^file:/i.test(path) ? new URL(path) : path)).mtime?.toJSON()}`;
  return `${size} bytes${written}, SHA-256 of both ends ${await digest(ends)}`;
}

async function digest(of: string | Uint8Array): Promise<string> {
  const bytes = typeof of === "string" ? new TextEncoder().encode(of) : of;
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as BufferSource)).toHex();
}
