/**
 * The kernels around the matmuls: quantized activations bit by bit, and rows of packed tables.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { embedWasm } from "../kernels/embed/wasm.ts";
import { ACTIVATION_BLOCK_BYTES, activationBytes } from "../kernels/pack/layouts.ts";
import { quantizeActivationsWasm } from "../kernels/quantize_activations/wasm.ts";
import { LAYOUT_NAMES } from "../quant/formats.ts";
import { normalNumbers, randomNumbers } from "./fixtures.ts";
import {
  Arena,
  BUILDS,
  decodeActivations,
  packWeights,
  weightsOf,
  withSpecial,
} from "./kernel_arena.ts";

const SHAPES = [[1, 1, 1], [3, 33, 2], [7, 64, 3], [2, 100, 4], [5, 31, 1]] as const;

for (const build of BUILDS) {
  const arena = new Arena(build);
  const random = randomNumbers(7);

  Deno.test(`quantizeActivations: blocks are what their definition says (${build})`, () => {
    for (const [tokens, cols, workers] of SHAPES) {
      for (const size of [1, 1e-42, 1e-36, 1e-30, 1e37, 0]) {
        const x = normalNumbers(tokens * cols, random).map((value) => value * size);
        if (size === 1) x[cols - 1] = [NaN, Infinity, -Infinity, 5][tokens % 4]!;
        arena.clear();
        const input = arena.operand(arena.put(x), "f32", [tokens, cols]);
        const address = arena.alloc(activationBytes(tokens, cols));
        const output = arena.operand(address, "a8", [tokens, cols]);
        arena.run(quantizeActivationsWasm.encode([input], output, {}), workers);
        const values = decodeActivations(arena, address, tokens, cols);
        for (let block = 0; block < tokens * Math.ceil(cols / 32); block++) {
          const t = block % tokens;
          const start = t * cols + 32 * (block - t) / tokens;
          const end = Math.min(start + 32, (t + 1) * cols);
          checkBlock(
            arena.bytes(address + block * ACTIVATION_BLOCK_BYTES, ACTIVATION_BLOCK_BYTES).slice(),
            x.subarray(start, end),
            values.subarray(start, end),
          );
        }
      }
    }
  });

  for (const layout of LAYOUT_NAMES) {
    Deno.test(`embed: ${layout} reads rows of the packed table (${build})`, () => {
      for (const [rows, cols] of [[1, 1], [17, 33], [40, 64], [9, 100]] as const) {
        let table = weightsOf(layout, rows, cols, normalNumbers(rows * cols, random));
        if (rows > 30) table = withSpecial(table, 21, Infinity);
        const ids = Int32Array.from({ length: rows + 2 }, (_, i) => (i * 7 + 3) % rows);
        arena.clear();
        const inputs = [
          arena.operand(arena.put(ids), "i32", [ids.length]),
          arena.operand(packWeights(arena, table, 3), layout, [rows, cols]),
        ];
        const address = arena.alloc(4 * ids.length * cols);
        const output = arena.operand(address, "f32", [ids.length, cols]);
        arena.run(embedWasm.encode(inputs, output, {}), 3);
        ids.forEach((id, t) => {
          const found = arena.floats(address + 4 * t * cols, cols).slice();
          const row = table.values.slice(id * cols, (id + 1) * cols);
          if (layout !== "int4m" || id === 21 && rows > 30) assertSame(found, row);
          else row.forEach((value, k) => assert(Math.abs(found[k]! - value) < 1e-6)); // d·q + m
        });
      }
    });
  }
}

/** Equal bit by bit, but for the sign of zero, and where infinities and NaN have met. */
function assertSame(found: Float32Array, expected: Float32Array): void {
  const plain = (values: Float32Array) =>
    Array.from(values, (value) => Number.isFinite(value) ? value + 0 : "not finite");
  assertEquals(plain(found), plain(expected));
}

/** `block` holds `x`, up to 32 activations, which it represents by `values`. */
function checkBlock(block: Uint8Array, x: Float32Array, values: Float64Array): void {
  const q = new Int8Array(block.buffer, 0, 32);
  const fields = new DataView(block.buffer);
  const max = x.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  const d = Math.fround(max / 127);
  assert(q.subarray(x.length).every((value) => value === 0), "padding is zero");
  const sum = q.reduce((a, b) => a + b, 0);
  const early = q.reduce((a, b, k) => k & 2 ? a : a + b, 0);
  const low = q.slice(0, 16).reduce((a, b) => a + b, 0);
  const parts = [fields.getInt16(36, true), fields.getInt16(38, true)];
  assertEquals(parts, [-8 * low, -8 * (sum - low)]);
  assertEquals(fields.getInt32(44, true), -128 * early);
  if (!Number.isFinite(max)) {
    assert(values.every(Number.isNaN), `${values} in a block with ${max}`);
    return;
  }
  assertEquals(fields.getFloat32(32, true), d);
  assertEquals(fields.getFloat32(40, true), Math.fround(d * sum));
  x.forEach((value, i) => {
    // Half a step, and what rounding does to the smallest steps.
    const error = Math.abs(values[i]! - value);
    assert(error <= 0.5001 * d + 1e-43, `${values[i]}, expected ${value}, step ${d}`);
  });
}
