/**
 * Small helpers shared by the tests of files: where shared fixtures lie, seeded randomness, bytes.
 *
 * @module
 */

import { normalNumbers, randomNumbers } from "../cases/numbers.ts";
import { encodeRows, LAYOUTS } from "../quant/formats.ts";
import { ggmlType } from "../quant/ggml_types.ts";
import { type GgufContents, writeGguf } from "../runtime/files/gguf_write.ts";

export { normalNumbers, randomNumbers };

/**
 * Folder of the data that tests read: `golden/` (tiny models with the original implementations'
 * outputs), `models/`, `tokenizers/`. Each has a README that says where it comes from.
 */
export const FIXTURES: URL = new URL("./", import.meta.url);

/** Collects what is written to a stream. */
function memorySink(): {
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

/** Blocks of `type` with random codes, and scales of ordinary size. */
export function randomBlocks(type: string, blocks: number, random: () => number): Uint8Array {
  const { blockSize, blockBytes, layout } = ggmlType(type)!;
  const bytes = Uint8Array.from({ length: blocks * blockBytes }, () => random() * 256);
  const halvesAt: Record<string, number[]> = {
    Q2_K: [80, 82],
    Q3_K: [108],
    Q4_K: [0, 2],
    Q5_K: [0, 2],
    Q6_K: [208],
    Q4_1: [0, 2],
    Q5_1: [0, 2],
    TQ1_0: [52],
    TQ2_0: [64],
  };
  if (layout === "f32" || blockSize === 1) {
    return encodeRows(LAYOUTS[layout], normalNumbers(blocks, random), blocks);
  }
  for (let at = 0; at < bytes.length; at += blockBytes) {
    if (type === "MXFP4") bytes[at] = 118 + random() * 8;
    else for (const half of halvesAt[type] ?? [0]) bytes[at + half + 1] = 0x20 + random() * 8;
  }
  return bytes;
}
