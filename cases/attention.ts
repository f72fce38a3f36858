/**
 * Cases of the ops that work on caches. Keys and values come into a cache through `cacheStore`, in
 * scattered order; rows that no token sees hold NaN and infinities.
 *
 * @module
 */

import type { Tensor } from "../graph.ts";
import { CACHE_TYPES, type CacheType } from "../kernels/op.ts";
import { normal, type OpCase, planted, type Recorder, type Run, type Values } from "./recorder.ts";

interface Shape {
  readonly rows: number;
  readonly kvHeads: number;
  /** Query heads per kvHead. */
  readonly group: number;
  readonly headDim: number;
  readonly keys?: CacheType;
  readonly values?: CacheType;
}

/** The rows that a token sees: [first, end). */
type Spans = (token: number, tokens: number, rows: number) => readonly [number, number];

const causal: Spans = (token, tokens, rows) => [0, rows - tokens + token + 1];
const full: Spans = (_, __, rows) => [0, rows];
const window: Spans = (token, tokens, rows) => {
  const [, end] = causal(token, tokens, rows);
  return [Math.max(0, end - 13), end];
};
/** The first four tokens see each other, the others what was before them. */
const prefix: Spans = (token, tokens, rows) => {
  const before = rows - tokens;
  return [Math.min(2, before), before + Math.max(token + 1, Math.min(4, tokens))];
};
/** Pairs of tokens with rows of their own, every fourth with none. */
const sequences: Spans = (token, _, rows) => {
  const first = Math.floor((token >> 1) * rows / 5) % rows;
  const length = token % 4 === 3 ? 0 : (token * 37 + 5) % 29;
  return [first, Math.min(rows, first + length)];
};
/** Anything. */
const ragged: Spans = (token, tokens, rows) => {
  const first = (token * 61 + tokens) % rows;
  return [first, first + (token * 89 + 7) % (rows - first + 1)];
};
const SPANS: Readonly<Record<string, Spans>> = { causal, full, window, prefix, sequences, ragged };

function isHidden(row: number, spans: Spans, tokens: number, rows: number): boolean {
  for (let token = 0; token < tokens; token++) {
    const [first, end] = spans(token, tokens, rows);
    if (first <= row && row < end) return false;
  }
  return true;
}

/** Where element `i` of a list of all rows is stored: every row once, in scattered order. */
function scatter(i: number, rows: number): number {
  const step = [7, 5, 11, 13].find((it) => rows % it !== 0)!;
  return (i * step + 3) % rows;
}

/** A cache, all of whose rows are stored; those that are hidden are no numbers. */
function scatteredCache(
  r: Recorder,
  role: "keyCache" | "valueCache",
  shape: readonly [number, number, number],
  dtype: CacheType,
  hidden: (row: number, run: Run) => boolean,
): Tensor {
  const [rows, kvHeads, headDim] = shape;
  const plain = normal();
  return r.filledCache(role, shape, dtype, (random, i, run) => {
    const value = plain(random, i, run);
    const row = scatter(Math.floor(i / (kvHeads * headDim)), rows);
    return hidden(row, run) ? [NaN, Infinity, 1e38, -Infinity][i % 4]! : value;
  }, (_, i) => scatter(i, rows));
}

/**
 * Deviation that a cache's type allows: sums of headDim products in f32, in the exponent; kernels for
 * int8 also round queries and weights, to 16 bits.
 */
function boundOf(...types: readonly CacheType[]): number {
  return types.includes("int8") ? 1e-3 : 2e-5;
}

/** What is done with scores, and what numbers it takes. */
interface Adjustment {
  readonly softCap?: number;
  readonly bias?: "shared" | "perQuery";
  /** Columns of a table of biases. */
  readonly width?: number;
  readonly center?: number;
  readonly biases?: Values;
  readonly sinks?: Values;
}

function attentionCase(
  title: string,
  { rows, kvHeads, group, headDim, keys = "f32", values = "f32" }: Shape,
  spans: Spans,
  more: Partial<OpCase<"attention">> = {},
  { softCap, bias, width = 9, center, biases, sinks }: Adjustment = {},
): OpCase<"attention"> {
  const heads = kvHeads * group;
  return {
    title,
    bound: boundOf(keys, values),
    record(r, op) {
      const hidden = (row: number, { tokens }: Run): boolean => isHidden(row, spans, tokens, rows);
      const shape = [rows, kvHeads, headDim] as const;
      return op([
        r.input(["tokens", kvHeads * group * headDim], normal(1.5)),
        scatteredCache(r, "keyCache", shape, keys, hidden),
        scatteredCache(r, "valueCache", shape, values, hidden),
        r.indices(["tokens", 2], (_, i, { tokens }) => spans(i >> 1, tokens, rows)[i & 1]!),
        ...(bias
          ? [
            bias === "shared"
              ? r.constant([heads, width], biases)
              : r.input(["tokens", heads * width], biases),
            // The last rows, as when a prompt goes on.
            r.indices(["tokens"], (_, i, { tokens }) => rows - tokens + i),
          ]
          : []),
        ...(sinks ? [r.constant([heads], sinks)] : []),
      ], {
        heads,
        scale: headDim ** -0.5,
        ...(softCap && { softCap }),
        ...(bias && { bias }),
        ...(center !== undefined && { center }),
        ...(sinks && { sinks: true }),
      });
    },
    ...more,
  };
}

/** Decoding: what earlier runs stored stays, and each token sees all rows so far. */
function continued(dtype: CacheType): OpCase<"attention"> {
  const runs = [5, 1, 1, 7, 1], rows = 20, kvHeads = 2, headDim = 12;
  const before = ({ index }: Run): number =>
    runs.slice(0, index).reduce((sum, tokens) => sum + tokens, 0);
  return {
    title: `${dtype} caches over several runs`,
    tokens: 7,
    runs,
    bound: boundOf(dtype),
    record(r, op) {
      const places = r.indices(["tokens"], (_, i, run) => before(run) + i);
      const [keys, values] = (["keyCache", "valueCache"] as const).map((role) =>
        r.graph.op("cacheStore", [
          r.cache(role, [rows, kvHeads, headDim], dtype),
          r.input(["tokens", kvHeads * headDim]),
          places,
        ])
      ) as [Tensor, Tensor];
      const spans = r.indices(
        ["tokens", 2],
        (_, i, run) => i % 2 === 0 ? 0 : before(run) + (i >> 1) + 1,
      );
      const q = r.input(["tokens", 3 * kvHeads * headDim]);
      return op([q, keys, values, spans], { heads: 3 * kvHeads, scale: 0.3 });
    },
  };
}

function benchCases(
  dtype: CacheType,
  name?: string,
  adjustment?: Adjustment,
): OpCase<"attention">[] {
  const shape = { kvHeads: 4, group: 4, headDim: 64, keys: dtype, values: dtype };
  const what = name === undefined ? dtype : `${dtype}, ${name}`;
  return [
    ...[256, 2048].map((rows) =>
      attentionCase(
        `decode, ${what}: 16/4 heads of 64, ${rows} rows`,
        { ...shape, rows },
        full,
        { tokens: 1, bench: true },
        adjustment,
      )
    ),
    attentionCase(
      `prefill, ${what}: 64 tokens at 192`,
      { ...shape, rows: 256 },
      causal,
      { tokens: 64, bench: true },
      adjustment,
    ),
  ];
}

/** Every adjustment by itself, and all together. */
const ADJUSTMENTS: Readonly<Record<string, Adjustment>> = {
  "shared bias": { bias: "shared" },
  "bias per query": { bias: "perQuery" },
  "soft cap": { softCap: 1.5 },
  sinks: { sinks: normal(2) },
  "all of a shared bias": { bias: "shared", softCap: 0.7, sinks: normal() },
  "all of a bias per query": { bias: "perQuery", softCap: 3, sinks: normal() },
};

/** Widths and centers of tables of biases: narrow, wider than a cache, all on one side, beside it. */
const TABLES: readonly (readonly [width: number, center?: number])[] = [
  ...[[1], [3], [8, 7], [16, 0], [64, 31], [701], [5, 40], [5, -40], [33, 32]] as const,
];

const ADJUSTED_CASES: readonly OpCase<"attention">[] = Object.entries(ADJUSTMENTS).flatMap((
  [name, adjustment],
) => [
  ...Object.entries(SPANS).flatMap(([spansName, spans]) =>
    [[17, 1, 6], [name.startsWith("all") ? 530 : 300, 7, 20]].map(([rows, group, headDim]) =>
      attentionCase(
        `${name}, ${spansName} spans in ${rows} rows, group of ${group}`,
        { rows: rows!, kvHeads: 2, group: group!, headDim: headDim! },
        spans,
        { tokens: Math.min(rows!, 19), runs: [Math.min(rows!, 19), 1] },
        { ...adjustment, width: 27 },
      )
    )
  ),
  // One token and many rows, which are shared out.
  ...CACHE_TYPES.map((keys) =>
    attentionCase(
      `${name}, one token and 700 rows of ${keys}`,
      { rows: 700, kvHeads: 2, group: 3, headDim: 20, keys, values: keys },
      full,
      { tokens: 1 },
      { ...adjustment, width: 901 },
    )
  ),
  ...CACHE_TYPES.flatMap((keys) =>
    [1, 3].map((group) =>
      attentionCase(
        `${name}, ${keys} keys, group of ${group}`,
        { rows: 150, kvHeads: 3, group, headDim: 36, keys, values: keys },
        group === 1 ? causal : window,
        { tokens: 9, runs: [9, 1] },
        { ...adjustment, width: 101 },
      )
    )
  ),
  ...[[90, 1, 64], [301, 3, 20], [70, 5, 128]].map(([rows, group, headDim], i) =>
    attentionCase(
      `${name}, many tokens in ${rows} rows, group of ${group}, heads of ${headDim}`,
      { rows: rows!, kvHeads: 2, group: group!, headDim: headDim! },
      [causal, prefix, ragged][i]!,
      { tokens: 45, runs: [45, 16, 33] },
      { ...adjustment, width: 65 },
    )
  ),
]);

/** Further cases of biases, caps and sinks. */
const EDGE_CASES: readonly OpCase<"attention">[] = [
  ...(["shared", "perQuery"] as const).flatMap((bias) => [
    ...TABLES.map(([width, center]) =>
      attentionCase(
        `${bias} bias of ${width} columns around ${center ?? "the middle"}`,
        { rows: 141, kvHeads: 1, group: 2, headDim: 8 },
        causal,
        { tokens: 21, runs: [21, 1, 6] },
        { bias, width, ...(center !== undefined && { center }) },
      )
    ),
    // Of -Infinity: what ALiBi-like masks hold.
    attentionCase(
      `${bias} bias of -Infinity`,
      { rows: 40, kvHeads: 2, group: 2, headDim: 12 },
      causal,
      { tokens: 20, runs: [20, 1] },
      { bias, width: 21, biases: planted([-Infinity], 3) },
    ),
    attentionCase(
      `${bias} bias of large numbers`,
      { rows: 40, kvHeads: 2, group: 2, headDim: 12 },
      causal,
      { tokens: 20, runs: [20, 1], bound: 1e-4 }, // f32 has steps of 3e-5 there
      { bias, width: 21, biases: normal(200) },
    ),
  ]),
  ...[0.01, 50, 1e6].map((softCap) =>
    attentionCase(
      `soft cap of ${softCap}`,
      { rows: 70, kvHeads: 2, group: 3, headDim: 64 },
      causal,
      { tokens: 20, runs: [20, 1] },
      { softCap },
    )
  ),
  ...([["-Infinity", planted([-Infinity], 2)], ["large numbers", normal(200)]] as const).map((
    [name, sinks],
  ) =>
    attentionCase(
      `sinks of ${name}`,
      { rows: 70, kvHeads: 2, group: 3, headDim: 16 },
      sequences,
      { tokens: 20, runs: [20, 1] },
      { sinks },
    )
  ),
];

/** Cases of `attention`. */
export const ATTENTION_CASES: readonly OpCase<"attention">[] = [
  // One head over the whole width of BERT-base and BERT-large, of one token and of several.
  ...[768, 1024].flatMap((headDim) =>
    [1, 9].map((tokens) =>
      attentionCase(
        `one head of ${headDim}, ${tokens} of 40 tokens`,
        { rows: 40, kvHeads: 1, group: 1, headDim },
        ragged,
        { tokens },
      )
    )
  ),
  ...[1, 2, 3, 7, 10, 14, 64, 80, 128].flatMap((headDim) =>
    [[1, 1], [3, 1], [2, 2], [1, 3], [2, 4], [1, 7], [1, 16]].map(([kvHeads, group]) =>
      attentionCase(
        `${kvHeads! * group!}/${kvHeads} heads of ${headDim}`,
        { rows: 23, kvHeads: kvHeads!, group: group!, headDim },
        causal,
        { runs: [6, 1] },
      )
    )
  ),
  ...Object.entries(SPANS).flatMap(([name, spans]) =>
    [[1, 1], [17, 1], [70, 2], [300, 4], [530, 7]].map(([rows, group]) =>
      attentionCase(
        `${name} spans in ${rows} rows, group of ${group}`,
        { rows: rows!, kvHeads: 2, group: group!, headDim: 6 },
        spans,
        { tokens: Math.min(rows!, 19), runs: [Math.min(rows!, 19), 1] },
      )
    )
  ),
  ...CACHE_TYPES.flatMap((keys) =>
    CACHE_TYPES.flatMap((values) =>
      [1, 2, 5].map((group) =>
        attentionCase(
          `${keys} keys, ${values} values, group of ${group}`,
          { rows: 150, kvHeads: 3, group, headDim: 20, keys, values },
          window,
          { tokens: 9, runs: [9, 1] },
        )
      )
    )
  ),
  ...[1, 2, 3, 7, 31, 32, 33, 64, 80, 128].flatMap((headDim) =>
    [[3, 1], [2, 2], [1, 3], [2, 4], [1, 7]].map(([kvHeads, group]) =>
      attentionCase(
        `int8 ${kvHeads! * group!}/${kvHeads} heads of ${headDim}`,
        { rows: 23, kvHeads: kvHeads!, group: group!, headDim, keys: "int8", values: "int8" },
        causal,
        { runs: [6, 1] },
      )
    )
  ),
  ...Object.entries(SPANS).flatMap(([name, spans]) =>
    [[17, 1], [300, 4], [530, 7]].map(([rows, group]) =>
      attentionCase(
        `int8, ${name} spans in ${rows} rows, group of ${group}`,
        { rows: rows!, kvHeads: 2, group: group!, headDim: 38, keys: "int8", values: "int8" },
        spans,
        { tokens: Math.min(rows!, 19), runs: [Math.min(rows!, 19), 1] },
      )
    )
  ),
  // As many tokens as a GPU takes together.
  ...Object.entries(SPANS).flatMap(([name, spans]) =>
    [[70, 1, 64], [301, 3, 20], [90, 5, 128]].map(([rows, group, headDim]) =>
      attentionCase(
        `many tokens, ${name} spans in ${rows} rows, group of ${group}, heads of ${headDim}`,
        { rows: rows!, kvHeads: 2, group: group!, headDim: headDim! },
        spans,
        { tokens: 45, runs: [45, 16, 33] },
      )
    )
  ),
  ...[4, 8, 36, 64, 80, 100, 160, 256, 264].map((headDim, i) => {
    const dtype = i < 4 ? CACHE_TYPES[i % 3]! : "f32";
    return attentionCase(
      `many tokens, ${dtype} heads of ${headDim}`,
      { rows: 67, kvHeads: 2, group: 2, headDim, keys: dtype, values: dtype },
      prefix,
      { tokens: 30, runs: [30, 17] },
    );
  }),
  ...ADJUSTED_CASES,
  ...EDGE_CASES,
  ...CACHE_TYPES.map(continued),
  ...CACHE_TYPES.flatMap((dtype) =>
    (["keyCache", "valueCache"] as const).flatMap((role) =>
      [1, 2].map((heads): OpCase<"attention"> => ({
        title: `a NaN that some tokens see: ${dtype} ${role}, ${heads} heads`,
        tokens: 8,
        runs: [8, 1],
        bound: boundOf(dtype),
        record(r, op) {
          const shape = [40, 1, 40] as const;
          const fill = (it: typeof role) =>
            scatteredCache(r, it, shape, dtype, (row) => it === role && row === 36);
          return op([
            r.input(["tokens", heads * 40]),
            fill("keyCache"),
            fill("valueCache"),
            r.indices(["tokens", 2], (_, i, { tokens }) => causal(i >> 1, tokens, 40)[i & 1]!),
          ], { heads, scale: 0.4 });
        },
      }))
    )
  ),
  {
    title: "large scores",
    bound: 1e-4,
    record(r, op) {
      const shape = [33, 1, 8] as const;
      return op([
        r.input(["tokens", 16], normal(1e15)),
        scatteredCache(r, "keyCache", shape, "f32", () => false),
        scatteredCache(r, "valueCache", shape, "f32", () => false),
        r.indices(["tokens", 2], (_, i) => 33 * (i & 1)),
      ], { heads: 2, scale: 1 });
    },
  },
  {
    title: "queries without finite scores",
    bound: 2e-5,
    record(r, op) {
      const shape = [12, 1, 4] as const;
      return op([
        r.input(["tokens", 8], planted([NaN, Infinity, -Infinity], 4)),
        scatteredCache(r, "keyCache", shape, "f32", () => false),
        scatteredCache(r, "valueCache", shape, "f32", () => false),
        r.indices(["tokens", 2], (_, i) => 12 * (i & 1)),
      ], { heads: 2, scale: 0.5 });
    },
  },
  ...CACHE_TYPES.flatMap((dtype) => benchCases(dtype)),
  ...Object.entries(ADJUSTMENTS).slice(0, 4).flatMap(([name, adjustment]) =>
    benchCases("f16", name, { ...adjustment, width: 257 })
  ),
];

/** Half-precision edges: ties, subnormals, the largest half and what rounds beyond it. */
const HALVES = [
  ...[65504, 65519, 65520, -65520, 1e30, Infinity, -Infinity, NaN, 2 ** -14, 2 ** -24, 2 ** -25],
  ...[1.5 * 2 ** -24, 2 ** -25 * 1.001, 3e-7, 6.1e-5, 1 + 2 ** -11, 1 + 3 * 2 ** -11, -0, 1e-40],
];

/** Stores into a cache and reads single rows back: attention over one row is that row's value. */
function valueCase(
  dtype: CacheType,
  [rows, kvHeads, headDim]: readonly [number, number, number],
): OpCase<"cacheStore"> {
  return {
    title: `${dtype} values of ${kvHeads} heads of ${headDim} in ${rows} rows`,
    runs: [6, 1, 4],
    bound: dtype === "int8" ? 1e-6 : 0,
    record(r, op) {
      const width = kvHeads * headDim;
      const values = op([
        r.cache("valueCache", [rows, kvHeads, headDim], dtype),
        r.input(["tokens", width], planted(HALVES, dtype === "int8" ? 64 : 4)),
        r.indices(["tokens"], (_, i, run) => scatter(i + 3 * run.index, rows)),
      ], {});
      return r.graph.op("attention", [
        r.input([rows, width]),
        r.cache("keyCache", [rows, kvHeads, headDim]),
        values,
        r.indices([rows, 2], (_, i) => (i + 1) >> 1),
      ], { heads: kvHeads, scale: 1 });
    },
  };
}

/** Stores keys and attends to them. */
function keyCase(
  dtype: CacheType,
  [rows, kvHeads, headDim]: readonly [number, number, number],
): OpCase<"cacheStore"> {
  return {
    title: `${dtype} keys of ${kvHeads} heads of ${headDim} in ${rows} rows`,
    runs: [6, 1, 4],
    bound: boundOf(dtype),
    record(r, op) {
      const width = kvHeads * headDim;
      const keys = op([
        r.cache("keyCache", [rows, kvHeads, headDim], dtype),
        r.input(["tokens", width]),
        r.indices(["tokens"], (_, i, run) => scatter(i + 3 * run.index, rows)),
      ], {});
      return r.graph.op("attention", [
        r.input([5, width]),
        keys,
        scatteredCache(r, "valueCache", [rows, kvHeads, headDim], "f32", () => false),
        r.indices([5, 2], (_, i) => i % 2 === 0 ? 0 : rows),
      ], { heads: kvHeads, scale: headDim ** -0.5 });
    },
  };
}

/** Cases of `cacheStore`. */
export const CACHE_STORE_CASES: readonly OpCase<"cacheStore">[] = [
  ...CACHE_TYPES.flatMap((dtype) =>
    ([[6, 1, 1], [9, 3, 2], [17, 2, 3], [8, 1, 7], [65, 2, 10], [130, 3, 14], [20, 4, 64], [
      9,
      2,
      33,
    ]] as const)
      .flatMap((shape) => [valueCase(dtype, shape), keyCase(dtype, shape)])
  ),
  ...CACHE_TYPES.flatMap((dtype) =>
    (["keyCache", "valueCache"] as const).map((role): OpCase<"cacheStore"> => ({
      title: `prefill, ${dtype} ${role}: 64 tokens, 4 heads of 64`,
      tokens: 64,
      bound: boundOf(dtype),
      bench: true,
      record(r, op) {
        const shape = [64, 4, 64] as const;
        const caches = {
          keyCache: r.cache("keyCache", shape, dtype),
          valueCache: r.cache("valueCache", shape, dtype),
        };
        const rows = r.indices(["tokens"], (_, i) => i);
        caches[role] = op([caches[role], r.input(["tokens", 256]), rows], {});
        return r.graph.op("attention", [
          r.input([1, 256]),
          caches.keyCache,
          caches.valueCache,
          r.indices([1, 2], (_, i) => 64 * i),
        ], { heads: 4, scale: 0.125 });
      },
    }))
  ),
];
