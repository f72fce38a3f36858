/**
 * The cases of every op. Each is recorded as a small graph and run on every backend
 * (tests/ops_test.ts); those marked `bench` are timed too (bench/kernel_rows.ts).
 *
 * @module
 */

import { ATTENTION_CASES, CACHE_STORE_CASES } from "./attention.ts";
import {
  EXPERT_MATMUL_CASES,
  EXPERT_SUM_CASES,
  EXPERT_WEIGHTS_CASES,
  HEAD_MATMUL_CASES,
  TOP_EXPERTS_CASES,
} from "./experts.ts";
import { EMBED_CASES, MATMUL_CASES, QUANTIZE_CASES } from "./matmul.ts";
import {
  all,
  below,
  hard,
  list,
  normal,
  type OpCase,
  type OpCases,
  planted,
  type Values,
} from "./recorder.ts";
import { ACTIVATIONS } from "../kernels/activation/op.ts";
import { GLU_KINDS } from "../kernels/glu/op.ts";

/** Rounding of a handful of f32 operations. */
const ROUNDING = 5e-7;

/** Rows whose width is no multiple of a vector, and some that are. */
const WIDTHS = [1, 2, 3, 4, 5, 7, 15, 16, 17, 31, 64, 100, 1000];

const KINDS: readonly (readonly [string, Values])[] = [
  ["normal", normal(3)],
  ["hard", hard()],
  ["large", normal(1e30)],
  ["tiny", normal(1e-39)],
];

function binaryCases<N extends "add" | "mul">(): OpCase<N>[] {
  const bound = ROUNDING;
  const attrs = {} as never;
  return [
    ...WIDTHS.map((width): OpCase<N> => ({
      title: `rows of ${width}`,
      runs: [6, 1, 3],
      bound,
      record: (r, op) => op([r.input(["tokens", width]), r.input(["tokens", width])], attrs),
    })),
    ...WIDTHS.map((width): OpCase<N> => ({
      title: `rows of ${width} and a vector`,
      runs: [1, 5],
      bound,
      record: (r, op) => op([r.input(["tokens", width]), r.constant([width])], attrs),
    })),
    ...KINDS.map(([name, values]): OpCase<N> => ({
      title: `${name} numbers`,
      bound,
      record: (r, op) => op([r.input([7, 29], values), r.input([7, 29], values)], attrs),
    })),
    {
      title: "one row for all",
      runs: [5, 1],
      bound,
      record: (r, op) => op([r.input(["tokens", 21]), r.input([1, 21])], attrs),
    },
    {
      title: "a vector and a vector",
      bound,
      record: (r, op) => op([r.input([37]), r.constant([37])], attrs),
    },
    {
      title: "three dimensions",
      runs: [1, 4],
      bound,
      record: (r, op) => op([r.input(["tokens", 3, 5]), r.constant([5])], attrs),
    },
    {
      title: "prefill: 64 x 1024",
      tokens: 64,
      bound,
      bench: true,
      record: (r, op) => op([r.input(["tokens", 1024]), r.input(["tokens", 1024])], attrs),
    },
  ];
}

/** The tests' cases all have the same few forms: widths, kinds of numbers, fewer tokens. */
export const CASES: OpCases = {
  activation: ACTIVATIONS.flatMap((kind): OpCase<"activation">[] => [
    ...KINDS.map(([name, values]): OpCase<"activation"> => ({
      title: `${kind}, ${name} numbers`,
      bound: 1e-6,
      record: (r, op) => op([r.input([11, 31], values)], { kind }),
    })),
    {
      title: `${kind}, small numbers`,
      bound: 1e-6,
      record: (r, op) => op([r.input([9, 33], normal(0.05))], { kind }),
    },
    ...WIDTHS.map((width): OpCase<"activation"> => ({
      title: `${kind}, rows of ${width}`,
      runs: [5, 1, 2],
      bound: 1e-6,
      record: (r, op) => op([r.input(["tokens", width], normal(4))], { kind }),
    })),
    {
      title: `${kind}, prefill: 64 x 1024`,
      tokens: 64,
      bound: 1e-6,
      bench: true,
      record: (r, op) => op([r.input(["tokens", 1024])], { kind }),
    },
  ]),

  add: binaryCases<"add">(),

  attention: ATTENTION_CASES,

  cacheStore: CACHE_STORE_CASES,

  divideColumn: [
    ...[[1, 1, 0], [5, 3, 0], [5, 3, 4], [40, 17, 20], [7, 100, 3], [100, 1, 50]].map((
      [width, count, column],
    ): OpCase<"divideColumn"> => ({
      title: `column ${column} of ${width} among ${count}`,
      runs: [6, 1, 5],
      bound: ROUNDING,
      record: (r, op) =>
        op([r.input(["tokens", width!]), r.input(["tokens", count!])], { column: column! }),
    })),
    {
      title: "-Infinity and NaN",
      bound: 0,
      record: (r, op) =>
        op([r.input([4, 6], list([0, -Infinity, NaN, 2, 1])), r.input([4, 3], list([1, NaN]))], {
          column: 1,
        }),
    },
    {
      title: "a vocabulary of 50,257",
      bound: ROUNDING,
      bench: true,
      record: (r, op) => op([r.input([1, 20001]), r.input([1, 30257])], { column: 20000 }),
    },
  ],

  embed: EMBED_CASES,

  expertMatmul: EXPERT_MATMUL_CASES,

  expertSum: EXPERT_SUM_CASES,

  expertWeights: EXPERT_WEIGHTS_CASES,

  glu: [
    ...GLU_KINDS.flatMap((kind) => [
      ...WIDTHS.map((width): OpCase<"glu"> => ({
        title: `${kind}, rows of ${width}`,
        runs: [6, 1, 3],
        bound: 1e-6,
        record: (r, op) =>
          op([r.input(["tokens", width], normal(4)), r.input(["tokens", width])], { kind }),
      })),
      ...KINDS.map(([name, values]): OpCase<"glu"> => ({
        title: `${kind}, ${name} numbers`,
        bound: 1e-6,
        record: (r, op) => op([r.input([11, 31], values), r.input([11, 31], values)], { kind }),
      })),
    ]),
    ...(["silu", "geluTanh"] as const).flatMap((kind) =>
      [1, 64].map((tokens): OpCase<"glu"> => ({
        title: `${kind}, ${tokens === 1 ? "decode" : "prefill"}: ${tokens} x 4096`,
        tokens,
        bound: 1e-6,
        bench: true,
        record: (r, op) => op([r.input(["tokens", 4096]), r.input(["tokens", 4096])], { kind }),
      }))
    ),
  ],

  headMatmul: HEAD_MATMUL_CASES,

  layerNorm: [
    ...WIDTHS.map((width): OpCase<"layerNorm"> => ({
      title: `rows of ${width}`,
      runs: [6, 1, 3],
      bound: 2e-6,
      record: (r, op) =>
        op([r.input(["tokens", width]), r.constant([width]), r.constant([width])], { eps: 1e-5 }),
    })),
    ...KINDS.map(([name, values]): OpCase<"layerNorm"> => ({
      title: `${name} numbers, no bias`,
      bound: 2e-6,
      record: (r, op) => op([r.input([40, 7], values), r.constant([7])], { eps: 1e-5 }),
    })),
    {
      title: "a mean far above the deviation",
      bound: 2e-6,
      record: (r, op) => op([r.input([5, 70], normal(1, 1e4)), r.constant([70])], { eps: 1e-5 }),
    },
    {
      title: "rows without variance",
      bound: 2e-6,
      record: (r, op) =>
        op([r.input([3, 24], all(1.25)), r.constant([24]), r.constant([24])], { eps: 1e-12 }),
    },
    {
      title: "prefill: 64 x 1024",
      tokens: 64,
      bound: 2e-6,
      bench: true,
      record: (r, op) =>
        op([r.input(["tokens", 1024]), r.constant([1024]), r.constant([1024])], { eps: 1e-5 }),
    },
  ],

  logSoftmax: softmaxCases(2e-6),

  matmul: MATMUL_CASES,

  mul: binaryCases<"mul">(),

  quantizeActivations: QUANTIZE_CASES,

  rmsNorm: [
    ...WIDTHS.map((width): OpCase<"rmsNorm"> => ({
      title: `rows of ${width}`,
      runs: [6, 1, 3],
      bound: 1e-6,
      record: (r, op) => op([r.input(["tokens", width]), r.constant([width])], { eps: 1e-6 }),
    })),
    ...[1, 2, 3, 10, 64].map((headDim): OpCase<"rmsNorm"> => ({
      title: `heads of ${headDim}`,
      runs: [1, 5],
      bound: 1e-6,
      record: (r, op) =>
        op([r.input(["tokens", 5 * headDim]), r.constant([headDim])], { eps: 1e-6 }),
    })),
    ...KINDS.map(([name, values]): OpCase<"rmsNorm"> => ({
      title: `${name} numbers`,
      bound: 1e-6,
      record: (r, op) => op([r.input([40, 7], values), r.constant([7])], { eps: 1e-5 }),
    })),
    {
      title: "rows of zeros",
      bound: 0,
      record: (r, op) => op([r.input([3, 24], all(0)), r.constant([24])], { eps: 1e-6 }),
    },
    ...[1, 64].map((tokens): OpCase<"rmsNorm"> => ({
      title: `${tokens === 1 ? "decode" : "prefill"}: ${tokens} x 1024`,
      tokens,
      bound: 1e-6,
      bench: true,
      record: (r, op) => op([r.input(["tokens", 1024]), r.constant([1024])], { eps: 1e-6 }),
    })),
  ],

  rope: [
    ...(["half", "interleaved"] as const).flatMap((pairing) => [
      // headDim, rotaryDim, offset
      ...[
        ...[[2, 2, 0], [4, 4, 0], [6, 6, 0], [7, 4, 2], [10, 10, 0], [14, 6, 0], [64, 64, 0]],
        ...[[80, 32, 0], [80, 34, 3], [128, 128, 0]],
      ].map(([headDim, rotaryDim, offset]): OpCase<"rope"> => ({
        title: `${pairing}, ${rotaryDim} of ${headDim} from ${offset}`,
        runs: [6, 1, 3],
        bound: ROUNDING,
        record: (r, op) =>
          op([
            r.input(["tokens", 3 * headDim!]),
            r.indices(["tokens"], below(9)),
            r.constant([9, rotaryDim!]),
          ], { heads: 3, pairing, offset: offset! }),
      })),
      {
        // Two dimensions, as in ChatGLM: each half of a head by positions of its own.
        title: `${pairing}, halves by two positions`,
        runs: [6, 1, 3],
        bound: 2 * ROUNDING,
        record(r, op) {
          const table = r.constant([9, 8]), x = r.input(["tokens", 3 * 16]);
          const attrs = { heads: 3, pairing };
          const first = r.graph.op("rope", [x, r.indices(["tokens"], below(9)), table], attrs);
          return op([first, r.indices(["tokens"], below(5)), table], { ...attrs, offset: 8 });
        },
      } satisfies OpCase<"rope">,
      {
        title: `${pairing}, hard numbers`,
        bound: ROUNDING,
        record: (r, op) =>
          op([r.input([5, 40], hard()), r.indices([5], list([2, 0, 1])), r.constant([3, 10])], {
            heads: 4,
            pairing,
          }),
      } satisfies OpCase<"rope">,
      {
        title: `${pairing}, prefill: 64 x 16 heads of 64`,
        tokens: 64,
        bound: ROUNDING,
        bench: true,
        record: (r, op) =>
          op([
            r.input(["tokens", 1024]),
            r.indices(["tokens"], (_, i) => i),
            r.constant([64, 64]),
          ], { heads: 16, pairing }),
      } satisfies OpCase<"rope">,
    ]),
  ],

  scale: [
    ...WIDTHS.map((width): OpCase<"scale"> => ({
      title: `rows of ${width}`,
      runs: [6, 1, 3],
      bound: ROUNDING,
      record: (r, op) => op([r.input(["tokens", width])], { factor: Math.sqrt(width) }),
    })),
    ...KINDS.flatMap(([name, values]) =>
      [0, -0.25, 1e-3].map((factor): OpCase<"scale"> => ({
        title: `${name} numbers by ${factor}`,
        bound: ROUNDING,
        record: (r, op) => op([r.input([3, 2, 13], values)], { factor }),
      }))
    ),
    {
      title: "prefill: 64 x 1024",
      tokens: 64,
      bound: ROUNDING,
      bench: true,
      record: (r, op) => op([r.input(["tokens", 1024])], { factor: 32 }),
    },
  ],

  selectColumns: [
    ...WIDTHS.map((width): OpCase<"selectColumns"> => ({
      title: `rows of ${width} turned around`,
      runs: [6, 1, 3],
      bound: 0,
      record: (r, op) =>
        op([r.input(["tokens", width], hard()), r.constant([width], (_, i) => width - 1 - i)], {}),
    })),
    {
      title: "some of them, some twice, and what is outside",
      bound: 0,
      record: (r, op) =>
        op([r.input([3, 2, 7]), r.constant([8], list([6, 0, 3, 3, 1e9, -4, 5.75, -0.5]))], {}),
    },
    {
      title: "prefill: 64 x 4096",
      tokens: 64,
      bound: 0,
      bench: true,
      record: (r, op) =>
        op([
          r.input(["tokens", 4096]),
          r.constant([4096], (_, i) => i * 1229 % 4096),
        ], {}),
    },
  ],

  selectRows: [
    ...WIDTHS.map((width): OpCase<"selectRows"> => ({
      title: `rows of ${width}`,
      bound: 0,
      record: (r, op) => op([r.input([6, width]), r.indices([4], list([5, 0, 3, 3]))], {}),
    })),
    {
      title: "as many rows as tokens",
      runs: [6, 1],
      bound: 0,
      record: (r, op) =>
        op([
          r.input(["tokens", 9], hard()),
          r.indices(["tokens"], (_, i, run) => run.tokens - 1 - i),
        ], {}),
    },
    {
      title: "the last of 512 tokens",
      tokens: 512,
      bound: 0,
      bench: true,
      record: (r, op) => op([r.input(["tokens", 1024]), r.indices([1], all(511))], {}),
    },
  ],

  softmax: softmaxCases(1e-6),

  topExperts: TOP_EXPERTS_CASES,
};

/** Cases of ops that make distributions of rows; `bound` holds for ordinary rows. */
function softmaxCases<N extends "softmax" | "logSoftmax">(bound: number): OpCase<N>[] {
  return [
    ...WIDTHS.map((width): OpCase<N> => ({
      title: `rows of ${width}`,
      runs: [6, 1, 3],
      bound,
      record: (r, op) => op([r.input(["tokens", width], normal(4))], {}),
    })),
    ...[2, 3, 9].map((width): OpCase<N> => ({
      title: `hard numbers, rows of ${width}`,
      bound: ROUNDING,
      record: (r, op) => op([r.input([60, width], hard())], {}),
    })),
    ...([
      ["some -Infinity", planted([-Infinity], 3)],
      ["one NaN", (random, i) => i === 3 ? NaN : random()],
      ["one Infinity", (random, i) => i === 30 ? Infinity : random()],
      ["nothing but -Infinity", all(-Infinity)],
      ["nothing but -1000", all(-1000)],
      ["numbers about 1e30", normal(1e30)],
      ["numbers about 3e38", planted([3e38, -3e38], 2)],
    ] satisfies [string, Values][]).map(([title, values]): OpCase<N> => ({
      title,
      bound: ROUNDING,
      record: (r, op) => op([r.input([4, 22], values)], {}),
    })),
    {
      title: "nothing far below the maximum",
      bound: 0,
      record: (r, op) => op([r.input([5, 3], list([0, -Infinity, -200]))], {}),
    },
    {
      title: "a vocabulary of 50,257",
      bound: 2e-6, // of differences of up to 40, rounded to f32
      record: (r, op) => op([r.input([1, 50257], normal(5))], {}),
    },
    {
      title: "prefill: 64 x 1024",
      tokens: 64,
      bound: 2e-6,
      bench: true,
      record: (r, op) => op([r.input(["tokens", 1024], normal(3))], {}),
    },
  ];
}
