import { assert, assertEquals, assertThrows } from "@std/assert";
import { InputError, ShapeError } from "../errors.ts";
import { ggmlType } from "../quant/ggml_types.ts";
import { QUANTIZED_TYPES, quantizeRows } from "../quant/quantize.ts";
import { FIXTURES, normalNumbers, randomNumbers } from "./fixtures.ts";
import {
  COMPARED,
  EDGES,
  IMPORTANCES,
  NEAREST_TYPES,
  ROWS,
  rowsOf,
  SEARCHED_TYPES,
  WEIGHTED_TYPES,
  weightedError,
} from "./quantize_rows.ts";

interface Golden {
  readonly nearest: Record<string, Record<string, string>>;
  readonly plain: Record<string, Record<string, number>>;
  readonly errors: Record<string, Record<string, Record<string, number>>>;
}

const golden: Golden = JSON.parse(
  Deno.readTextFileSync(new URL("golden/ggml_blocks.json", FIXTURES)),
);

function decoded(type: string, bytes: Uint8Array): Float32Array {
  const { blockSize, blockBytes, decode } = ggmlType(type)!;
  const out = new Float32Array(bytes.length / blockBytes * blockSize);
  decode(bytes, out);
  return out;
}

for (const type of NEAREST_TYPES) {
  Deno.test(`quantizeRows to nearest ${type}: the bytes are ggml's`, () => {
    for (const [name, kind] of Object.entries({ ...ROWS, ...EDGES })) {
      const bytes = quantizeRows(type, rowsOf(kind, 96, 1), 96);
      assertEquals(bytes.toBase64(), golden.nearest[type]![name], name);
    }
  });
}

for (const type of WEIGHTED_TYPES) {
  Deno.test(`quantizeRows with importances ${type}: the error is at most ggml's`, () => {
    const { rows, columns } = COMPARED;
    for (const [name, kind] of Object.entries(ROWS)) {
      const values = rowsOf(kind, rows * columns, 2);
      for (const [weighing, weights] of Object.entries(IMPORTANCES)) {
        const importances = rowsOf(weights, columns, 3);
        const bytes = quantizeRows(type, values, columns, { importances });
        const error = weightedError(values, decoded(type, bytes), importances);
        const theirs = golden.errors[type]![name]![weighing]!;
        // One number a hundred times the others leaves one code for all of these: searches differ by luck.
        const share = name === "spike" ? 1.02 : 1;
        assert(error <= theirs * share, `${name}, ${weighing}: ${error}, ggml ${theirs}`);
      }
    }
  });
}

for (const type of SEARCHED_TYPES) {
  Deno.test(`quantizeRows to nearest ${type}: the error is at most ggml's`, () => {
    const { rows, columns } = COMPARED, equal = new Float32Array(columns).fill(1);
    for (const [name, kind] of Object.entries(ROWS)) {
      const values = rowsOf(kind, rows * columns, 2);
      const error = weightedError(
        values,
        decoded(type, quantizeRows(type, values, columns)),
        equal,
      );
      const theirs = Math.min(golden.plain[type]![name]!, golden.errors[type]![name]!.equal!);
      const share = name === "spike" ? 1.02 : 1; // as above
      assert(error <= theirs * share, `${name}: ${error}, ggml ${theirs}`);
    }
  });
}

Deno.test("quantizeRows: equal importances never lose to rounding to nearest", () => {
  for (const type of NEAREST_TYPES) {
    for (const [name, kind] of Object.entries({ ...ROWS, ...EDGES })) {
      const values = rowsOf(kind, 256, 5), importances = new Float32Array(256).fill(1);
      const searched = decoded(type, quantizeRows(type, values, 256, { importances }));
      const nearest = decoded(type, quantizeRows(type, values, 256));
      const error = weightedError(values, searched, importances);
      assert(error <= weightedError(values, nearest, importances) * (1 + 1e-6), `${type} ${name}`);
    }
  }
});

Deno.test("quantizeRows: what a type already holds stays, rows are independent", () => {
  const random = randomNumbers(6);
  for (const type of QUANTIZED_TYPES) {
    const values = normalNumbers(3 * 512, random);
    const held = decoded(type, quantizeRows(type, values, 512));
    const again = decoded(type, quantizeRows(type, held, 512));
    const one = new Float32Array(1).fill(1), off = weightedError(held, again, one);
    // Scales of K-quants are searched, and others may be as good.
    const share = type.endsWith("_K") ? 1e-3 : 1e-6;
    assert(
      off <= share * weightedError(held, new Float32Array(held.length), one),
      `${type}: ${off}`,
    );
    const row = quantizeRows(type, values.subarray(512, 1024), 512);
    const whole = quantizeRows(type, values, 512);
    assertEquals(whole.subarray(row.length, 2 * row.length), row);
  }
});

Deno.test("quantizeRows: importances of zero, and columns that nothing else counts in", () => {
  const values = normalNumbers(512, randomNumbers(7)), none = new Float32Array(512);
  const equal = new Float32Array(512).fill(1);
  for (const type of WEIGHTED_TYPES) {
    const bytes = quantizeRows(type, values, 512, { importances: none });
    assertEquals(bytes, quantizeRows(type, values, 512, { importances: equal }), type);
    // One column of each 256 counts: it is met nearly exactly.
    const one = Float32Array.from({ length: 512 }, (_, i) => i % 256 === 9 ? 1 : 0);
    const met = decoded(type, quantizeRows(type, values, 512, { importances: one }));
    for (const at of [9, 265]) {
      assert(Math.abs(met[at]! - values[at]!) <= 0.01 * Math.abs(values[at]!), `${type} ${at}`);
    }
  }
});

Deno.test("quantizeRows: what cannot be quantized is refused by type, place and value", () => {
  const values = normalNumbers(256, randomNumbers(8));
  assertThrows(() => quantizeRows("Q3_K", values, 256), InputError, "expected one of F32, F16");
  assertThrows(() => quantizeRows("Q4_K", values, 128), ShapeError, "a multiple of 256");
  assertThrows(() => quantizeRows("Q4_0", values, 96), ShapeError, "whole rows of 96");
  assertThrows(() => quantizeRows("Q4_0", [1] as never, 32), ShapeError, "expected a Float32Array");
  for (const importances of [new Float32Array(255), new Float32Array(256).fill(-1), [] as never]) {
    assertThrows(() => quantizeRows("Q4_0", values, 256, { importances }), Error, "importance");
  }
  for (const type of WEIGHTED_TYPES) {
    for (const wrong of [NaN, Infinity, -Infinity, 3e38]) {
      const broken = values.slice();
      broken[100] = wrong;
      const importances = new Float32Array(256).fill(1);
      assertThrows(() => quantizeRows(type, broken, 256), InputError, `Cannot encode ${type}`);
      assertThrows(() => quantizeRows(type, broken, 256, { importances }), InputError, type);
    }
  }
});
