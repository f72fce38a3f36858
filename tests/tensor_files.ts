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
