/**
 * The matmul kernels, with the packing before them, against plain float64 loops, in both builds.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { matmulWasm } from "../kernels/matmul/wasm.ts";
import { activationBytes } from "../kernels/pack/layouts.ts";
import { quantizeActivationsWasm } from "../kernels/quantize_activations/wasm.ts";
import { LAYOUT_NAMES, type LayoutName, LAYOUTS } from "../quant/formats.ts";
import { normalNumbers, randomNumbers } from "./fixtures.ts";
import {
  Arena,
  BUILDS,
  decodeActivations,
  packWeights,
  type Weights,
  weightsFrom,
  weightsOf,
  withSpecial,
} from "./kernel_arena.ts";

const INTEGER = ["int4", "int4m", "int8"] as const;

/** Layouts with codes of five or six bits, or scales of two levels, and where their halves stand. */
const FINE = [["int4n", [0]], ["int5", [0]], ["int5m", [0, 2]], ["int4k", [0, 2]], ["int5k", [
  0,
  2,
]], ["int6k", [208]]] as const;

/** What a layout's terms are larger than their sum: codes and minimums, which lie apart. */
const SPREAD: Partial<Record<LayoutName, number>> = { int4m: 8, int5m: 16, int4k: 8, int5k: 16 };

/** A product, and the activations as the product saw them. */
interface Product {
  readonly out: Float32Array; // [tokens, rows]
  readonly seen: Float64Array; // [tokens, cols]
}

function multiply(
  arena: Arena,
  weights: Weights,
  x: Float32Array, // [tokens, cols]
  bias?: Float32Array,
  workers = 1,
): Product {
  const { layout, rows, cols } = weights;
  const tokens = x.length / cols;
  arena.clear();
  let input = arena.operand(arena.put(x), "f32", [tokens, cols]);
  let seen: Float64Array = Float64Array.from(x);
  if (LAYOUTS[layout].blockSize > 1) {
    const address = arena.alloc(activationBytes(tokens, cols));
    const output = arena.operand(address, "a8", [tokens, cols]);
    arena.run(quantizeActivationsWasm.encode([input], output, {}), workers);
    seen = decodeActivations(arena, address, tokens, cols);
    input = output;
  }
  const inputs = [input, arena.operand(packWeights(arena, weights, workers), layout, [rows, cols])];
  if (bias) inputs.push(arena.operand(arena.put(bias), "f32", [rows]));
  const out = arena.alloc(4 * tokens * rows);
  arena.run(
    matmulWasm.encode(inputs, arena.operand(out, "f32", [tokens, rows]), {}),
    workers,
  );
  return { out: arena.floats(out, tokens * rows).slice(), seen };
}

/**
 * Every element within a few roundings of float64, relative to the sum of its terms' magnitudes,
 * which for `int4m` are d·q·x and m·x; not finite where float64 is not.
 */
function assertProduct(
  label: string,
  weights: Weights,
  { out, seen }: Product,
  bias?: Float32Array,
): void {
  const { layout, rows, cols, values } = weights;
  const bound = 4e-7 + 6e-8 * Math.sqrt(cols);
  for (let i = 0; i < out.length; i++) {
    const n = i % rows;
    const t = (i - n) / rows;
    let sum = bias ? bias[n]! : 0;
    let size = Math.abs(sum);
    for (let k = 0; k < cols; k++) {
      const term = seen[t * cols + k]! * values[n * cols + k]!;
      sum += term;
      size += Math.abs(term) * (SPREAD[layout] ?? 1);
    }
    const place = `${label} [${t}, ${n}]: ${out[i]}, expected ${sum}`;
    if (Number.isFinite(sum)) assert(Math.abs(out[i]! - sum) <= bound * size + 1e-37, place);
    else assert(!Number.isFinite(out[i]), place);
  }
}

/** Rows, columns, tokens: ones, odd ones, one more and one less than a block, a panel, a task. */
const SHAPES: readonly (readonly [number, number, number])[] = [
  ...[[1, 1, 1], [2, 3, 2], [3, 31, 5], [5, 32, 3], [7, 33, 17], [8, 64, 7], [9, 40, 9]] as const,
  ...[[15, 100, 12], [16, 32, 1], [17, 68, 1], [31, 172, 16], [33, 7, 31], [40, 160, 33]] as const,
  ...[[64, 100, 64], [68, 64, 4], [100, 32, 6], [172, 96, 2], [130, 288, 13]] as const,
  ...[[23, 1100, 11], [36, 530, 61], [40, 64, 150], [300, 40, 65], [16, 1, 129]] as const,
];

for (const build of BUILDS) {
  const arena = new Arena(build);
  const random = randomNumbers(2024);

  for (const layout of LAYOUT_NAMES) {
    Deno.test(`matmul: ${layout} agrees with float64 on awkward shapes (${build})`, () => {
      SHAPES.forEach(([rows, cols, tokens], i) => {
        const weights = weightsOf(layout, rows, cols, normalNumbers(rows * cols, random));
        const x = normalNumbers(tokens * cols, random);
        const bias = i % 2 ? normalNumbers(rows, random) : undefined;
        const product = multiply(arena, weights, x, bias, 1 + i % 3);
        assertProduct(`${rows}×${cols}, ${tokens} tokens`, weights, product, bias);
      });
    });

    Deno.test(`matmul: ${layout} is the same for any number of workers (${build})`, () => {
      for (const [rows, tokens] of [[100, 1], [100, 6], [100, 70], [300, 130]] as const) {
        const weights = weightsOf(layout, rows, 96, normalNumbers(rows * 96, random));
        const x = normalNumbers(tokens * 96, random);
        const { out } = multiply(arena, weights, x);
        for (const workers of [2, 3, 11]) {
          assertEquals(multiply(arena, weights, x, undefined, workers).out, out);
        }
      }
    });

    Deno.test(`matmul: ${layout} keeps NaN and Inf to their rows (${build})`, () => {
      const [rows, cols] = [37, 70];
      for (const tokens of [1, 3, 14]) {
        for (const value of [NaN, Infinity, -Infinity]) {
          const clean = weightsOf(layout, rows, cols, normalNumbers(rows * cols, random));
          const x = normalNumbers(tokens * cols, random);
          for (const row of [0, 21, 36]) {
            const weights = withSpecial(clean, row, value);
            assertProduct(`weight ${value}`, weights, multiply(arena, weights, x, undefined, 2));
          }
          x[x.length - 1] = value;
          assertProduct(`x ${value}`, clean, multiply(arena, clean, x, undefined, 2));
        }
      }
    });

    Deno.test(`matmul: ${layout} is exact at large and small magnitudes (${build})`, () => {
      for (const [size, xSize] of [[1e3, 1e30], [3e-4, 1e-30], [1, 1e-38], [1e3, 3e32], [1, 4e4]]) {
        for (const tokens of [1, 5]) {
          const values = normalNumbers(19 * 65, random).map((value) => value * size!);
          const weights = weightsOf(layout, 19, 65, values);
          const x = normalNumbers(tokens * 65, random).map((value) => value * xSize!);
          assertProduct(`${size} · ${xSize}`, weights, multiply(arena, weights, x));
        }
      }
    });
  }

  for (const [layout, halves] of FINE) {
    Deno.test(`matmul: ${layout} gives a token the same bits alone and among others (${build})`, () => {
      const [rows, cols, tokens] = [150, 600, 14];
      const weights = weightsOf(layout, rows, cols, normalNumbers(rows * cols, random));
      const x = normalNumbers(tokens * cols, random);
      const all = multiply(arena, weights, x, undefined, 3).out;
      for (const t of [0, 1, 13]) {
        const { out } = multiply(arena, weights, x.subarray(t * cols, (t + 1) * cols));
        assertEquals(out, all.slice(t * rows, (t + 1) * rows));
      }
    });

    Deno.test(`matmul: ${layout} does not overflow at extreme weights (${build})`, () => {
      const { blockBytes, blockSize } = LAYOUTS[layout], cols = 2 * blockSize;
      const bytes = new Uint8Array(80 * 2 * blockBytes), view = new DataView(bytes.buffer);
      for (let b = 0; b < 80 * 2; b++) {
        bytes.fill([0xff, 0x00, 0x80, 0x7f][b % 4]!, b * blockBytes, (b + 1) * blockBytes);
        for (const at of halves) view.setUint16(b * blockBytes + at, b % 3 ? 0x3c00 : 0xbc00, true);
      }
      const weights = weightsFrom(layout, 80, cols, bytes);
      for (const signs of [[1], [-1], [1, -1], [1, 1, -1, -1]]) {
        const same = Array.from({ length: cols }, (_, k) => signs[k % signs.length]!);
        const opposed = same.map((sign, k) => k & 16 ? -sign : sign);
        for (const tokens of [[same], [opposed], [same, opposed, same]]) {
          const x = Float32Array.from(tokens.flat());
          assertProduct(`signs ${signs}`, weights, multiply(arena, weights, x));
        }
      }
    });
  }

  for (const layout of INTEGER) {
    const { blockBytes } = LAYOUTS[layout];

    for (const [order, stride] of [["ascending", 1], ["mixed", 40503]] as const) {
      Deno.test(`matmul: ${layout} decodes all 65536 scales, ${order} (${build})`, () => {
        const [rows, blocks] = [8192, 8];
        const bytes = new Uint8Array(rows * blocks * blockBytes).map(() => random() * 256);
        const view = new DataView(bytes.buffer);
        for (let i = 0; i < 65536; i++) {
          let scale = i * stride & 0xffff;
          // Mixed: subnormals beside numbers below 64, so that a panel has a power of two to spare.
          if (stride > 1) scale &= 0xd7ff;
          view.setUint16(i * blockBytes, scale, true);
          if (layout === "int4m") view.setUint16(i * blockBytes + 2, scale ^ 0x8003, true);
        }
        const weights = weightsFrom(layout, rows, 32 * blocks, bytes);
        // Token t meets only the scales of block t.
        const x = new Float32Array(blocks * 32 * blocks);
        for (let t = 0; t < blocks; t++) {
          x.set(normalNumbers(32, random), t * 32 * blocks + t * 32);
        }
        assertProduct("all tokens", weights, multiply(arena, weights, x));
        const one = x.subarray(5 * 32 * blocks, 6 * 32 * blocks);
        assertProduct("one token", weights, multiply(arena, weights, one));
      });
    }

    Deno.test(`matmul: ${layout} does not overflow at extreme weights (${build})`, () => {
      const fills = layout === "int8" ? [0x80, 0x7f, 0x81] : [0xff, 0x00, 0xf0, 0x0f];
      const bytes = new Uint8Array(32 * 3 * blockBytes);
      const view = new DataView(bytes.buffer);
      for (let b = 0; b < 32 * 3; b++) {
        const [start, end] = [b * blockBytes, (b + 1) * blockBytes];
        bytes.fill(fills[b % fills.length]!, start + (layout === "int4m" ? 4 : 2), end);
        view.setUint16(start, b % 2 ? 0xbc00 : 0x3c00, true); // −1, 1
      }
      const weights = weightsFrom(layout, 32, 96, bytes);
      for (const signs of [[1], [-1], [1, -1], [1, 1, -1, -1]]) {
        const same = Array.from({ length: 96 }, (_, k) => signs[k % signs.length]!);
        const opposed = same.map((sign, k) => k & 16 ? -sign : sign);
        for (const tokens of [[same], [opposed], [same, opposed, same, opposed, opposed]]) {
          const x = Float32Array.from(tokens.flat());
          assertProduct(`signs ${signs}`, weights, multiply(arena, weights, x));
        }
      }
    });
  }

  for (const [order, stride] of [["ascending", 1], ["mixed", 40503]] as const) {
    Deno.test(`matmul: f16 decodes all 65536 halves, ${order} (${build})`, () => {
      const [rows, cols] = [512, 128];
      const halves = Uint16Array.from({ length: 65536 }, (_, i) => {
        return stride > 1 ? i * stride & 0xd7ff : i;
      });
      const weights = weightsFrom("f16", rows, cols, new Uint8Array(halves.buffer));
      for (const k of [0, 3, 77, 127]) {
        for (const tokens of [1, 5]) {
          const x = new Float32Array(tokens * cols);
          for (let t = 0; t < tokens; t++) x[t * cols + k] = 1;
          const { out } = multiply(arena, weights, x);
          for (let n = 0; n < rows; n++) {
            const row = weights.values.subarray(n * cols, (n + 1) * cols);
            if (row.every(Number.isFinite)) assertEquals(out[n], row[k]! + 0);
            else assert(!Number.isFinite(out[n]));
          }
        }
      }
    });
  }
}
