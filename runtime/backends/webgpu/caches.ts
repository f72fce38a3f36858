/**
 * Caches that grow: each begins with room for a few rows and gets more when a run needs them. What
 * it holds is copied into a larger buffer, and whoever has bound the old one binds the new one.
 *
 * @module
 */

import { MemoryError } from "../../../errors.ts";
import { quote } from "../../../escape.ts";
import { OPS } from "../../../kernels/ops.ts";
import type { Slice } from "../../../kernels/webgpu_kernel.ts";
import type { Graph, Tensor } from "../../graph/graph.ts";
import type { TensorData } from "../backend.ts";
import type { GpuMemory } from "./memory.ts";

/** Rows of a cache at first; each growth doubles them. */
const FIRST_ROWS = 512;

interface Cache {
  readonly name: string;
  readonly rowBytes: number;
  readonly mostRows: number;
  rows: number;
  /** The only one of its slice; replaced when it grows. */
  readonly planes: GPUBuffer[];
}

/** Where some rows lie. */
export interface GpuRows {
  /** The buffer, until the cache grows. */
  readonly buffer: GPUBuffer;
  /** First byte. */
  readonly offset: number;
  /** Length. */
  readonly bytes: number;
}

/** The caches of a device. */
export class GpuCaches {
  readonly #memory: GpuMemory;
  readonly #allocate: (bytes: number, label: string) => GPUBuffer;
  readonly #caches = new Map<string, Cache>();
  /** The buffer of a cache that a smaller one has become. */
  readonly #larger = new Map<GPUBuffer, Cache>();
  #growths = 0;

  /** No caches. */
  constructor(memory: GpuMemory, allocate: (bytes: number, label: string) => GPUBuffer) {
    this.#memory = memory;
    this.#allocate = allocate;
  }

  /** How often any has grown. */
  get growths(): number {
    return this.#growths;
  }

  /**
   * Gives a cache its first rows.
   *
   * @throws MemoryError when all its rows would not be visible at once
   */
  place({ name, shape }: Pick<Tensor, "name" | "shape">, bytes: number): Slice {
    const most = Number(this.#memory.device.limits.maxStorageBufferBindingSize);
    if (bytes > most) {
      throw new MemoryError(
        `Cannot place ${quote(name)} on the GPU: it takes ${bytes} bytes, a shader sees at most ` +
          `${most} at once; use a shorter context or cacheType "int8"`,
      );
    }
    const mostRows = shape[0]!, rowBytes = bytes / mostRows;
    const rows = Math.min(FIRST_ROWS, mostRows);
    const planes = [this.#allocate(rows * rowBytes, name)];
    this.#caches.set(name, { name, rowBytes, mostRows, rows, planes });
    return { firstRow: 0, rows: mostRows, planes };
  }

  /** Gives caches at least so many rows, or all that they can have. */
  require(names: Iterable<string>, rows: number): void {
    for (const name of names) {
      const cache = this.#caches.get(name)!;
      if (rows <= cache.rows || cache.rows === cache.mostRows) continue;
      let more = cache.rows;
      while (more < Math.min(rows, cache.mostRows)) more *= 2;
      this.#grow(cache, Math.min(more, cache.mostRows));
    }
  }

  /** The buffer that holds now what `buffer` held. */
  latest(buffer: GPUBuffer): GPUBuffer {
    return this.#larger.get(buffer)?.planes[0] ?? buffer;
  }

  /** Where rows of a cache lie, with room for them. */
  rowsOf(name: string, from: number, rows: number): GpuRows {
    this.require([name], from + rows);
    const { planes: [buffer], rowBytes } = this.#caches.get(name)!;
    return { buffer: buffer!, offset: from * rowBytes, bytes: rows * rowBytes };
  }

  /** Bytes of rows. */
  bytes(name: string, rows: number): number {
    return rows * this.#caches.get(name)!.rowBytes;
  }

  #grow(cache: Cache, rows: number): void {
    const { device } = this.#memory;
    const [before] = cache.planes, bytes = cache.rows * cache.rowBytes;
    const buffer = this.#allocate(rows * cache.rowBytes, cache.name);
    this.#memory.guard(
      (message) =>
        new MemoryError(`Cannot give cache ${quote(cache.name)} ${rows} rows: ${message}`),
      () => {
        const encoder = device.createCommandEncoder();
        encoder.copyBufferToBuffer(before!, 0, buffer, 0, bytes);
        device.queue.submit([encoder.finish()]);
      },
    );
    this.#memory.destroy(before!);
    this.#larger.set(before!, cache);
    cache.planes[0] = buffer;
    cache.rows = rows;
    this.#growths++;
  }
}

/** Which rows of caches a graph's runs need, by what is written into its inputs. */
export class RowsNeeded {
  /** Names of the caches that the graph uses. */
  readonly caches: ReadonlySet<string>;
  /** For every input that numbers rows of caches, whether it may name the one after the last. */
  readonly #inputs = new Map<string, boolean>();
  /** Rows that the inputs' numbers need. */
  readonly #rows = new Map<string, number>();
  /** Whether numbers are computed, so that nobody knows them. */
  readonly #isUnknown: boolean;

  /** Nothing has been written. */
  constructor(graph: Graph) {
    const caches = new Set<string>();
    let isUnknown = false;
    for (const { op, inputs } of graph.nodes) {
      for (const { name, origin } of inputs) if (origin === "cache") caches.add(name);
      const { indexes } = OPS[op];
      if (!indexes || inputs[indexes.into]!.origin !== "cache") continue;
      const { name, origin } = inputs[indexes.input]!;
      if (origin === "input") this.#inputs.set(name, indexes.inclusive ?? false);
      else isUnknown = true;
    }
    this.caches = caches;
    this.#isUnknown = isUnknown;
  }

  /** Notes what is written into an input. */
  note(input: string, data: TensorData): void {
    const inclusive = this.#inputs.get(input);
    if (inclusive === undefined) return;
    let last = 0;
    for (const row of data) last = Math.max(last, row);
    this.#rows.set(input, inclusive ? last : last + 1);
  }

  /** Notes that all numbers have become greater. */
  advance(count: number): void {
    for (const [input, rows] of this.#rows) this.#rows.set(input, rows + count);
  }

  /** Rows that a run needs. */
  get rows(): number {
    return this.#isUnknown ? Infinity : Math.max(0, ...this.#rows.values());
  }
}
