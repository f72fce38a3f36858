/**
 * Tensors of 64-bit floats, read as 32-bit floats: no layout keeps more.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { TensorEntry } from "./model_file.ts";
import type { ByteSource } from "./source.ts";

/** The tensor itself, or one of F32 that reads an F64 one and rounds its numbers. */
export function asFloat32(entry: TensorEntry): TensorEntry {
  if (entry.type !== "F64") return entry;
  const { source, offset, bytes, name } = entry;
  const rounded: ByteSource = {
    name: source.name,
    size: bytes / 2,
    async read(start, length, into = new Uint8Array(length)) {
      // Whole numbers around the range.
      const first = Math.floor(start / 4), end = Math.ceil((start + length) / 4);
      const wide = await source.read(offset + 8 * first, 8 * (end - first));
      const values = new Float64Array(wide.slice().buffer), narrow = new Float32Array(values);
      const lost = values.findIndex((it, i) => Number.isFinite(it) && !Number.isFinite(narrow[i]));
      if (lost >= 0) {
        throw new ModelError(
          `Cannot load tensor ${quote(name)} of ${quote(source.name)}: ${values[lost]} is too ` +
            `large for 32 bits`,
        );
      }
      const from = start - 4 * first;
      into.set(new Uint8Array(narrow.buffer).subarray(from, from + length));
      return into.subarray(0, length);
    },
    ...(source.unchanged ? { unchanged: () => source.unchanged!() } : {}),
    close(): void {},
  };
  return { ...entry, type: "F32", source: rounded, offset: 0, bytes: bytes / 2 };
}
