/**
 * Cases of the ops of mixtures of experts.
 *
 * @module
 */

import type { Tensor } from "../graph.ts";
import { HEAD_LAYOUTS } from "../kernels/head_matmul/op.ts";
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
} from "./recorder.ts";

const INTEGERS: readonly LayoutName[] = [
  ...["int8", "int4", "int4n", "int5", "int4m", "int5m", "int4k", "int5k", "int6k"] as const,
];
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
  // Experts that were dropped: nothing is computed, and nothing is left as it was.
  ...[false, true].flatMap((apart) =>
    [[7, -1], [40, -1], [7, 3], [40, 3]].map(([tokens, end]) =>
      expertCase(
        `${end! < 0 ? "all" : "some"} of ${tokens} tokens' experts dropped${
          apart ? ", rows apart" : ""
        }`,
        layout,
        { experts: 3, rows: 21, columns: 45, count: 2 },
        {
          tokens: tokens!,
          runs: [tokens!, 1, 3],
          apart,
          chosen: (random) => Math.floor(random() * (end! + 1)) - 1,
        },
      )
    )
  ),
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
  more: Partial<OpCase<"topExperts">> & {
    scores?: Values;
    capacity?: number;
    starts?: Values;
  } = {},
): OpCase<"topExperts"> {
  const { scores, capacity, starts, ...rest } = more;
  return {
    title,
    runs: [6, 1, 3],
    bound: 0,
    record(r, op) {
      const input = r.input(["tokens", experts], scores);
      const chosen = capacity === undefined
        ? op([input], { count })
        : op([input, r.indices(["tokens"], starts!)], { count, capacity });
      return numbersOf(r, chosen, experts);
    },
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
  // Experts, experts of a token, capacity, tokens of a sequence.
  ...[[3, 1, 2, 6], [3, 1, 1, 2], [4, 2, 2, 5], [4, 1, 0, 6], [8, 1, 3, 40], [2, 2, 4, 7]].map((
    [experts, count, capacity, length],
  ) =>
    topCase(`${count} of ${experts}, ${capacity} times in ${length} tokens`, experts!, count!, {
      tokens: 40,
      runs: [40, 1, 13],
      capacity: capacity!,
      starts: (_, i) => i - i % length!,
    })
  ),
  // Sequences of different lengths; the first began before the run.
  topCase("1 of 2, twice in sequences of any length", 2, 1, {
    tokens: 9,
    runs: [9, 4],
    capacity: 2,
    starts: list([0, 0, 0, 3, 4, 4, 4, 4, 8]),
  }),
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
    ...[[1, 0], [1, 2], [3, 2]].map(([count, capacity]): OpCase<"expertWeights"> => ({
      title: `over ${over}, ${count} of 4, ${capacity} times`,
      tokens: 9,
      runs: [9, 1, 3],
      bound: 1e-6,
      record(r, op) {
        const input = r.input(["tokens", 4], normal(3)), starts = r.indices(["tokens"], all(0));
        const attrs = { count: count!, capacity: capacity! };
        return op([input, r.graph.op("topExperts", [input, starts], attrs)], { over });
      },
    })),
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

function headCase(
  title: string,
  layout: LayoutName,
  [heads, rows, columns]: readonly [number, number, number],
  more: Partial<OpCase<"headMatmul">> & { readonly x?: Values } = {},
): OpCase<"headMatmul"> {
  const { x, ...rest } = more;
  return {
    title: `${layout}, ${title}`,
    bound: 2e-5,
    record: (r, op) =>
      op([r.input(["tokens", heads * columns], x), r.matrix([heads * rows, columns], layout)], {
        heads,
      }),
    ...rest,
  };
}

/** Cases of `headMatmul`: heads, rows and columns of a head's matrix. */
export const HEAD_MATMUL_CASES: readonly OpCase<"headMatmul">[] = HEAD_LAYOUTS.flatMap((layout) => [
  ...([
    ...[[1, 1, 1], [1, 16, 32], [2, 5, 7], [3, 17, 10], [4, 33, 64], [2, 70, 41]] as const,
    ...[[12, 20, 64], [5, 1, 100], [64, 3, 2]] as const,
  ] satisfies (readonly [number, number, number])[]).map((shape) =>
    headCase(`${shape[0]} heads, ${shape[1]} x ${shape[2]}`, layout, shape, {
      tokens: 7,
      runs: [7, 1, 2],
    })
  ),
  headCase("many tokens", layout, [3, 45, 36], { tokens: 70, runs: [70, 69, 4] }),
  headCase("NaN in some activations", layout, [3, 19, 20], {
    x: planted([NaN], 60),
    tokens: 17,
    runs: [17, 1],
  }),
  headCase("prefill: 64 tokens, 12 heads, 512 x 64", layout, [12, 512, 64], {
    tokens: 64,
    bench: true,
  }),
]);
