/**
 * Rows of caches on the GPU: row-major, each of whole 32-bit words (kernels/cache_store/webgpu.ts), so
 * that any range of rows is one range of bytes.
 *
 * @module
 */

import { BackendError } from "../../../errors.ts";
import { quote } from "../../../escape.ts";
import type { CacheRows } from "../cache_rows.ts";
import type { GpuCaches, GpuRows } from "./caches.ts";
import type { GpuMemory } from "./memory.ts";

/** Rows of the caches of a device. */
export function createCacheRows(memory: GpuMemory, caches: GpuCaches): CacheRows {
  const { device } = memory;
  /** Copies rows through a buffer between, because a buffer cannot be copied to itself. */
  const through = (cache: string, usage: number, source: GpuRows, target?: GpuRows): GPUBuffer => {
    const between = memory.create(
      source.bytes,
      usage | GPUBufferUsage.COPY_DST,
      `rows of ${cache}`,
    );
    memory.guard(
      (message) => new BackendError(`Cannot copy rows of cache ${quote(cache)}: ${message}`),
      () => {
        const encoder = device.createCommandEncoder();
        encoder.copyBufferToBuffer(source.buffer, source.offset, between, 0, source.bytes);
        if (target) {
          encoder.copyBufferToBuffer(between, 0, target.buffer, target.offset, target.bytes);
        }
        device.queue.submit([encoder.finish()]);
      },
    );
    return between;
  };
  return {
    form: "webgpu rows 1",
    bytes: (cache, rows) => caches.bytes(cache, rows),
    copy(cache, from, to, rows): void {
      caches.rowsOf(cache, Math.max(from, to), rows); // room for both, before either is found
      const source = caches.rowsOf(cache, from, rows), target = caches.rowsOf(cache, to, rows);
      memory.destroy(through(cache, GPUBufferUsage.COPY_SRC, source, target));
    },
    async read(cache, from, rows): Promise<Uint8Array> {
      const source = caches.rowsOf(cache, from, rows);
      const between = through(cache, GPUBufferUsage.MAP_READ, source);
      try {
        return new Uint8Array(await memory.download(between, source.bytes));
      } finally {
        memory.destroy(between);
      }
    },
    async write(cache, to, rows, bytes): Promise<void> {
      const { buffer, offset } = caches.rowsOf(cache, to, rows);
      await memory.upload(buffer, offset, bytes);
    },
  };
}
