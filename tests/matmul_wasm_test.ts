/**
 * The matmul kernels against plain float64 loops: packing, quantized activations, products and
 * table rows, on awkward shapes, in both builds, with guard bytes around every buffer.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { decodeRows, encodeRows, type LayoutName, LAYOUTS, rowBytes } from "../quant/formats.ts";
import { ACTIVATION_BLOCK_BYTES, activationBytes, packedBytes } from "../kernels/pack/layouts.ts";
import { matmulScratchBytes } from "../kernels/matmul/wasm.ts";
import { instantiateKernels, type KernelInstance } from "./kernel_instance.ts";
import { normalNumbers, randomNumbers } from "./fixtures.ts";

const GUARD = 64;
const NAMES: Record<LayoutName, string> = {
  f32: "F32",
  f16: "F16",
  bf16: "Bf16",
  int8: "Int8",
  int4: "Int4",
  int4m: "Int4m",
};
const INTEGER = ["int4", "int4m", "int8"] as const;
const FLOAT = ["f32", "f16", "bf16"] as const;
const ALL = [...INTEGER, ...FLOAT] as const;

/** Buffers in kernel memory, each 64-byte aligned with guard bytes before and right behind it. */
class Arena {
  readonly #kernels: KernelInstance;
  #next: number;
  #guards: [number, number][] = [];

  constructor(kernels: KernelInstance) {
    this.#kernels = kernels;
    this.#next = kernels.heapStart;
  }

  /** `bytes` of memory filled with NaN patterns; grows the memory where needed. */
  alloc(bytes: number, content?: ArrayBufferView): number {
    const address = this.#next + GUARD;
    const end = Math.ceil((address + bytes) / 64) * 64 + GUARD;
    this.#kernels.reserve(end);
    const memory = this.bytes(this.#next, end - this.#next);
    memory.fill(0xff);
    if (content) {
      memory.set(
        new Uint8Array(content.buffer, content.byteOffset, content.byteLength),
        address - this.#next,
      );
    }
    this.#guards.push([this.#next, address], [address + bytes, end]);
    this.#next = end;
    return address;
  }

  bytes(address: number, length: number): Uint8Array {
    return new Uint8Array(this.#kernels.memory.buffer, address, length);
  }

  floats(address: number, length: number): Float32Array {
    return new Float32Array(this.#kernels.memory.buffer, address, length);
  }

  /** Runs a kernel once for each worker, one after the other, and looks at the guards. */
  run(name: string, workers: number, ...args: number[]): void {
    const step = this.alloc(96, new Int32Array(24).fill(0).map((_, i) => i < 4 ? 0 : args[i - 4]!));
    for (let worker = 0; worker < workers; worker++) {
      this.#kernels.call(name, step + 16, worker, workers);
    }
    for (const [start, end] of this.#guards) {
      const hurt = this.bytes(start, end - start).findIndex((byte) => byte !== 0xff);
      assert(hurt < 0, `${name} wrote ${start + hurt}, guard of [${start}, ${end})`);
    }
  }
}

/** One matrix and what its rows stand for. */
interface Weights {
  readonly layout: LayoutName;
  readonly rows: number;
  readonly cols: number;
  /** Exchange form. */
  readonly bytes: Uint8Array;
  readonly values: Float32Array; // [rows, cols]
}

function weightsOf(layout: LayoutName, rows: number, cols: number, values: Float32Array): Weights {
  return fromBytes(layout, rows, cols, encodeRows(LAYOUTS[layout], values, cols));
}

function fromBytes(layout: LayoutName, rows: number, cols: number, bytes: Uint8Array): Weights {
  return { layout, rows, cols, bytes, values: decodeRows(LAYOUTS[layout], bytes, cols) };
}

/** Packs in chunks of `chunkRows`, each from a staging area of its own at an odd address. */
function pack(arena: Arena, w: Weights, workers: number, chunkRows = 48): number {
  const target = arena.alloc(packedBytes(w.layout, w.rows, w.cols));
  const stride = rowBytes(LAYOUTS[w.layout], w.cols);
  for (let row = 0; row < w.rows; row += chunkRows) {
    const end = Math.min(row + chunkRows, w.rows);
    const shifted = new Uint8Array(2 + (end - row) * stride);
    shifted.set(w.bytes.subarray(row * stride, end * stride), 2);
    const source = arena.alloc(shifted.length, shifted) + 2;
    arena.run(`pack${NAMES[w.layout]}`, workers, source, target, row, end, w.cols);
  }
  return target;
}

/** Runs the kernels; returns the product and the activations as the product saw them. */
function product(
  kernels: KernelInstance,
  w: Weights,
  x: Float32Array, // [tokens, cols]
  bias: Float32Array | undefined,
  workers: number,
): { out: Float32Array; seen: Float64Array } {
  const arena = new Arena(kernels);
  const tokens = x.length / w.cols;
  kernels.setScratch(arena.alloc(workers * SCRATCH), SCRATCH);
  const packed = pack(arena, w, workers);
  const count = arena.alloc(4, Int32Array.of(tokens));
  let input = arena.alloc(x.byteLength, x);
  const quantized = arena.alloc(activationBytes(tokens, w.cols));
  let seen: Float64Array = Float64Array.from(x);
  if (LAYOUTS[w.layout].blockSize > 1) {
    arena.run("quantizeActivations", workers, input, quantized, w.cols, count);
    input = quantized;
    seen = decodeActivations(arena, quantized, tokens, w.cols);
  }
  const out = arena.alloc(tokens * w.rows * 4);
  const biasAt = bias ? arena.alloc(bias.byteLength, bias) : 0;
  assert(matmulScratchBytes(w.layout, w.cols) <= SCRATCH);
  arena.run(`matmul${NAMES[w.layout]}`, workers, packed, input, out, biasAt, w.rows, w.cols, count);
  return { out: arena.floats(out, tokens * w.rows).slice(), seen };
}

const SCRATCH = 2 ** 20;

function decodeActivations(arena: Arena, at: number, tokens: number, cols: number): Float64Array {
  const values = new Float64Array(tokens * cols);
  for (let i = 0; i < values.length; i++) {
    const k = i % cols;
    const block = at + ((k >> 5) * tokens + (i - k) / cols) * ACTIVATION_BLOCK_BYTES;
    const q = arena.bytes(block, 32)[k & 31]! << 24 >> 24;
    values[i] = q * arena.floats(block, 12)[8]!;
  }
  return values;
}

/**
 * Every element within `bound` of float64, relative to the sum of its terms' magnitudes; not
 * finite where float64 is not.
 */
function assertProduct(
  label: string,
  w: Weights,
  got: { out: Float32Array; seen: Float64Array },
  bias: Float32Array | undefined,
): void {
  const tokens = got.seen.length / w.cols;
  const bound = 4e-7 + 6e-8 * Math.sqrt(w.cols);
  for (let t = 0; t < tokens; t++) {
    for (let n = 0; n < w.rows; n++) {
      let sum = bias ? bias[n]! : 0;
      let size = Math.abs(sum);
      for (let k = 0; k < w.cols; k++) {
        const term = got.seen[t * w.cols + k]! * w.values[n * w.cols + k]!;
        sum += term;
        // int4m adds d·q and m as separate terms, which may cancel.
        size += Math.abs(term) * (w.layout === "int4m" ? 8 : 1);
      }
      const value = got.out[t * w.rows + n]!;
      const where = `${label} [${t}, ${n}]: ${value}, expected ${sum}`;
      if (Number.isFinite(sum)) assert(Math.abs(value - sum) <= bound * size + 1e-37, where);
      else assert(!Number.isFinite(value), where);
    }
  }
}

for (const build of ["relaxed", "plain"] as const) {
  const kernels = instantiateKernels(build);
  const random = randomNumbers(2024);

  for (const layout of ALL) {
    Deno.test(`matmul${NAMES[layout]}() agrees with float64 on awkward shapes (${build})`, () => {
      const shapes: [number, number, number][] = [
        [1, 1, 1],
        [2, 3, 2],
        [3, 31, 5],
        [5, 32, 3],
        [7, 33, 17],
        [8, 64, 7],
        [9, 40, 9],
        [15, 100, 12],
        [16, 32, 1],
        [17, 68, 1],
        [31, 172, 16],
        [33, 7, 31],
        [40, 160, 33],
        [64, 100, 64],
        [68, 64, 4],
        [100, 32, 6],
        [172, 96, 2],
        [130, 288, 13],
        [23, 1100, 11],
        [36, 530, 61],
        [40, 64, 150],
      ];
      shapes.forEach(([rows, cols, tokens], i) => {
        const w = weightsOf(layout, rows, cols, normalNumbers(rows * cols, random));
        const x = normalNumbers(tokens * cols, random);
        const bias = i % 2 ? normalNumbers(rows, random) : undefined;
        const got = product(kernels, w, x, bias, 1 + i % 3);
        assertProduct(`${rows}×${cols}, ${tokens} tokens`, w, got, bias);
      });
    });

    Deno.test(`matmul${NAMES[layout]}() is the same for any number of workers (${build})`, () => {
      for (const tokens of [1, 6, 70]) {
        const w = weightsOf(layout, 100, 96, normalNumbers(9600, random));
        const x = normalNumbers(tokens * 96, random);
        const one = product(kernels, w, x, undefined, 1).out;
        for (const workers of [2, 3, 11]) {
          assertEquals(product(kernels, w, x, undefined, workers).out, one);
        }
      }
    });

    Deno.test(`matmul${NAMES[layout]}() keeps NaN and Inf to their rows (${build})`, () => {
      const [rows, cols] = [37, 70];
      for (const tokens of [1, 3, 14]) {
        for (const value of [NaN, Infinity, -Infinity]) {
          const x = normalNumbers(tokens * cols, random);
          x[(tokens - 1) * cols + cols - 1] = value;
          const clean = weightsOf(layout, rows, cols, normalNumbers(rows * cols, random));
          assertProduct(`x ${value}`, clean, product(kernels, clean, x, undefined, 2), undefined);
          const w = withSpecial(clean, 21, value);
          x[(tokens - 1) * cols + cols - 1] = 1;
          assertProduct(`w ${value}`, w, product(kernels, w, x, undefined, 2), undefined);
        }
      }
    });

    Deno.test(`matmul${NAMES[layout]}() holds its bound at large and small magnitudes (${build})`, () => {
      for (const [wSize, xSize] of [[1e3, 1e30], [3e-4, 1e-30], [1, 1e-38], [1e3, 3e32]] as const) {
        for (const tokens of [1, 5]) {
          const w = weightsOf(layout, 19, 65, normalNumbers(19 * 65, random).map((v) => v * wSize));
          const x = normalNumbers(tokens * 65, random).map((v) => v * xSize);
          const got = product(kernels, w, x, undefined, 1);
          assertProduct(`${wSize}·${xSize}, ${tokens} tokens`, w, got, undefined);
        }
      }
    });

    Deno.test(`embed${NAMES[layout]}() reads rows of the packed table (${build})`, () => {
      for (const [rows, cols] of [[1, 1], [17, 33], [40, 64], [9, 100]] as const) {
        let w = weightsOf(layout, rows, cols, normalNumbers(rows * cols, random));
        if (rows > 30) w = withSpecial(w, 21, Infinity);
        const arena = new Arena(kernels);
        kernels.setScratch(arena.alloc(3 * SCRATCH), SCRATCH);
        const table = pack(arena, w, 3);
        const ids = Int32Array.from({ length: rows + 2 }, (_, i) => (i * 7 + 3) % rows);
        const at = arena.alloc(ids.byteLength, ids);
        const count = arena.alloc(4, Int32Array.of(ids.length));
        const out = arena.alloc(ids.length * cols * 4);
        arena.run(`embed${NAMES[layout]}`, 3, at, table, out, cols, count);
        ids.forEach((id, t) => {
          const row = w.values.subarray(id * cols, (id + 1) * cols);
          const found = arena.floats(out + t * cols * 4, cols);
          for (let k = 0; k < cols; k++) {
            // int4m: one rounding more than the exact value has.
            const slack = layout === "int4m" ? 1e-6 * (Math.abs(row[k]!) + 1) : 0;
            assert(
              Object.is(found[k], row[k]) || Math.abs(found[k]! - row[k]!) <= slack ||
                !Number.isFinite(row[k]) && !Number.isFinite(found[k]),
              `${rows}×${cols} [${t}, ${k}]: ${found[k]}, expected ${row[k]}`,
            );
          }
        });
      }
    });
  }

  for (const layout of INTEGER) {
    Deno.test(`matmul${NAMES[layout]}() decodes all 65536 scales (${build})`, () => {
      const blockBytes = LAYOUTS[layout].blockBytes;
      const [rows, cols] = [4096, 16 * 32];
      const bytes = new Uint8Array(rows * 16 * blockBytes).map(() => random() * 256);
      const view = new DataView(bytes.buffer);
      const used = new Float32Array(32);
      for (let i = 0; i < 65536; i++) {
        view.setUint16(i * blockBytes, i, true);
        if (layout === "int4m") view.setUint16(i * blockBytes + 2, 65535 - i, true);
      }
      // One token per block of a row, which singles out one scale for each output.
      const w = fromBytes(layout, rows, cols, bytes);
      const x = new Float32Array(16 * cols);
      for (let t = 0; t < 16; t++) {
        used.set(normalNumbers(32, random));
        x.set(used, t * cols + t * 32);
      }
      for (const single of [false, true]) {
        const from = single ? x.subarray(5 * cols, 6 * cols) : x;
        const got = product(kernels, w, from, undefined, 1);
        const tokens = from.length / cols;
        for (let t = 0; t < tokens; t++) {
          const b = single ? 5 : t;
          for (let n = 0; n < rows; n++) {
            let [sum, size] = [0, 0];
            for (let k = b * 32; k < b * 32 + 32; k++) {
              const term = got.seen[t * cols + k]! * w.values[n * cols + k]!;
              sum += term;
              size += Math.abs(term);
            }
            const rowHasSpecial = w.values.subarray(n * cols, (n + 1) * cols).some((v) =>
              !Number.isFinite(v)
            );
            const value = got.out[t * rows + n]!;
            if (rowHasSpecial) assert(!Number.isFinite(value), `row ${n}: ${value}`);
            else {assert(
                Math.abs(value - sum) <= 4e-6 * size + 1e-37,
                `[${t}, ${n}]: ${value}, expected ${sum}`,
              );}
          }
        }
      }
    });

    Deno.test(`matmul${NAMES[layout]}() does not overflow at extreme weights (${build})`, () => {
      const blockBytes = LAYOUTS[layout].blockBytes;
      const bytes = new Uint8Array(32 * 3 * blockBytes);
      const view = new DataView(bytes.buffer);
      for (let b = 0; b < 32 * 3; b++) {
        const at = b * blockBytes;
        view.setUint16(at, b % 2 ? 0xbc00 : 0x3c00, true); // ±1
        const fill = layout === "int8"
          ? [0x80, 0x7f, 0x81][b % 3]!
          : [0xff, 0x00, 0xf0, 0x0f][b % 4]!;
        bytes.fill(fill, at + (layout === "int4m" ? 4 : 2), at + blockBytes);
      }
      const w = fromBytes(layout, 32, 96, bytes);
      for (const signs of [[1], [-1], [1, -1], [1, 1, -1, -1]]) {
        const half = Array.from(
          { length: 96 },
          (_, k) => (k & 16 ? -1 : 1) * signs[k % signs.length]!,
        );
        const same = half.map((_, k) => signs[k % signs.length]!);
        const x = Float32Array.from([...half, ...same, ...half, ...same, ...same]);
        for (const tokens of [1, 5]) {
          const got = product(kernels, w, x.subarray(0, tokens * 96), undefined, 1);
          assertProduct(`signs ${signs}`, w, got, undefined);
        }
      }
    });
  }

  Deno.test(`packF16() and matmulF16() are exact for every half (${build})`, () => {
    // Row r has 128 halves; an identity picks each. Panels with and without subnormals, and wide.
    const [rows, cols] = [512, 128];
    const orders = [(i: number) => i, (i: number) => (i * 40503) & 65535];
    for (const order of orders) {
      const halves = Uint16Array.from({ length: 65536 }, (_, i) => order(i));
      const w = fromBytes("f16", rows, cols, new Uint8Array(halves.buffer));
      for (const k of [0, 3, 77, 127]) {
        const x = new Float32Array(cols * 2).fill(0);
        x[k] = 1;
        x[cols + k] = 1;
        for (const tokens of [1, 2]) {
          const got = product(kernels, w, x.subarray(0, tokens * cols), undefined, 2);
          for (let n = 0; n < rows; n++) {
            const row = w.values.subarray(n * cols, (n + 1) * cols);
            const finite = row.every((v) => Number.isFinite(v));
            const value = got.out[n]!;
            if (finite) assertEquals(value, row[k]! + 0, `[${n}, ${k}]`);
            else assert(!Number.isFinite(value), `[${n}, ${k}]: ${value}`);
          }
        }
      }
    }
  });

  Deno.test(`quantizeActivations() agrees with its definition (${build})`, () => {
    for (
      const [tokens, cols, workers] of [[1, 1, 1], [3, 33, 2], [7, 64, 3], [2, 100, 4], [
        5,
        31,
        1,
      ]] as const
    ) {
      for (const size of [1, 1e-42, 1e-36, 1e-30, 1e37, 0]) {
        const x = normalNumbers(tokens * cols, random).map((v) => v * size);
        if (size === 1) x[cols - 1] = [NaN, Infinity, -Infinity, 5][tokens % 4]!;
        const arena = new Arena(kernels);
        kernels.setScratch(arena.alloc(workers * SCRATCH), SCRATCH);
        const out = arena.alloc(activationBytes(tokens, cols));
        const count = arena.alloc(4, Int32Array.of(tokens));
        arena.run("quantizeActivations", workers, arena.alloc(x.byteLength, x), out, cols, count);
        const seen = decodeActivations(arena, out, tokens, cols);
        for (let t = 0; t < tokens; t++) {
          for (let start = 0; start < cols; start += 32) {
            const group = x.subarray(t * cols + start, t * cols + Math.min(start + 32, cols));
            const max = group.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
            const d = Math.fround(max / 127);
            const block = out + ((start >> 5) * tokens + t) * ACTIVATION_BLOCK_BYTES;
            const q = new Int8Array(arena.bytes(block, 32).slice().buffer);
            assert(q.subarray(group.length).every((v) => v === 0), "padding is zero");
            const tail = arena.bytes(block + 32, 16).slice();
            const sum = q.reduce((a, b) => a + b, 0);
            const fields = new DataView(tail.buffer);
            group.forEach((v, i) => {
              const found = seen[t * cols + start + i]!;
              if (!Number.isFinite(max)) {
                assert(Number.isNaN(found), `${found} in a group with ${max}`);
              } else {assert(
                  Math.abs(found - v) <= 0.5001 * d + 1e-43,
                  `${found}, expected ${v}, d ${d}`,
                );}
            });
            if (Number.isFinite(max)) assertEquals(fields.getFloat32(0, true), d);
            assertEquals([fields.getInt16(4, true), fields.getInt16(6, true)], [
              -4 * sum,
              -4 * sum,
            ]);
            if (Number.isFinite(max)) {
              assertEquals(fields.getFloat32(8, true), Math.fround(d * sum));
            }
          }
        }
      }
    }
  });
}

/** The same weights with a scale (or weight) of row `row` replaced by `value`. */
function withSpecial(w: Weights, row: number, value: number): Weights {
  const bytes = w.bytes.slice();
  const view = new DataView(bytes.buffer);
  const at = row * rowBytes(LAYOUTS[w.layout], w.cols);
  if (w.layout === "f32") view.setFloat32(at + 8, value, true);
  else if (w.layout === "bf16") view.setUint16(at + 4, floatBits(value) >>> 16, true);
  else {view.setUint16(
      at + (w.layout === "f16" ? 4 : 0),
      Number.isNaN(value) ? 0x7e00 : value > 0 ? 0x7c00 : 0xfc00,
      true,
    );}
  return fromBytes(w.layout, w.rows, w.cols, bytes);
}

function floatBits(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0]!;
}
