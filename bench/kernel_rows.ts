/**
 * What `deno task bench kernels` times beside the op cases: shapes of real models, too
 * large to compare with the reference every time.
 *
 * @module
 */

import type { Tensor } from "../graph.ts";
import { CACHE_TYPES, type CacheType } from "../kernels/op.ts";
import type { OpAttributes, OpName } from "../kernels/ops.ts";
import { type LayoutName, LAYOUTS } from "../quant/formats.ts";
import { normal, type OpCase, type Recorder } from "../cases/recorder.ts";
import { CASES } from "../cases/cases.ts";
import { lastLevelCacheBytes, type LimitName } from "./limits/limits.ts";

/** One thing to time. */
export interface KernelRow {
  /** Name, unique. */
  readonly name: string;
  /** The op that is timed. */
  readonly op: OpName;
  /** Tokens of a run; 1 where absent. */
  readonly tokens?: number;
  /** What holds it back at best; found from the work done where absent. */
  readonly limit?: Exclude<LimitName, "dramNative">;
  /**
   * Records operands, and then the op as often as `repeat` says, on the operands of each repetition;
   * returns what `repeat` returns, or something made of it.
   */
  record(r: Recorder, repeat: Repeat): Tensor;
}

/** Records an op again and again; `last` is the result of the repetition before. */
export type Repeat = (
  operands: (i: number, last: Tensor | undefined) => readonly Tensor[],
  attrs: unknown,
) => Tensor;

const INTEGERS: readonly LayoutName[] = [
  ...["int4", "int4m", "int8", "int4n", "int5", "int5m", "int4k", "int5k", "int6k"] as const,
];
const GEMV_LAYOUTS: readonly LayoutName[] = [...INTEGERS, "f16", "f32"];
/** Numbers of tokens between one and a chunk of a prompt. */
const TOKENS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];
/** A working set this many times the last level of cache comes from memory. */
const OVER_CACHE = 4;

function matmulRow(
  name: string,
  layout: LayoutName,
  tokens: number,
  [rows, columns]: readonly [number, number],
  limit?: KernelRow["limit"],
): KernelRow {
  return {
    name,
    op: "matmul",
    tokens,
    ...(limit ? { limit } : {}),
    record(r, repeat) {
      const weight = r.matrix([rows, columns], layout);
      const x = r.input(["tokens", columns]);
      const operand = INTEGERS.includes(layout) ? r.graph.op("quantizeActivations", [x]) : x;
      return repeat(() => [operand, weight], {});
    },
  };
}

/** Rows of a matrix of 4096 columns that is far larger than the last level of cache. */
function rowsFromMemory(layout: LayoutName, cacheBytes: number): number {
  const bytes = LAYOUTS[layout].bitsPerWeight / 8 * 4096;
  return Math.ceil(OVER_CACHE * cacheBytes / bytes / 1024) * 1024;
}

/** Pairs of caches of keys and values, filled with the same numbers. */
export function filledCaches(
  r: Recorder,
  pairs: number,
  shape: readonly [rows: number, kvHeads: number, headDim: number],
  dtype: CacheType,
): Tensor[][] {
  const [rows, kvHeads, headDim] = shape;
  const x = r.setup.input("x", [rows, kvHeads * headDim]);
  const places = r.setup.input("rows", [rows], "i32");
  r.drawn.set(x, { values: normal(), seed: 1 }).set(places, { values: (_, i) => i, seed: 2 });
  return Array.from(
    { length: pairs },
    (_, pair) =>
      (["keyCache", "valueCache"] as const).map((role) => {
        const name = `${role} ${pair}`;
        r.setup.op("cacheStore", [r.setup.cache(name, role, shape, dtype), x, places]);
        return r.graph.cache(name, role, shape, dtype);
      }),
  );
}

/** Attention of one token as in a model of 340 million weights: 16 heads of 64 in groups of 4. */
function decodeRow(dtype: CacheType, span: number, cacheBytes: number): KernelRow {
  const heads = 16, kvHeads = 4, headDim = 64, layers = 20;
  const bytes = 2 * layers * span * kvHeads * headDim * LAYOUTS[dtype].bitsPerWeight / 8;
  // Enough layers that their caches come from memory where a model's would.
  const isLarge = bytes > cacheBytes;
  const pairs = isLarge ? Math.ceil(layers * Math.max(1, OVER_CACHE * cacheBytes / bytes)) : layers;
  return {
    name: `attention decode, ${dtype} cache, ${span} positions, 16/4 heads of 64`,
    op: "attention",
    limit: isLarge ? "dram" : "cache",
    record(r, repeat) {
      const caches = filledCaches(r, pairs, [span, kvHeads, headDim], dtype);
      const spans = r.indices([1, 2], (_, i) => i * span), q = r.input([1, heads * headDim]);
      return repeat((i) => [q, ...caches[i % pairs]!, spans], { heads, scale: headDim ** -0.5 });
    },
  };
}

/** Attention of a chunk of a prompt, each token to all: what a cost counts. */
function prefillRow(dtype: CacheType, tokens: number): KernelRow {
  const heads = 16, kvHeads = 4, headDim = 64;
  return {
    name: `attention prefill, ${dtype} cache, ${tokens} tokens, 16/4 heads of 64`,
    op: "attention",
    tokens,
    limit: "madd",
    record(r, repeat) {
      const [pair] = filledCaches(r, 1, [tokens, kvHeads, headDim], dtype);
      const spans = r.indices(["tokens", 2], (_, i) => i % 2 * tokens);
      const q = r.input(["tokens", heads * headDim]);
      const attrs = { heads, scale: headDim ** -0.5 };
      return repeat(() => [q, ...pair!, spans], attrs);
    },
  };
}

/** Steps that are no matmul, of one token as a rule. */
export function smallRows(width: number, inner: number): KernelRow[] {
  return [
    ...[1, 64].map((tokens): KernelRow => ({
      name: `quantizeActivations ${tokens} x ${width}`,
      op: "quantizeActivations",
      tokens,
      record: (r, repeat) => {
        const x = r.input(["tokens", width]), y = repeat(() => [x], {});
        // Nothing but a matmul reads what it makes.
        return r.graph.op("matmul", [y, r.matrix([16, width], "int8")]);
      },
    })),
    {
      name: `rmsNorm 1 x ${width}`,
      op: "rmsNorm",
      record: (r, repeat) => {
        const operands = [r.input(["tokens", width]), r.constant([width])];
        return repeat(() => operands, { eps: 1e-5 });
      },
    },
    {
      name: `glu silu 1 x ${inner}`,
      op: "glu",
      record: (r, repeat) => {
        const operands = [r.input(["tokens", inner]), r.input(["tokens", inner])];
        return repeat(() => operands, { kind: "silu" });
      },
    },
  ];
}

/** All rows, model shapes first, then what the tests mark. */
export function kernelRows(cacheBytes: number = lastLevelCacheBytes()): KernelRow[] {
  const square = [4096, 4096] as const;
  return [
    ...GEMV_LAYOUTS.map((layout) =>
      matmulRow(
        `${layout} GEMV from DRAM`,
        layout,
        1,
        [rowsFromMemory(layout, cacheBytes), 4096],
        "dram",
      )
    ),
    matmulRow("int4 GEMM 256x4096x4096", "int4", 256, square),
    matmulRow("f32 GEMM 1024x1024x1024", "f32", 1024, [1024, 1024]),
    matmulRow("f16 GEMM 1024x1024x1024", "f16", 1024, [1024, 1024]),
    ...CACHE_TYPES.flatMap((dtype) =>
      [128, 4096].map((span) => decodeRow(dtype, span, cacheBytes))
    ),
    ...CACHE_TYPES.map((dtype) => prefillRow(dtype, 512)),
    ...TOKENS.map((tokens) => matmulRow(`int4 ${tokens}x4096x4096`, "int4", tokens, square, "dot")),
    ...TOKENS.map((tokens) => matmulRow(`int8 ${tokens}x4096x4096`, "int8", tokens, square, "dot")),
    ...(["int4n", "int4m", "int5", "int5m", "int4k", "int5k", "int6k"] as const).flatMap((layout) =>
      [1, 2, 3, 4, 8, 16, 64, 256].map((tokens) =>
        matmulRow(`${layout} ${tokens}x4096x4096`, layout, tokens, square, "dot")
      )
    ),
    ...[1, 8, 64].flatMap((tokens) =>
      (["f16", "f32"] as const).map((layout) =>
        matmulRow(`${layout} ${tokens}x2048x2048`, layout, tokens, [2048, 2048], "madd")
      )
    ),
    ...smallRows(4096, 14336),
    ...caseRows(),
  ];
}

/** The cases in the tests that say `bench`. */
export function caseRows(): KernelRow[] {
  // The cases of quantizeActivations hold a product, which would be what is timed.
  const ops = (Object.keys(CASES) as OpName[]).filter((op) => op !== "quantizeActivations");
  return ops.flatMap(caseRowsOf);
}

function caseRowsOf<N extends OpName>(op: N): KernelRow[] {
  return (CASES[op] as readonly OpCase<N>[]).filter(({ bench }) => bench).map((row) => ({
    name: `${op}: ${row.title}`,
    op,
    tokens: row.tokens ?? 6,
    record: (r, repeat) => {
      const op = (inputs: readonly Tensor[], attrs: OpAttributes[N]): Tensor =>
        repeat(() => inputs, attrs);
      return row.record(r, op);
    },
  }));
}
