/**
 * Cases of the ops of mixtures of experts.
 *
 * @module
 */

import type { Tensor } from "../graph.ts";
import type { LayoutName } from "../quant/formats.ts";
import {
  all,
  below,
  hard,
  list,
  normal,
  type OpCase,
  planted,
  type Recorder,
  type Values,
} from "./case_recorder.ts";

const INTEGERS: readonly LayoutName[] = ["int8", "int4", "int4m"];
const LAYOUTS: readonly LayoutName[] = ["f32", "f16", "bf16", ...INTEGERS];

/** Extents of a mixture: rows and columns are those of one expert. */
interface Mixture {
  readonly experts: number;
  readonly rows: number;
  readonly columns: number;
  /** Experts of a token. */
  readonly count: number;
}

interface More extends Partial<OpCase<"expertMatmul">> {
  readonly x?: Values;
  readonly weights?: Values;
  readonly chosen?: Values;
  /** Whether every expert of a token has a row of x of its own. */
  readonly apart?: boolean;
}

function expertCase(
  title: string,
  layout: LayoutName,
  { experts, rows, columns, count }: Mixture,
  { x: values, weights, chosen = below(experts), apart, ...rest }: More = {},
): OpCase<"expertMatmul"> {
  return {
    title: `${layout}, ${title}`,
    bound: 2e-5,
    record(r, op) {
      const x = r.input(apart ? ["tokens", count, columns] : ["tokens", columns], values);
      return op([
        INTEGERS.includes(layout) ? r.graph.op("quantizeActivations", [x]) : x,
        r.matrix([experts * rows, columns], layout, weights),
        r.indices(["tokens", count], chosen),
      ], { experts });
    },
    ...rest,
  };
}

/** Experts, rows, columns, count: whole panels and blocks, and anything else. */
const SHAPES: readonly (readonly [number, number, number, number])[] = [
  ...[[4, 16, 32, 2], [3, 5, 7, 1], [2, 1, 1, 2], [5, 17, 33, 2], [6, 36, 40, 3]] as const,
  ...[[8, 20, 100, 8], [4, 129, 48, 2], [9, 15, 257, 1], [1, 40, 64, 1]] as const,
];

/** Numbers that must not be met in the weights of experts `poisoned`, which nobody chooses. */
function poison(
  { rows, columns }: Mixture,
  poisoned: readonly number[],
  layout: LayoutName,
): Values {
  const values = normal(), poison = INTEGERS.includes(layout) ? 3e4 : NaN;
  return (random, i, run) =>
    poisoned.includes(Math.floor(i / (rows * columns))) ? poison : values(random, i, run);
}

/** Cases of `expertMatmul`. */
export const EXPERT_MATMUL_CASES: readonly OpCase<"expertMatmul">[] = LAYOUTS.flatMap((layout) => [
  ...SHAPES.flatMap(([experts, rows, columns, count]) =>
    [false, true].map((apart) =>
      expertCase(
        `${count} of ${experts} experts, ${rows} x ${columns}${apart ? ", rows apart" : ""}`,
        layout,
        { experts, rows, columns, count },
        { tokens: 7, runs: [7, 1, 2, 3], apart },
      )
    )
  ),
  ...[false, true].flatMap((apart) => [
    expertCase(
      `40 tokens${apart ? ", rows apart" : ""}`,
      layout,
      { experts: 4, rows: 35, columns: 70, count: 2 },
      { tokens: 40, runs: [40, 39, 6, 1], apart },
    ),
    expertCase(
      `all tokens to one expert${apart ? ", rows apart" : ""}`,
      layout,
      { experts: 3, rows: 24, columns: 45, count: 1 },
      { tokens: 131, runs: [131, 64, 13], chosen: all(2), apart },
    ),
  ]),
  ...[16, 21].map((rows) => {
    const mixture = { experts: 5, rows, columns: 50, count: 2 };
    return expertCase(`poison for experts that nobody chose, ${rows} rows`, layout, mixture, {
      tokens: 30,
      runs: [30, 1, 5],
      weights: poison(mixture, [0, 2, 4], layout),
      chosen: list([1, 3, 3, 1]),
    });
  }),
  expertCase("NaN in some activations", layout, { experts: 4, rows: 20, columns: 45, count: 2 }, {
    x: planted([NaN], 60),
    tokens: 17,
    runs: [17, 3],
  }),
  expertCase("large activations", layout, { experts: 4, rows: 20, columns: 45, count: 2 }, {
    x: normal(1e30),
  }),
  ...[1, 64].map((tokens) =>
    expertCase(
      `${tokens === 1 ? "decode" : "prefill"}: ${tokens} x 2 of 8 x 256 x 512`,
      layout,
      { experts: 8, rows: 256, columns: 512, count: 2 },
      { tokens, bench: true },
    )
  ),
]);

/** One more than each number: what an expert of one weight makes of 1. */
function numbersOf(r: Recorder, chosen: Tensor, experts: number): Tensor {
  const ones = r.input(["tokens", 1], all(1));
  const weights = r.matrix([experts, 1], "f32", (_, i) => i + 1);
  return r.graph.op("expertMatmul", [ones, weights, chosen], { experts });
}

function topCase(
  title: string,
  experts: number,
  count: number,
  more: Partial<OpCase<"topExperts">> & { scores?: Values } = {},
): OpCase<"topExperts"> {
  const { scores, ...rest } = more;
  return {
    title,
    runs: [6, 1, 3],
    bound: 0,
    record: (r, op) => numbersOf(r, op([r.input(["tokens", experts], scores)], { count }), experts),
    ...rest,
  };
}

/** Experts of a mixture, and experts of a token. */
const CHOICES: readonly (readonly [experts: number, count: number])[] = [
  ...[[1, 1], [2, 1], [5, 2], [8, 8], [60, 4], [64, 8], [65, 6], [128, 8], [300, 10]] as const,
];

/** Cases of `topExperts`. */
export const TOP_EXPERTS_CASES: readonly OpCase<"topExperts">[] = [
  ...CHOICES.map(([experts, count]) => topCase(`${count} of ${experts}`, experts, count)),
  topCase("equal scores", 9, 4, { scores: below(3) }),
  topCase("nothing but zeros of both signs", 7, 7, { scores: list([0, -0]) }),
  topCase("hard numbers", 40, 12, { tokens: 50, runs: [50], scores: hard() }),
  topCase("nothing but NaN", 5, 3, { scores: all(NaN) }),
  topCase("decode: 1 x 8 of 128", 128, 8, { tokens: 1, runs: [1], bench: true }),
  topCase("prefill: 64 x 8 of 128", 128, 8, { tokens: 64, runs: [64], bench: true }),
];

function weightsCase(
  title: string,
  over: "chosen" | "all",
  [experts, count]: readonly [number, number],
  more: Partial<OpCase<"expertWeights">> & { scores?: Values } = {},
): OpCase<"expertWeights"> {
  const { scores = normal(3), ...rest } = more;
  return {
    title: `over ${over}, ${title}`,
    runs: [6, 1, 3],
    bound: 1e-6,
    record(r, op) {
      const input = r.input(["tokens", experts], scores);
      return op([input, r.graph.op("topExperts", [input], { count })], { over });
    },
    ...rest,
  };
}

/** Cases of `expertWeights`. */
export const EXPERT_WEIGHTS_CASES: readonly OpCase<"expertWeights">[] = (["chosen", "all"] as const)
  .flatMap((over) => [
    ...CHOICES.map((choice) => weightsCase(`${choice[1]} of ${choice[0]}`, over, choice)),
    weightsCase("some -Infinity", over, [9, 3], { scores: planted([-Infinity], 2) }),
    weightsCase("nothing but -Infinity", over, [9, 3], { scores: all(-Infinity) }),
    weightsCase("one NaN", over, [9, 3], { scores: (random, i) => i === 12 ? NaN : random() }),
    weightsCase("one Infinity", over, [9, 3], {
      scores: (random, i) => i === 12 ? Infinity : random(),
    }),
    weightsCase("large numbers", over, [17, 4], { scores: normal(1e30) }),
    weightsCase("prefill: 64 x 8 of 128", over, [128, 8], { tokens: 64, runs: [64], bench: true }),
  ]);

/** Cases of `expertSum`. */
export const EXPERT_SUM_CASES: readonly OpCase<"expertSum">[] = [
  ...[1, 2, 3, 4, 5, 16, 31, 100].map((width): OpCase<"expertSum"> => ({
    title: `rows of ${width}`,
    runs: [6, 1, 3],
    bound: 1e-6,
    record: (r, op) => op([r.input(["tokens", 3, width]), r.input(["tokens", 3])], {}),
  })),
  {
    title: "one expert, rows without a dimension for it",
    runs: [5, 1],
    bound: 1e-6,
    record: (r, op) => op([r.input(["tokens", 19]), r.input(["tokens", 1])], {}),
  },
  {
    title: "no numbers",
    bound: 1e-6,
    record: (r, op) =>
      op([r.input(["tokens", 1, 30], planted([NaN, Infinity], 9)), r.input(["tokens", 1])], {}),
  },
  ...[1, 64].map((tokens): OpCase<"expertSum"> => ({
    title: `${tokens === 1 ? "decode" : "prefill"}: ${tokens} x 8 x 2048`,
    tokens,
    bound: 2e-6,
    bench: true,
    record: (r, op) => op([r.input(["tokens", 8, 2048]), r.input(["tokens", 8])], {}),
  })),
];
