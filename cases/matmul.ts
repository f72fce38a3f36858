/**
 * Cases of the ops that read weight matrices, and of the quantized activations that integer
 * weights are multiplied with.
 *
 * @module
 */

import type { Tensor } from "../graph.ts";
import type { LayoutName } from "../quant/formats.ts";
import {
  all,
  below,
  list,
  normal,
  type OpCase,
  planted,
  type Recorder,
  type Values,
} from "./recorder.ts";

const FLOATS = ["f32", "f16", "bf16"] as const;
const INTEGERS = [
  "int8",
  "int4",
  "int4n",
  "int5",
  "int4m",
  "int5m",
  "int4k",
  "int5k",
  "int6k",
] as const;
const LAYOUTS: readonly LayoutName[] = [...FLOATS, ...INTEGERS];

/** Activations as the layout's kernel takes them. */
function activations(r: Recorder, layout: LayoutName, width: number, values?: Values): Tensor {
  const x = r.input(["tokens", width], values);
  const quantized = INTEGERS.includes(layout as typeof INTEGERS[number]);
  return quantized ? r.graph.op("quantizeActivations", [x]) : x;
}

function matmulCase(
  title: string,
  layout: LayoutName,
  [rows, columns]: readonly [number, number],
  more: Partial<OpCase<"matmul">> & { x?: Values; weights?: Values; bias?: boolean } = {},
): OpCase<"matmul"> {
  const { x, weights, bias, ...rest } = more;
  return {
    title: `${layout}, ${title}`,
    bound: 2e-5, // of sums of up to 4096 products in f32
    record: (r, op) =>
      op([
        activations(r, layout, columns, x),
        r.matrix([rows, columns], layout, weights),
        ...(bias ? [r.constant([rows])] : []),
      ], {}),
    ...rest,
  };
}

/** Rows and columns of weights: single ones, odd ones, one more and one less than a block. */
const SHAPES = [
  ...[[1, 1], [3, 5], [16, 32], [17, 33], [15, 31], [40, 64], [5, 100], [33, 257], [100, 96]],
  ...[[2, 1024], [129, 48]],
] as const;

/** Cases of `matmul`. */
export const MATMUL_CASES: readonly OpCase<"matmul">[] = LAYOUTS.flatMap((layout) => [
  ...SHAPES.map(([rows, columns]) =>
    matmulCase(`${rows} x ${columns}`, layout, [rows!, columns!], { runs: [6, 1, 2, 3, 5] })
  ),
  ...[8, 17, 40].map((tokens) =>
    matmulCase(`${tokens} tokens and a bias`, layout, [35, 70], {
      tokens,
      bias: true,
      runs: [tokens, tokens - 1, 4],
    })
  ),
  matmulCase("large activations", layout, [20, 45], { x: normal(1e30) }),
  matmulCase("tiny activations", layout, [20, 45], { x: normal(1e-30) }),
  matmulCase("rows of zeros", layout, [20, 45], { x: all(0), weights: all(0), bound: 0 }),
  matmulCase("NaN in some activations", layout, [20, 45], { x: planted([NaN], 60), tokens: 9 }),
  matmulCase("infinity in some activations", layout, [20, 45], {
    x: planted([Infinity], 100),
    tokens: 9,
  }),
  ...[1, 64].map((tokens) =>
    matmulCase(
      `${tokens === 1 ? "decode" : "prefill"}: ${tokens} x 1024 x 1024`,
      layout,
      [1024, 1024],
      { tokens, bench: true },
    )
  ),
]);

/** Cases of `embed`. */
export const EMBED_CASES: readonly OpCase<"embed">[] = LAYOUTS.flatMap((layout) => [
  ...[[1, 1], [2, 128], [7, 3], [16, 32], [40, 33], [33, 100]].map((
    [rows, columns],
  ): OpCase<"embed"> => ({
    title: `${layout}, table of ${rows} x ${columns}`,
    runs: [6, 1],
    bound: 1e-7,
    record: (r, op) =>
      op([r.indices(["tokens"], below(rows!)), r.matrix([rows!, columns!], layout)], {}),
  })),
  {
    title: `${layout}, the last row, again and again`,
    bound: 1e-7,
    record: (r, op) => op([r.indices([4], list([40, 0, 40, 40])), r.matrix([41, 50], layout)], {}),
  },
  ...[0, 3, 40].map((first): OpCase<"embed"> => ({
    title: `${layout}, rows from id ${first} on, zeros for others`,
    runs: [9, 1, 4],
    tokens: 9,
    bound: 1e-7,
    record: (r, op) =>
      op([
        r.indices(
          ["tokens"],
          list([first, first + 20, first - 1, 0, first + 21, -(2 ** 31), 2, 7]),
        ),
        r.matrix([21, 35], layout),
      ], { first }),
  })),
  {
    title: `${layout}, prefill: 64 x 1024`,
    tokens: 64,
    bound: 1e-7,
    bench: true,
    record: (r, op) => op([r.indices(["tokens"], below(256)), r.matrix([256, 1024], layout)], {}),
  },
]);

/** Quantized activations times an int8 identity: d·q for every element, up to one factor. */
function quantizeCase(
  title: string,
  width: number,
  values: Values,
  more: Partial<OpCase<"quantizeActivations">> = {},
): OpCase<"quantizeActivations"> {
  return {
    title,
    bound: 1e-6,
    record: (r, op) =>
      r.graph.op("matmul", [
        op([r.input(["tokens", width], values)], {}),
        r.matrix([width, width], "int8", (_, i) => i % (width + 1) === 0 ? 1 : 0),
      ]),
    ...more,
  };
}

/** Cases of `quantizeActivations`. */
export const QUANTIZE_CASES: readonly OpCase<"quantizeActivations">[] = [
  ...[1, 2, 5, 31, 32, 33, 64, 100].map((width) =>
    quantizeCase(`rows of ${width}`, width, normal(), { runs: [6, 1, 3] })
  ),
  quantizeCase("large numbers", 40, normal(1e30)),
  quantizeCase("tiny numbers", 40, normal(1e-30)),
  quantizeCase("zeros", 40, all(0), { bound: 0 }),
  quantizeCase("numbers halfway between steps", 32, (_, i) => i % 32 === 0 ? 127 : i % 32 - 15.5),
  quantizeCase("NaN in some groups", 70, planted([NaN], 60)),
  quantizeCase("infinity in some groups", 70, planted([Infinity, -Infinity], 60)),
  quantizeCase("prefill: 64 x 1024", 1024, normal(), { tokens: 64, bench: true }),
];
