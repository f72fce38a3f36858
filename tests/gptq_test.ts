import { assert, assertEquals, assertThrows } from "@std/assert";
import { InputError, ShapeError } from "../errors.ts";
import { ggmlType } from "../quant/ggml_types.ts";
import { driftCorrection, errorFlow, followDrift, gptqRows } from "../quant/gptq.ts";
import { GRIDS } from "../quant/grids.ts";
import { quantizeRows } from "../quant/quantize.ts";
import { normalNumbers, randomNumbers } from "./fixtures.ts";

/** Inputs `[count, columns]` whose columns depend on each other, and differ in size. */
function inputsOf(count: number, columns: number, seed: number): Float32Array {
  const random = randomNumbers(seed), hidden = 24;
  const mix = normalNumbers(hidden * columns, random);
  const sizes = normalNumbers(columns, random).map((it) => Math.exp(it));
  const inputs = new Float32Array(count * columns);
  for (let i = 0; i < count; i++) {
    const z = normalNumbers(hidden, random), noise = normalNumbers(columns, random);
    for (let j = 0; j < columns; j++) {
      let sum = 0.3 * noise[j]!;
      for (let h = 0; h < hidden; h++) sum += z[h]! * mix[h * columns + j]! / Math.sqrt(hidden);
      inputs[i * columns + j] = sum * sizes[j]!;
    }
  }
  return inputs;
}

function productsOf(inputs: Float32Array, columns: number): Float64Array {
  const products = new Float64Array(columns * columns);
  for (let at = 0; at < inputs.length; at += columns) {
    for (let i = 0; i < columns; i++) {
      for (let j = 0; j < columns; j++) {
        products[i * columns + j]! += inputs[at + i]! * inputs[at + j]!;
      }
    }
  }
  return products;
}

/** Σ ((W − Ŵ)·x)² over rows and inputs, from Σ x·xᵀ. */
function productError(
  values: Float32Array,
  type: string,
  bytes: Uint8Array,
  products: Float64Array,
  columns: number,
): number {
  const decoded = new Float32Array(values.length);
  ggmlType(type)!.decode(bytes, decoded);
  let error = 0;
  for (let at = 0; at < values.length; at += columns) {
    for (let i = 0; i < columns; i++) {
      let sum = 0;
      for (let j = 0; j < columns; j++) {
        sum += products[i * columns + j]! * (values[at + j]! - decoded[at + j]!);
      }
      error += sum * (values[at + i]! - decoded[at + i]!);
    }
  }
  return error;
}

for (const type of Object.keys(GRIDS)) {
  Deno.test(`gptqRows ${type}: products change less than under importances, on inputs of their own too`, () => {
    const columns = 256, rows = 12;
    const products = productsOf(inputsOf(600, columns, 1), columns);
    // Drawn with the same seed the mixture is the same; further rows are new inputs.
    const held = productsOf(inputsOf(1200, columns, 1).subarray(600 * columns), columns);
    const values = normalNumbers(rows * columns, randomNumbers(2));
    const importances = Float32Array.from(
      { length: columns },
      (_, j) => products[j * (columns + 1)]!,
    );
    const weighted = quantizeRows(type, values, columns, { importances });
    const gptq = gptqRows(type, values, errorFlow(products, columns));
    for (const [name, sums] of Object.entries({ products, held })) {
      const ours = productError(values, type, gptq, sums, columns);
      const theirs = productError(values, type, weighted, sums, columns);
      assert(ours < 0.7 * theirs, `${name}: ${ours} against ${theirs}`);
    }
  });
}

Deno.test("gptqRows: with inputs that do not depend on each other it is the search of importances", () => {
  const columns = 64, values = normalNumbers(4 * columns, randomNumbers(3));
  const products = new Float64Array(columns * columns);
  for (let j = 0; j < columns; j++) products[j * (columns + 1)] = 1 + j;
  for (const type of ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL"]) {
    const { importances } = errorFlow(products, columns, 0);
    importances.forEach((it, j) => assert(Math.abs(it - (1 + j)) < 1e-3));
    assertEquals(
      gptqRows(type, values, errorFlow(products, columns, 0)),
      quantizeRows(type, values, columns, { importances }),
      type,
    );
  }
});

Deno.test("errorFlow: Uᵀ·U is the inverse of the damped sums", () => {
  const n = 40, products = productsOf(inputsOf(100, n, 4), n);
  const { upper } = errorFlow(products, n, 0.01);
  let mean = 0;
  for (let j = 0; j < n; j++) mean += products[j * n + j]! / n;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let k = 0; k < n; k++) {
        const damped = products[i * n + k]! + (i === k ? 0.01 * mean : 0);
        let inverse = 0;
        for (let h = 0; h <= Math.min(k, j); h++) inverse += upper[h * n + k]! * upper[h * n + j]!;
        sum += damped * inverse;
      }
      assert(Math.abs(sum - (i === j ? 1 : 0)) < 1e-3, `${i} ${j} ${sum}`);
    }
  }
});

Deno.test("errorFlow: inputs that are always 0 or always the same, and too few of them", () => {
  const columns = 64, values = normalNumbers(2 * columns, randomNumbers(5));
  const few = inputsOf(3, columns, 6);
  for (let at = 0; at < few.length; at += columns) few[at + 5] = 0;
  for (const products of [productsOf(few, columns), new Float64Array(columns * columns)]) {
    const bytes = gptqRows("Q4_0", values, errorFlow(products, columns));
    const decoded = new Float32Array(values.length);
    ggmlType("Q4_0")!.decode(bytes, decoded);
    decoded.forEach((it, i) => assert(Math.abs(it - values[i]!) < 2, `${i}: ${it}, ${values[i]}`));
  }
});

Deno.test("gptqRows and errorFlow: what does not fit is refused", () => {
  const flow = errorFlow(new Float64Array(64 * 64), 64);
  assertThrows(
    () => gptqRows("F16", new Float32Array(64), flow),
    InputError,
    "expected one of Q4_0",
  );
  assertThrows(() => gptqRows("Q4_K", new Float32Array(64), flow), ShapeError, "a multiple of 256");
  assertThrows(() => gptqRows("Q4_0", new Float32Array(65), flow), ShapeError, "rows of 64");
  assertThrows(() => errorFlow(new Float64Array(63), 64), ShapeError, "64 × 64");
  assertThrows(() => errorFlow(new Float64Array(4).fill(NaN), 2), InputError, "NaN");
});

Deno.test("followDrift: on drifted inputs the products are as near to the exact ones as they can be", () => {
  const columns = 48, rows = 5, count = 400;
  const exact = inputsOf(count, columns, 8),
    noise = normalNumbers(count * columns, randomNumbers(9));
  const inputs = exact.map((it, i) => 0.9 * it + 0.1 * noise[i]!);
  const values = normalNumbers(rows * columns, randomNumbers(10));
  const drift = new Float64Array(columns * columns);
  for (let at = 0; at < inputs.length; at += columns) {
    for (let i = 0; i < columns; i++) {
      for (let j = 0; j < columns; j++) {
        drift[i * columns + j]! += (exact[at + i]! - inputs[at + i]!) * inputs[at + j]!;
      }
    }
  }
  const flow = errorFlow(productsOf(inputs, columns), columns, 1e-6);
  const follow = (drift: Float64Array, share?: number): Float32Array =>
    followDrift(values, driftCorrection(drift, flow, share), columns);
  const off = (weights: Float32Array): number => {
    let error = 0;
    for (let at = 0; at < inputs.length; at += columns) {
      for (let r = 0; r < rows; r++) {
        let sum = 0;
        for (let j = 0; j < columns; j++) {
          sum += weights[r * columns + j]! * inputs[at + j]! -
            values[r * columns + j]! * exact[at + j]!;
        }
        error += sum * sum;
      }
    }
    return error;
  };
  const whole = off(follow(drift, 1)),
    half = off(follow(drift));
  assert(whole < half && half < off(values), `${whole}, ${half}, ${off(values)}`);
  // No weights in the neighbourhood are nearer.
  const best = follow(drift, 1), random = randomNumbers(11);
  for (let i = 0; i < 40; i++) {
    const other = best.slice();
    other[Math.floor(random() * other.length)]! += 0.02 * (random() - 0.5);
    assert(off(other) >= whole * (1 - 1e-6));
  }
  assertEquals(follow(new Float64Array(columns * columns)), values);
});
