/**
 * What tells one model from another: whether cache rows of one mean anything to the other.
 *
 * @module
 */

import type { ModelFile, TensorEntry } from "../files/model_file.ts";
import type { ResolvedModel } from "./resolve.ts";

/** Bytes of each piece of a tensor that counts, and how many weights are read at the same time. */
const PIECE_BYTES = 1024, AT_ONCE = 8;
/** Rows of a computed table that count: a longer context has more of them. */
const TABLE_ROWS = 8;

/**
 * SHA-256, in hexadecimal, of the configuration, of every weight's name and layout, of the first values
 * of those that are computed, and of every tensor's type, length and bytes at its start, in its middle
 * and at its end, a kilobyte each. Files that differ elsewhere alone have the same one: all weights of a large
 * model would take long to read.
 */
export async function fingerprintOf(
  { config, weights }: ResolvedModel,
  file: ModelFile,
): Promise<string> {
  const lines: (() => Promise<string>)[] = [() => Promise.resolve(JSON.stringify(config))];
  for (const { name, shape, layout, tensors, source } of weights.values()) {
    lines.push(async () => {
      const pieces = await Promise.all(tensors.map((it) => sampleOf(file.tensors.get(it)!)));
      if (typeof source === "function") {
        const values = (await source()).subarray(0, TABLE_ROWS * shape.at(-1)!);
        pieces.push(await digest(floatBytes(values)));
      }
      return `${name} ${layout} ${pieces}`;
    });
  }
  const results: string[] = [];
  for (let i = 0; i < lines.length; i += AT_ONCE) {
    results.push(...await Promise.all(lines.slice(i, i + AT_ONCE).map((line) => line())));
  }
  return await digest(new TextEncoder().encode(results.join("\n")));
}

/** Type, length and some bytes of a tensor. */
async function sampleOf({ type, source, offset, bytes }: TensorEntry): Promise<string> {
  const length = Math.min(bytes, PIECE_BYTES);
  const starts = new Set([0, Math.floor((bytes - length) / 2), bytes - length]);
  const pieces: string[] = [];
  for (const start of starts) {
    pieces.push(await digest(await source.read(offset + start, length)));
  }
  return `${type} ${bytes} ${pieces}`;
}

function floatBytes({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

async function digest(bytes: Uint8Array): Promise<string> {
  const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes.slice()));
  return Array.from(sum, (it) => it.toString(16).padStart(2, "0")).join("");
}
