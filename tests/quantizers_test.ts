/** The WebAssembly module that makes weights smaller, beside the definitions in quant/. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { InputError } from "../errors.ts";
import { ggmlType } from "../quant/ggml_types.ts";
import { driftCorrection, errorFlow, followDrift, gptqRows } from "../quant/gptq.ts";
import { QUANTIZED_TYPES, quantizeRows } from "../quant/quantize.ts";
import { openDraft } from "../quantize/draft.ts";
import { addProducts, mirror, noProducts } from "../quantize/products.ts";
import { encodeTensor } from "../quantize/wasm/encode.ts";
import {
  addSums,
  correctionOf,
  divideSums,
  flowOf,
  gptqTensor,
  meansOf,
  noSums,
} from "../quantize/wasm/gptq.ts";
import { type Pool, startQuantizers } from "../quantize/wasm/pool.ts";
import type { TensorEntry } from "../runtime/files/model_file.ts";
import { openSource } from "../runtime/files/source.ts";
import { normalNumbers, randomNumbers } from "./fixtures.ts";
import { EDGES, IMPORTANCES, ROWS, rowsOf, WEIGHTED_TYPES } from "./quantize_rows.ts";

/** Bytes that `write` has put into a draft's only tensor, of F32 numbers in memory or in a file. */
async function written(
  values: Float32Array,
  shape: readonly number[],
  type: string,
  write: (entry: TensorEntry, draft: Awaited<ReturnType<typeof openDraft>>) => Promise<void>,
  inFile = false,
): Promise<Uint8Array> {
  const folder = await Deno.makeTempDir();
  try {
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    if (inFile) Deno.writeFileSync(`${folder}/source`, bytes);
    const source = await openSource(inFile ? `${folder}/source` : bytes);
    const entry = { name: "x", shape, type: "F32", source, offset: 0, bytes: bytes.length };
    await using draft = await openDraft({
      ...{ path: `${folder}/a.gguf`, terms: {}, fields: [], resume: false },
      tensors: [{ name: "x", shape, type }],
    });
    await write(entry, draft);
    source.close();
    const { offset, bytes: length } = draft.placeOf("x");
    return (await draft.source.read(offset, length)).slice();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function withPool(threads: number, body: (pool: Pool) => Promise<void>): Promise<void> {
  using pool = await startQuantizers({ threads });
  await body(pool);
  await pool.closeFiles();
}

Deno.test("encodeTensor gives the bytes of quantizeRows, to nearest and under importances", async () => {
  await withPool(2, async (pool) => {
    for (const type of QUANTIZED_TYPES) {
      for (const [name, kind] of Object.entries({ ...ROWS, ...EDGES })) {
        const values = rowsOf(kind, 6 * 512, 1);
        // Halves of these would be refused.
        if (type === "F16" && values.some((it) => Math.abs(it) > 60000)) continue;
        const nearest = await written(
          values,
          [6, 512],
          type,
          (entry, draft) => encodeTensor(pool, entry, type, draft),
          true,
        );
        assertEquals(
          nearest.toBase64(),
          quantizeRows(type, values, 512).toBase64(),
          `${type} ${name}`,
        );
      }
    }
    const columns = 512;
    for (const type of WEIGHTED_TYPES) {
      for (const [name, kind] of Object.entries({ ...ROWS, ...EDGES })) {
        for (const [weighing, weights] of Object.entries(IMPORTANCES)) {
          const values = rowsOf(kind, 2 * columns, 2), importances = rowsOf(weights, columns, 3);
          const bytes = await written(
            values,
            [2, columns],
            type,
            (entry, draft) =>
              encodeTensor(pool, entry, type, draft, { matrices: 1, meanSquares: importances }),
          );
          assertEquals(
            bytes.toBase64(),
            quantizeRows(type, values, columns, { importances }).toBase64(),
            `${type} ${name} ${weighing}`,
          );
        }
      }
    }
  });
});

Deno.test("encodeTensor: large tensors, stacks, other types as the source, what cannot be held", async () => {
  await withPool(3, async (pool) => {
    const random = randomNumbers(4), values = normalNumbers(2 * 700 * 1024, random);
    const own = normalNumbers(2 * 1024, random).map(Math.abs);
    const bytes = await written(
      values,
      [2, 700, 1024],
      "Q8_0",
      (entry, draft) => encodeTensor(pool, entry, "Q8_0", draft),
      true,
    );
    assertEquals(bytes, quantizeRows("Q8_0", values, 1024));
    const few = values.subarray(0, 2 * 3 * 1024);
    const stack = await written(
      few,
      [2, 3, 1024],
      "Q4_0",
      (entry, draft) => encodeTensor(pool, entry, "Q4_0", draft, { matrices: 2, meanSquares: own }),
    );
    const half = few.length / 2;
    for (const i of [0, 1]) {
      const importances = own.slice(1024 * i, 1024 * (i + 1));
      const expected = quantizeRows("Q4_0", few.subarray(half * i, half * (i + 1)), 1024, {
        importances,
      });
      assertEquals(stack.subarray(expected.length * i, expected.length * (i + 1)), expected);
    }
    for (const wrong of [NaN, Infinity, -Infinity, 1e30]) {
      const broken = few.slice();
      broken[1500] = wrong;
      for (const type of QUANTIZED_TYPES) {
        if (["F32", "F16", "BF16"].includes(type)) continue;
        const encode = (importances?: { matrices: number; meanSquares: Float32Array }) => () =>
          written(
            broken,
            [6, 1024],
            type,
            (entry, draft) => encodeTensor(pool, entry, type, draft, importances),
          );
        await assertRejects(encode(), InputError, `Cannot encode ${type}: element`);
        const meanSquares = new Float32Array(1024).fill(1);
        await assertRejects(
          encode({ matrices: 1, meanSquares }),
          InputError,
          `Cannot encode ${type}`,
        );
      }
    }
  });
});

/** A row of an f32 matrix `[n, n]` in panels of eight columns, `32 n + 64` bytes apart. */
function rowInPanels(pool: Pool, at: number, n: number, row: number): Float32Array {
  const line = new Float32Array(n);
  for (let j = 0; j < n; j += 8) {
    line.set(pool.floats(at + (32 * n + 64) * j / 8 + 32 * row, 8), j);
  }
  return line;
}

/** Inputs `[count, columns]` that hang together, as those of a model do. */
function inputsOf(count: number, columns: number, seed: number): Float32Array {
  const random = randomNumbers(seed), common = normalNumbers(count * 8, random);
  const mix = normalNumbers(8 * columns, random), own = normalNumbers(count * columns, random);
  return own.map((it, at) => {
    const t = Math.floor(at / columns), j = at % columns;
    for (let k = 0; k < 8; k++) it += common[t * 8 + k]! * mix[k * columns + j]!;
    return it;
  });
}

Deno.test("sums, their factor and its flow are those of the definition, on any number of threads", async () => {
  for (const [columns, threads] of [[172, 1], [320, 2], [64, 3]] as const) {
    await withPool(threads, async (pool) => {
      const x = inputsOf(300, columns, 5);
      const noise = normalNumbers(x.length, randomNumbers(6)),
        z = x.map((it, i) => it + 0.1 * noise[i]!);
      const products = noProducts(columns), sums = noSums(pool, columns, true), { n } = sums;
      for (const [from, end] of [[0, 170], [170, 300]] as const) {
        const [a, b] = [x, z].map((it) => it.slice(from * columns, end * columns));
        addProducts(products, a!, b!);
        await addSums(pool, sums, a!, b!);
      }
      mirror(products);
      assertEquals(sums.count, 300);
      // Inputs are rounded to 12 bits; what follows from their sums is compared on the same sums.
      const scale = Math.max(...products.sums), found = noProducts(columns);
      for (let i = 0; i < columns; i++) {
        const line = pool.doubles(sums.sums! + 8 * n * i, n),
          off = rowInPanels(pool, sums.drift!, n, i);
        found.sums.set(line.subarray(0, columns), columns * i);
        found.drift.set(off.subarray(0, columns), columns * i);
        for (let j = 0; j < columns; j++) {
          if (j >= i) assert(Math.abs(line[j]! - products.sums[i * columns + j]!) < 1e-4 * scale);
          assert(Math.abs(off[j]! - products.drift[i * columns + j]!) < 1e-4 * scale);
        }
        assert(Math.abs(sums.squares[i]! - products.squares[i]!) <= 1e-6 * scale);
      }
      mirror(found);
      const flow = errorFlow(found.sums, columns), own = await flowOf(pool, sums);
      const greatest = flow.upper.reduce((most, it) => Math.max(most, Math.abs(it)), 0);
      for (let i = 0; i < columns; i++) {
        const line = rowInPanels(pool, own.upper, n, i);
        for (let j = i; j < columns; j++) { // nothing reads what is below
          const off = Math.abs(line[j]! - flow.upper[i * columns + j]!);
          assert(off < 1e-4 * greatest, `${i} ${j}: ${line[j]} ${flow.upper[i * columns + j]}`);
        }
      }
      const correction = driftCorrection(found.drift, flow);
      const at = (await correctionOf(pool, own, n + 1))!;
      const most = correction.reduce((most, it) => Math.max(most, Math.abs(it)), 0);
      for (let i = 0; i < columns; i++) {
        const line = rowInPanels(pool, at, n, i);
        for (let j = 0; j < columns; j++) {
          assert(Math.abs(line[j]! - correction[i * columns + j]!) < 1e-3 * most);
        }
      }
    });
  }
});

Deno.test("gptqTensor loses what gptqRows loses, with either way of following the drift", async () => {
  await withPool(2, async (pool) => {
    for (const type of WEIGHTED_TYPES) {
      const columns = 256, rows = 45, x = inputsOf(400, columns, 7);
      const noise = normalNumbers(x.length, randomNumbers(8)),
        z = x.map((it, i) => it + 0.1 * noise[i]!);
      const values = normalNumbers(rows * columns, randomNumbers(9));
      const scales = Float32Array.from({ length: columns }, (_, j) => 0.5 + (j % 7) / 4);
      const products = noProducts(columns);
      addProducts(products, x, z);
      mirror(products);
      for (let i = 0; i < columns; i++) {
        for (let j = 0; j < columns; j++) {
          products.sums[i * columns + j]! /= scales[i]! * scales[j]!;
          products.drift[i * columns + j]! /= scales[i]! * scales[j]!;
        }
      }
      const flow = errorFlow(products.sums, columns);
      const scaled = values.map((it, i) => it * scales[i % columns]!);
      const followed = followDrift(scaled, driftCorrection(products.drift, flow), columns);
      /** Σ (x·(w − ŵ))² over inputs and rows. */
      const loss = (bytes: Uint8Array): number => {
        const decoded = new Float32Array(values.length);
        ggmlType(type)!.decode(bytes, decoded);
        let sum = 0;
        for (let t = 0; t < 400; t++) {
          for (let row = 0; row < rows; row++) {
            let exact = 0, found = 0;
            for (let j = 0; j < columns; j++) {
              exact += z[t * columns + j]! * values[row * columns + j]!;
              found += x[t * columns + j]! * decoded[row * columns + j]! / scales[j]!;
            }
            sum += (exact - found) ** 2;
          }
        }
        return sum;
      };
      const expected = loss(gptqRows(type, followed, flow));
      const first = new Map<number, string>();
      for (const [shown, inFile] of [[0, false], [columns + 1, true], [0, true]] as const) {
        const mark = pool.mark(), sums = noSums(pool, columns, true);
        await addSums(pool, sums, x, z);
        await divideSums(pool, sums, scales);
        const means = meansOf(sums);
        assert(Math.abs(means[3]! * 400 / products.sums[3 * columns + 3]! - 1) < 1e-5);
        const own = await flowOf(pool, sums), correction = await correctionOf(pool, own, shown);
        const bytes = await written(
          values,
          [rows, columns],
          type,
          (entry, draft) => gptqTensor(pool, entry, type, draft, own, correction, scales),
          inFile,
        );
        const found = loss(bytes);
        assert(found < 1.03 * expected, `${type}: ${found}, by definition ${expected}`);
        assertEquals(bytes.toBase64(), first.get(shown) ?? bytes.toBase64());
        first.set(shown, bytes.toBase64());
        pool.release(mark);
      }
    }
  });
});
