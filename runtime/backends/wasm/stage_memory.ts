/**
 * One stage's shared memory: at most 4 GiB, given away from the start upwards and never taken
 * back while the backend lives.
 *
 * @module
 */

import { MemoryError } from "../../../errors.ts";
import { formatBytes } from "../../../escape.ts";
import {
  ALIGNMENT,
  HEAP_START,
  PAGE_BYTES,
  SCRATCH_BASE,
  SCRATCH_STRIDE,
  TOKENS,
} from "../../../kernels/memory.ts";

const INITIAL_PAGES = 160, MAXIMUM_PAGES = 65536;
/** Growing costs the same whatever the amount, and a page that nobody writes costs nothing. */
const SPARE_PAGES = 64;
const GUARD_BYTES = 64, GUARD = 0xa5;

/** Rounds up to the alignment of buffers. */
export function align(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

/** A growing shared memory. With `guards`, every buffer has bytes before and after it that a kernel must not change. */
export class StageMemory {
  /** The memory that workers instantiate the kernels on. */
  readonly memory: WebAssembly.Memory;
  readonly #guards: { address: number; owner: string }[] | undefined;
  readonly #counts = new Map<number, number>();
  /** Cells that hold the tokens of a run times a number of rows per token, by that number. */
  readonly #tokenRows = new Map<number, number>([[1, TOKENS]]);
  #top = HEAP_START;
  #scratchStride = 0;

  /** Reserves address space; pages are committed when they are first written. */
  constructor(guards: boolean) {
    this.#guards = guards ? [] : undefined;
    try {
      this.memory = new WebAssembly.Memory({
        initial: INITIAL_PAGES,
        maximum: MAXIMUM_PAGES,
        shared: true,
      });
    } catch (cause) {
      throw new MemoryError("Cannot reserve 4 GiB of address space for a WebAssembly memory", {
        cause,
      });
    }
  }

  /**
   * Address of `bytes` zeroed bytes for `owner`. The memory grows when they are first looked at, so
   * that placing a whole model grows it once.
   *
   * @throws MemoryError when no memory could hold them
   */
  allocate(bytes: number, owner: string): number {
    const guard = this.#guards ? GUARD_BYTES : 0;
    const start = this.#top, address = start + guard;
    const top = address + align(bytes) + guard;
    if (top > MAXIMUM_PAGES * PAGE_BYTES) {
      throw new MemoryError(
        `Cannot place ${owner}: it takes ${formatBytes(bytes)} where ${
          formatBytes(start)
        } are in use, of at most ` +
          `4 GiB; use a smaller weight layout or a shorter context`,
      );
    }
    this.#top = top;
    if (this.#guards) {
      // The end guard starts right after the last byte, so that padding is guarded too.
      for (const at of [start, address + bytes]) {
        this.bytes(at, GUARD_BYTES).fill(GUARD);
        this.#guards.push({ address: at, owner });
      }
    }
    return address;
  }

  /**
   * Makes the memory as large as what was given away. Comes before anybody but `bytes`, `int32` and
   * `float32` looks at it.
   *
   * @throws MemoryError when the system refuses
   */
  commit(): void {
    const { byteLength } = this.memory.buffer;
    const missing = Math.ceil((this.#top - byteLength) / PAGE_BYTES);
    if (missing <= 0) return;
    const pages = Math.min(missing + SPARE_PAGES, MAXIMUM_PAGES - byteLength / PAGE_BYTES);
    try {
      this.memory.grow(pages);
    } catch (cause) {
      throw new MemoryError(
        `Cannot have ${formatBytes(this.#top)} of memory: it could not grow by ` +
          `${formatBytes(pages * PAGE_BYTES)}; use a ` +
          `smaller weight layout or a shorter context`,
        { cause },
      );
    }
  }

  /** Bytes given away so far. */
  get used(): number {
    return this.#top;
  }

  /** Address of an int32 cell that holds `count`. */
  count(count: number): number {
    let address = this.#counts.get(count);
    if (address === undefined) {
      this.#counts.set(count, address = this.allocate(4, `count ${count}`));
      this.int32(address, 1)[0] = count;
    }
    return address;
  }

  /** Address of an int32 cell that holds the tokens of the run times `rows`. */
  tokenRows(rows: number): number {
    let address = this.#tokenRows.get(rows);
    if (address === undefined) {
      this.#tokenRows.set(rows, address = this.allocate(4, `tokens times ${rows}`));
    }
    return address;
  }

  /** Sets the number of tokens of the next run. */
  setTokens(tokens: number): void {
    for (const [rows, address] of this.#tokenRows) this.int32(address, 1)[0] = rows * tokens;
  }

  /** Makes sure that each of `workers` workers has `bytes` bytes of scratch memory. */
  reserveScratch(bytes: number, workers: number): void {
    if (bytes <= this.#scratchStride) return;
    this.#scratchStride = align(bytes);
    this.int32(SCRATCH_BASE, 1)[0] = this.allocate(this.#scratchStride * workers, "scratch");
    this.int32(SCRATCH_STRIDE, 1)[0] = this.#scratchStride;
  }

  /** Owner of the first guard that was overwritten, if any. */
  brokenGuard(): string | undefined {
    return this.#guards?.find(({ address }) =>
      this.bytes(address, GUARD_BYTES).some((byte) => byte !== GUARD)
    )?.owner;
  }

  /** A view of the memory as it is now. */
  bytes(address: number, length: number): Uint8Array<SharedArrayBuffer> {
    return new Uint8Array(this.#buffer, address, length);
  }

  /** A view of int32 cells. */
  int32(address: number, length: number): Int32Array<SharedArrayBuffer> {
    return new Int32Array(this.#buffer, address, length);
  }

  /** A view of float32 numbers. */
  float32(address: number, length: number): Float32Array<SharedArrayBuffer> {
    return new Float32Array(this.#buffer, address, length);
  }

  get #buffer(): SharedArrayBuffer {
    this.commit();
    return this.memory.buffer as unknown as SharedArrayBuffer;
  }
}
