/**
 * Checkpoints as tensors in memory, for tests that rename, join, cut or round them.
 *
 * @module
 */

import { openModelFile } from "../runtime/files/open.ts";
import { readVector } from "../runtime/models/weights.ts";
import { concat, safetensorsBytes } from "./fixtures.ts";

/** A tensor with its numbers. */
export interface Values {
  readonly shape: readonly number[];
  readonly values: Float32Array | Int8Array;
}

/** The tensors of a model's files, by name. */
export async function tensorsOf(
  folder: URL,
): Promise<Map<string, Values & { readonly values: Float32Array }>> {
  const file = await openModelFile(folder);
  const entries = await Promise.all(
    Array.from(file.tensors.values()).map(async (it) =>
      [it.name, { shape: it.shape, values: await readVector(it) }] as const
    ),
  );
  file.close();
  return new Map(entries);
}

/** A safetensors file. */
export function assemble(tensors: ReadonlyMap<string, Values>): Uint8Array<ArrayBuffer> {
  const header: Record<string, unknown> = {};
  let at = 0;
  for (const [name, { shape, values }] of tensors) {
    const dtype = values instanceof Float32Array ? "F32" : "I8";
    header[name] = { dtype, shape, data_offsets: [at, at + values.byteLength] };
    at += values.byteLength;
  }
  const bytes = Array.from(
    tensors.values(),
    ({ values }) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
  );
  return safetensorsBytes(header, concat(bytes));
}

/** The tensors of a safetensors file whose numbers are f32. */
export function disassemble(file: Uint8Array<ArrayBuffer>): Map<string, Values> {
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length)));
  delete header.__metadata__;
  const tensors = new Map<string, Values>();
  for (const [name, { shape, data_offsets: [from, to] }] of Object.entries<Header>(header)) {
    const bytes = file.slice(8 + length + from, 8 + length + to);
    tensors.set(name, { shape, values: new Float32Array(bytes.buffer) });
  }
  return tensors;
}

interface Header {
  readonly shape: number[];
  readonly data_offsets: readonly [number, number];
}
