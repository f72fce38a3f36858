/**
 * What the optional inputs of `attention` must be, and what its biases, caps and sinks mean. Numbers
 * on every backend: cases/attention.ts.
 */

import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { ShapeError } from "../errors.ts";
import { attention } from "../kernels/attention/op.ts";
import type { View } from "../kernels/op.ts";
import type { AttentionAttributes } from "../kernels/ops.ts";
import { Graph, type Tensor } from "../runtime/graph/graph.ts";

const HEADS = 4;

/** Records attention of up to 3 tokens with more inputs than q, keys, values and spans. */
function record(more: (g: Graph) => Tensor[], attrs: Partial<AttentionAttributes>): Tensor {
  const g = new Graph({ tokens: 3 });
  return g.op("attention", [
    g.input("q", ["tokens", 16]),
    g.cache("keys", "keyCache", [10, 2, 4]),
    g.cache("values", "valueCache", [10, 2, 4]),
    g.input("spans", ["tokens", 2], "i32"),
    ...more(g),
  ], { heads: HEADS, scale: 0.5, ...attrs });
}

const rows = (g: Graph): Tensor => g.input("rows", ["tokens"], "i32");
const table = (g: Graph): Tensor => g.constant("bias", [HEADS, 9]);
const tables = (g: Graph): Tensor => g.input("bias", ["tokens", HEADS * 9]);
const sinks = (g: Graph): Tensor => g.constant("sinks", [HEADS]);

Deno.test("attention takes the inputs that its attributes ask for, in their order", () => {
  const all = [
    record(() => [], {}),
    record(() => [], { softCap: 50 }),
    record((g) => [table(g), rows(g)], { bias: "shared" }),
    record((g) => [tables(g), rows(g)], { bias: "perQuery", center: 8 }),
    record((g) => [sinks(g)], { sinks: true }),
    record((g) => [table(g), rows(g), sinks(g)], { bias: "shared", center: -3, sinks: true }),
  ];
  for (const { shape, perToken } of all) assertEquals([shape, perToken], [[3, 16], true]);
});

Deno.test("attention refuses inputs and attributes that do not fit together", () => {
  const wrong: [(g: Graph) => Tensor[], Partial<AttentionAttributes>, string][] = [
    [(g) => [table(g), rows(g)], {}, "it has 6 inputs, expected 4"],
    [(g) => [table(g)], { bias: "shared" }, "it has 5 inputs, expected 6"],
    [() => [], { sinks: true }, "it has 4 inputs, expected 5"],
    [() => [], { bias: "other" as "shared" }, 'bias is "other"'],
    [(g) => [tables(g), rows(g)], { bias: "shared" }, "expected [4, width]"],
    [(g) => [table(g), rows(g)], { bias: "perQuery" }, "expected [tokens, 4 * width]"],
    [(g) => [g.input("b", ["tokens", 9]), rows(g)], { bias: "perQuery" }, "expected [tokens, 4"],
    [(g) => [g.constant("b", [3, 9]), rows(g)], { bias: "shared" }, "expected [4, width]"],
    [
      (g) => [g.constant("b", [HEADS]), rows(g)],
      { bias: "shared" },
      "expected f32 dense of rank 2",
    ],
    [(g) => [table(g), g.input("r", [3], "i32")], { bias: "shared" }, "one row per token"],
    [(g) => [table(g), g.input("r", ["tokens", 1])], { bias: "shared" }, "expected i32 dense"],
    [(g) => [g.constant("b", [HEADS, 8]), rows(g)], { bias: "shared" }, "center is 3.5 of 8"],
    [(g) => [table(g), rows(g)], { bias: "shared", center: 0.5 }, "center is 0.5"],
    [(g) => [table(g), rows(g)], { bias: "shared", center: 2 ** 25 }, "a whole number up to"],
    [(g) => [g.constant("s", [3])], { sinks: true }, "expected one number for each of 4 heads"],
    [(g) => [g.constant("s", [HEADS, 1])], { sinks: true }, "expected f32 dense of rank 1"],
    [() => [], { softCap: 0 }, "softCap is 0, expected a number above 0"],
    [() => [], { softCap: Infinity }, "softCap is Infinity"],
  ];
  for (const [more, attrs, message] of wrong) {
    assertThrows(() => record(more, attrs), ShapeError, message, message);
  }
});

/** Attention of one query [1], with a key of `scores[s]` and a value of s in each row. */
function attend(
  scores: readonly number[],
  more: readonly View[],
  attrs: Partial<AttentionAttributes>,
): number {
  const floats = (shape: number[], values: readonly number[]): View => ({
    shape,
    dtype: "f32",
    data: Float64Array.from(values),
  });
  const indices = (shape: number[], values: readonly number[]): View => ({
    shape,
    dtype: "i32",
    data: Int32Array.from(values),
  });
  const cache = [scores.length, 1, 1], out = floats([1, 1], [0]);
  attention.reference(out, [
    floats([1, 1], [1]),
    floats(cache, scores),
    floats(cache, scores.map((_, s) => s)),
    indices([1, 2], [0, scores.length]),
    ...more,
  ], { heads: 1, scale: 1, ...attrs });
  return out.data[0]!;
}

const view = (shape: number[], values: number[]): View => ({
  shape,
  dtype: "f32",
  data: Float64Array.from(values),
});

Deno.test("a bias is chosen by the distance from the query's own row, and its ends go on", () => {
  const own: View = { shape: [1], dtype: "i32", data: Int32Array.of(2) };
  const big = Math.log(1e15);
  // Column 0 is what lies before the own row, column 2 what lies behind it.
  const at = (bias: number[], center?: number): number =>
    attend([0, 0, 0, 0, 0], [view([1, bias.length], bias), own], {
      bias: "shared",
      ...(center !== undefined && { center }),
    });
  assertAlmostEquals(at([big, 0, 0]), 0.5, 1e-9); // rows 0 and 1
  assertAlmostEquals(at([0, big, 0]), 2, 1e-9);
  assertAlmostEquals(at([0, 0, big]), 3.5, 1e-9); // rows 3 and 4
  assertAlmostEquals(at([0, big, 0], 0), 3, 1e-9);
  assertAlmostEquals(at([0, big, 0], 2), 1, 1e-9);
  assertAlmostEquals(at([0, big, 0], 3), 0, 1e-9);
});

Deno.test("the cap comes before the bias; a sink takes weight and gives nothing", () => {
  const own: View = { shape: [1], dtype: "i32", data: Int32Array.of(0) };
  // Capped at 1, a score of 1000 is 1; with the bias of 1 of the own row both are equal.
  const bias = view([1, 3], [0, 1, 0]);
  const found = attend([0, 1000], [bias, own], { softCap: 1, bias: "shared" });
  assertAlmostEquals(found, 0.5, 1e-9);
  // exp(log 2) = 2: half the weight of two rows with scores of 0.
  assertAlmostEquals(attend([0, 0], [view([1], [Math.log(2)])], { sinks: true }), 0.25, 1e-12);
  // The sink is neither scaled nor capped.
  const capped = attend([0, 0], [view([1], [1000])], { sinks: true, softCap: 1, scale: 0.1 });
  assert(capped < 1e-100);
});
