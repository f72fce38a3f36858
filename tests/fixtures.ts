/**
 * Small helpers shared by the tests of files: where shared fixtures lie, seeded randomness, bytes.
 *
 * @module
 */

import { type GgufContents, writeGguf } from "../runtime/files/gguf_write.ts";

/** Folder of fixtures that is beside the repository on some machines only. */
export const SHARED: URL = new URL("../../shared/", import.meta.url);

/** Whether `path` exists under `SHARED`; says once what is skipped where it does not. */
export function hasShared(path: string): boolean {
  try {
    Deno.statSync(new URL(path, SHARED));
    return true;
  } catch {
    console.log(`skipped: ../shared/${path} is not here`);
    return false;
  }
}

/** A seeded generator of numbers in [0, 1) (mulberry32). */
export function randomNumbers(seed: number): () => number {
  return () => {
    seed = seed + 0x6d2b79f5 | 0;
    let word = Math.imul(seed ^ seed >>> 15, seed | 1);
    word ^= word + Math.imul(word ^ word >>> 7, word | 61);
    return ((word ^ word >>> 14) >>> 0) / 2 ** 32;
  };
}

/** Normally distributed numbers from a uniform generator (Box–Muller). */
export function normalNumbers(length: number, random: () => number): Float32Array {
  return Float32Array.from(
    { length },
    () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()),
  );
}

/** Collects what is written to a stream. */
export function memorySink(): {
  writable: WritableStream<Uint8Array<ArrayBuffer>>;
  bytes(): Uint8Array<ArrayBuffer>;
} {
  const pieces: Uint8Array[] = [];
  return {
    writable: new WritableStream({ write: (piece) => void pieces.push(piece.slice()) }),
    bytes: () => concat(pieces),
  };
}

/** A GGUF file in memory. */
export async function ggufBytes(contents: GgufContents): Promise<Uint8Array<ArrayBuffer>> {
  const sink = memorySink();
  await writeGguf(contents, sink.writable);
  return sink.bytes();
}

/** A safetensors file: its header, as an object or as raw text, then `data` zeros or bytes. */
export function safetensorsBytes(
  header: unknown,
  data: number | Uint8Array,
): Uint8Array<ArrayBuffer> {
  const text = typeof header === "string" ? header : JSON.stringify(header);
  const json = new TextEncoder().encode(text);
  return concat([u64(json.length), json, typeof data === "number" ? new Uint8Array(data) : data]);
}

/** Little-endian 32-bit integer. */
export function u32(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}

/** Little-endian 64-bit integer. */
export function u64(value: number | bigint): Uint8Array {
  return new Uint8Array(BigUint64Array.of(BigInt(value)).buffer);
}

/** All pieces in a row. */
export function concat(pieces: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
