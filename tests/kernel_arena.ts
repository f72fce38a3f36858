/**
 * Buffers and single kernel calls in a memory of their own: no workers, no tape. Every buffer, and
 * every worker's scratch memory, has guard bytes right behind it that a call must not touch.
 *
 * @module
 */

import { assert } from "@std/assert";
import { HEAP_START, PAGE_BYTES, QUADS, SCRATCH_BASE, SCRATCH_STRIDE } from "../kernels/memory.ts";
import type { DType } from "../kernels/op.ts";
import { ACTIVATION_BLOCK_BYTES, PACK_ROWS, packedBytes } from "../kernels/pack/layouts.ts";
import { encodePack } from "../kernels/pack/wasm.ts";
import relaxed from "../kernels/pkg/module.js";
import plain from "../kernels/pkg/module_plain.js";
import {
  type EncodedStep,
  type Operand,
  STEP_HEADER_WORDS,
  STEP_WORDS,
} from "../kernels/wasm_kernel.ts";
import { decodeRows, encodeRows, type LayoutName, LAYOUTS, rowBytes } from "../quant/formats.ts";

/** The two builds of the kernels, the first in both ways of summing int8 products. */
export const BUILDS = ["relaxed", "quads", "plain"] as const;

/** Name of a build. */
export type Build = typeof BUILDS[number];

const GUARD = 64;
const UNTOUCHED = 0xff; // a NaN in every float format, so that reading a guard shows too

/** One instance of a build; `clear` starts over with empty memory. */
export class Arena {
  readonly #memory = new WebAssembly.Memory({ initial: 160, maximum: 65536, shared: true });
  readonly #exports: WebAssembly.Exports;
  #next = HEAP_START;
  #guards: [start: number, end: number][] = [];

  constructor(build: Build) {
    const module = build === "plain" ? plain : relaxed;
    this.#exports = new WebAssembly.Instance(module, { env: { memory: this.#memory } }).exports;
    new Int32Array(this.#memory.buffer)[QUADS / 4] = build === "quads" ? 1 : 0;
  }

  /** Forgets all buffers. */
  clear(): void {
    this.#next = HEAP_START;
    this.#guards = [];
  }

  /** Address, a multiple of 64, of `bytes` bytes that hold `content` or else NaN patterns. */
  alloc(bytes: number, content?: ArrayBufferView): number {
    const address = this.#next + GUARD;
    const end = Math.ceil((address + bytes) / 64) * 64 + GUARD;
    const missing = Math.ceil((end - this.#memory.buffer.byteLength) / PAGE_BYTES);
    if (missing > 0) this.#memory.grow(missing);
    this.bytes(this.#next, end - this.#next).fill(UNTOUCHED);
    if (content) {
      const { buffer, byteOffset, byteLength } = content;
      this.bytes(address, byteLength).set(new Uint8Array(buffer, byteOffset, byteLength));
    }
    this.#guards.push([this.#next, address], [address + bytes, end]);
    this.#next = end;
    return address;
  }

  /** Address of a buffer that holds `content`. */
  put(content: ArrayBufferView): number {
    return this.alloc(content.byteLength, content);
  }

  /** A view of memory. */
  bytes(address: number, length: number): Uint8Array {
    return new Uint8Array(this.#memory.buffer, address, length);
  }

  /** A view of memory. */
  floats(address: number, length: number): Float32Array {
    return new Float32Array(this.#memory.buffer, address, length);
  }

  /** A tensor at `address`, as encoders want it; its first extent counts rows. */
  operand(address: number, dtype: DType, shape: readonly number[]): Operand {
    const rows = this.put(Int32Array.of(shape[0]!));
    return { shape, dtype, role: "dense", perToken: false, address, rows };
  }

  /** Executes a step, one worker after the other, and looks at all guards. */
  run({ kernel, args, scratchBytes = 0 }: EncodedStep, workers: number): void {
    const words = new Int32Array(STEP_WORDS);
    words.set(args, STEP_HEADER_WORDS);
    const step = this.put(words) + 4 * STEP_HEADER_WORDS;
    const scratch = Array.from({ length: workers }, () => this.alloc(scratchBytes));
    const cells = new Int32Array(this.#memory.buffer, 0, HEAP_START / 4);
    cells[SCRATCH_BASE / 4] = scratch[0]!;
    cells[SCRATCH_STRIDE / 4] = workers > 1 ? scratch[1]! - scratch[0]! : 0;
    const call = this.#exports[kernel] as (args: number, worker: number, workers: number) => void;
    for (let worker = 0; worker < workers; worker++) call(step, worker, workers);
    for (const [start, end] of this.#guards) {
      const hurt = this.bytes(start, end - start).findIndex((byte) => byte !== UNTOUCHED);
      assert(hurt < 0, `${kernel} wrote to ${start + hurt}, a guard from ${start} to ${end}`);
    }
  }
}

/** A weight matrix in exchange form, and what it stands for. */
export interface Weights {
  readonly layout: LayoutName;
  readonly rows: number;
  readonly cols: number;
  readonly bytes: Uint8Array;
  readonly values: Float32Array; // [rows, cols]
}

/** Weights nearest to `values` [rows, cols]. */
export function weightsOf(
  layout: LayoutName,
  rows: number,
  cols: number,
  values: Float32Array,
): Weights {
  return weightsFrom(layout, rows, cols, encodeRows(LAYOUTS[layout], values, cols));
}

/** Weights given in exchange form. */
export function weightsFrom(
  layout: LayoutName,
  rows: number,
  cols: number,
  bytes: Uint8Array,
): Weights {
  return { layout, rows, cols, bytes, values: decodeRows(LAYOUTS[layout], bytes, cols) };
}

/** Weights whose row `row` has Inf or NaN for a scale, or for its third weight. */
export function withSpecial(weights: Weights, row: number, value: number): Weights {
  const { layout, rows, cols } = weights;
  const bytes = weights.bytes.slice();
  const view = new DataView(bytes.buffer);
  const at = row * rowBytes(LAYOUTS[layout], cols);
  const half = Number.isNaN(value) ? 0x7e00 : value > 0 ? 0x7c00 : 0xfc00;
  if (layout === "f32") view.setFloat32(at + 8, value, true);
  else if (layout === "bf16") {
    view.setUint16(at + 4, half === 0x7e00 ? 0x7fc0 : half | 0x7f80, true);
  } else view.setUint16(at + ({ f16: 4, int6k: 208 }[layout as string] ?? 0), half, true);
  return weightsFrom(layout, rows, cols, bytes);
}

/** Packs in several chunks, each from a staging area of its own at an odd address. */
export function packWeights(arena: Arena, weights: Weights, workers: number): number {
  const { layout, rows, cols } = weights;
  const target = arena.alloc(packedBytes(layout, rows, cols));
  const stride = rowBytes(LAYOUTS[layout], cols);
  for (let firstRow = 0; firstRow < rows; firstRow += 3 * PACK_ROWS) {
    const endRow = Math.min(firstRow + 3 * PACK_ROWS, rows);
    const staging = new Uint8Array(2 + (endRow - firstRow) * stride);
    staging.set(weights.bytes.subarray(firstRow * stride, endRow * stride), 2);
    const source = arena.put(staging) + 2;
    arena.run(encodePack({ layout, source, target, firstRow, endRow, cols }), workers);
  }
  return target;
}

/** The values that quantized activations [tokens, cols] at `address` stand for. */
export function decodeActivations(
  arena: Arena,
  address: number,
  tokens: number,
  cols: number,
): Float64Array {
  const values = new Float64Array(tokens * cols);
  for (let i = 0; i < values.length; i++) {
    const k = i % cols;
    const block = address + ((k >> 5) * tokens + (i - k) / cols) * ACTIVATION_BLOCK_BYTES;
    const q = arena.bytes(block, 32)[k & 31]! << 24 >> 24;
    values[i] = q * arena.floats(block, 12)[8]!;
  }
  return values;
}
