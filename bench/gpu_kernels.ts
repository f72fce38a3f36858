/**
 * WebGPU kernels at shapes of models, beside what the adapter does at best.
 *
 * @module
 */

import type { Tensor } from "../graph.ts";
import { CACHE_TYPES, type CacheType } from "../kernels/op.ts";
import { type LayoutName, LAYOUTS } from "../quant/formats.ts";
import { createWebgpuBackend } from "../runtime/backends/webgpu/backend.ts";
import type { ChosenVariants } from "../runtime/backends/webgpu/variants.ts";
import { type GpuLimits, openGpuLimits } from "./gpu_limits.ts";
import { prepareGpuKernel } from "./kernel_case.ts";
import { caseRows, filledCaches, type KernelRow, smallRows } from "./kernel_rows.ts";
import { digits, ratios, type Spread, spread } from "./stats.ts";

/** One row of the result. */
export interface GpuKernelResult {
  /** What was timed. */
  readonly name: string;
  /** Microseconds of one call. */
  readonly us: Spread;
  /** Gigabytes that must be read and written once, per second of the median call. */
  readonly gbPerSecond: number;
  /** Billions of operations per second of the median call. */
  readonly gopPerSecond: number;
  /** What holds it back at best: `copy`, `f32` or `f16`. */
  readonly limit: string;
  /** Achieved part of the limit, pair by pair. */
  readonly share: Spread;
}

/** Limits and rows. */
export interface GpuKernels {
  /** The adapter, as it describes itself. */
  readonly facts: GpuLimits["facts"];
  /** Which kernels it got, and the times that decided it. */
  readonly variants?: ChosenVariants;
  /** Limits: `copy` in GB/s, `f32` and `f16` in GFLOP/s. */
  readonly limits: Readonly<Record<string, Spread>>;
  /** Rows. */
  readonly results: readonly GpuKernelResult[];
}

/** Together larger than a GPU's last level of cache; each call reads another matrix. */
const WORKING_SET = 2 ** 28, MOST_COPIES = 16;

/** A square product; what comes out goes into the next call, as in a model. */
function squareRow(layout: LayoutName, tokens: number, width: number): KernelRow {
  const bytes = LAYOUTS[layout].bitsPerWeight / 8 * width * width;
  const copies = Math.min(MOST_COPIES, Math.max(1, Math.ceil(WORKING_SET / bytes)));
  return {
    name: `matmul ${layout} ${tokens}x${width}x${width}`,
    op: "matmul",
    tokens,
    record(r, repeat) {
      const x = r.input(["tokens", width]);
      const weights = Array.from({ length: copies }, () => r.matrix([width, width], layout));
      return repeat((i, last) => [last ?? x, weights[i % copies]!], {});
    },
  };
}

/** Attention of one token: 32 heads of 128 in groups of 4, in as many layers as fill a cache. */
function decodeRow(dtype: CacheType, span: number): KernelRow {
  const heads = 32, kvHeads = 8, headDim = 128;
  const bytes = 2 * span * kvHeads * headDim * LAYOUTS[dtype].bitsPerWeight / 8;
  const layers = Math.min(MOST_COPIES, Math.ceil(WORKING_SET / bytes));
  return {
    name: `attention ${dtype} cache, ${span} positions, 32/8 heads of 128`,
    op: "attention",
    record(r, repeat) {
      const caches = filledCaches(r, layers, [span, kvHeads, headDim], dtype);
      const spans = r.indices([1, 2], (_, i) => i * span), q = r.input([1, heads * headDim]);
      const attrs = { heads, scale: headDim ** -0.5 };
      const operands = (i: number, last?: Tensor): Tensor[] => [
        last ?? q,
        ...caches[i % layers]!,
        spans,
      ];
      return repeat(operands, attrs);
    },
  };
}

function rowsOf(widths: readonly number[], tokens: number): KernelRow[] {
  const decode = ["int4", "int4m", "int8", "f16", "f32"] as const;
  const span = Math.max(...widths);
  return [
    ...widths.flatMap((width) => decode.map((layout) => squareRow(layout, 1, width))),
    ...widths.flatMap((width) =>
      (["int4", "int8", "f16"] as const).map((layout) => squareRow(layout, tokens, width))
    ),
    squareRow("f16", Math.min(...widths), Math.min(...widths)),
    ...CACHE_TYPES.map((dtype) => decodeRow(dtype, span)),
    // Products of bytes are what a backend chooses; here they would be the only thing it does.
    ...smallRows(4096, 14336).filter(({ op }) => op !== "quantizeActivations"),
    ...caseRows().filter(({ op, name }) => !(op === "matmul" && name.includes("int"))),
  ];
}

/** Measures the kernels; `onResult` is called with each row. */
export async function measureGpuKernels(options: {
  readonly widths: readonly number[];
  readonly tokens: number;
  readonly runs: number;
  readonly filter?: string;
  readonly onResult?: (result: GpuKernelResult) => void;
}): Promise<GpuKernels> {
  const small = Math.max(...options.widths) <= 1024;
  const limits = await openGpuLimits(small);
  const rates: Record<string, number[]> = {};
  const measure = async (name: "copy" | "f32" | "f16"): Promise<number> => {
    const rate = await limits[name]!();
    (rates[name] ??= []).push(rate);
    return rate;
  };
  const results: GpuKernelResult[] = [];
  let variants: ChosenVariants | undefined;
  try {
    for (const row of rowsOf(options.widths, options.tokens)) {
      if (!row.name.includes(options.filter ?? "")) continue;
      const backend = await createWebgpuBackend();
      variants = backend.variants;
      try {
        const ready = await prepareGpuKernel(backend, row);
        const { flops, bytes } = ready.cost;
        const arithmetic = limits.f16 ? "f16" : "f32";
        const limit = flops / bytes > 64 ? arithmetic : "copy";
        const us: number[] = [], best: number[] = [];
        for (let run = 0; run < options.runs; run++) {
          best.push(await measure(limit));
          us.push(await ready.time());
        }
        const time = spread(us), work = limit === "copy" ? bytes : flops;
        results.push({
          name: row.name,
          us: time,
          gbPerSecond: digits(bytes / time.median / 1e3),
          gopPerSecond: digits(flops / time.median / 1e3),
          limit,
          share: ratios(us.map((it) => work / it / 1e3), best),
        });
        options.onResult?.(results.at(-1)!);
      } finally {
        await backend.dispose();
      }
    }
    if (limits.f16) await measure("f32");
    const kept = Object.entries(rates).map(([name, values]) => [name, spread(values)]);
    return {
      ...(variants && { variants }),
      facts: limits.facts,
      limits: Object.fromEntries(kept),
      results,
    };
  } finally {
    limits.dispose();
  }
}
