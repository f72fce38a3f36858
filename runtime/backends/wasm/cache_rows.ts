/**
 * Rows of caches in the memories of the WebAssembly backend: each key-value head has a part of its
 * own, in which blocks of rows lie one after another (kernels/cache_store/layout.ts).
 *
 * @module
 */

import {
  blockBytes,
  blockRows,
  clearRowsBehind,
  headBytes,
} from "../../../kernels/cache_store/layout.ts";
import type { TensorType } from "../../../kernels/op.ts";
import type { CacheRows } from "../cache_rows.ts";
import type { StageMemory } from "./stage_memory.ts";

/** Where a cache lies. */
export interface PlacedCache {
  /** `[rows, kvHeads, headDim]`. */
  readonly type: TensorType;
  /** Stage → address. */
  readonly places: ReadonlyMap<number, number>;
}

/** Rows of caches; `find` tells where one lies, `memory` is that of a stage. */
export function createCacheRows(
  find: (cache: string) => PlacedCache,
  memory: (stage: number) => StageMemory,
): CacheRows {
  /** The parts of rows, one for each head, in one stage. */
  const parts = (
    { type }: PlacedCache,
    [stage, address]: readonly [number, number],
    from: number,
    rows: number,
  ): Uint8Array[] => {
    const unit = blockRows(type), bytes = blockBytes(type);
    const own = memory(stage), length = Math.ceil(rows / unit) * bytes;
    return Array.from(
      { length: type.shape[1]! },
      (_, head) => own.bytes(address + head * headBytes(type) + from / unit * bytes, length),
    );
  };
  const bytesOf = ({ type }: PlacedCache, rows: number): number =>
    type.shape[1]! * Math.ceil(rows / blockRows(type)) * blockBytes(type);
  return {
    form: "wasm blocks 1",
    bytes: (cache, rows) => bytesOf(find(cache), rows),
    copy(cache, from, to, rows): void {
      const placed = find(cache);
      for (const place of placed.places) {
        const source = parts(placed, place, from, rows);
        parts(placed, place, to, rows).forEach((it, head) => it.set(source[head]!));
      }
    },
    read(cache, from, rows): Promise<Uint8Array> {
      const placed = find(cache), [place] = placed.places;
      const all = new Uint8Array(bytesOf(placed, rows));
      let at = 0;
      for (const part of parts(placed, place!, from, rows)) {
        all.set(part, at);
        clearRowsBehind(placed.type, all.subarray(at, at += part.length), rows);
      }
      return Promise.resolve(all);
    },
    write(cache, to, rows, bytes): Promise<void> {
      const placed = find(cache);
      for (const place of placed.places) {
        let at = 0;
        for (const part of parts(placed, place, to, rows)) {
          part.set(bytes.subarray(at, at += part.length));
        }
      }
      return Promise.resolve();
    },
  };
}
