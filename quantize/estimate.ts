/**
 * What a run will take, before it begins: arithmetic on what there is to do, with the speeds of this
 * machine, which are measured in a moment.
 *
 * @module
 */

import { elements } from "../kernels/op.ts";
import { tensorBlocks } from "../quant/ggml_types.ts";
import { compile } from "../runtime/compile.ts";
import type { ResolvedModel } from "../runtime/engine/resolve.ts";
import { Graph } from "../runtime/graph/graph.ts";
import { writingBytes } from "./calibration.ts";
import { layersOf } from "./layers.ts";
import { type ChosenOptions, DEFAULT_TOKENS, type QuantizeEstimate } from "./options.ts";
import type { Draft } from "./draft.ts";
import { isLarge, VERIFIED_TOKENS } from "./report/prove.ts";
import type { TensorPlan } from "./types.ts";
import { AREA, SHORT_SEARCHES, typeNumber } from "./wasm/encode.ts";
import type { Pool, Step } from "./wasm/pool.ts";

/** What is going to be done. */
export interface EstimatedWork {
  readonly name: string;
  readonly model: ResolvedModel;
  /** All tensors. */
  readonly plans: readonly TensorPlan[];
  /** Where it is written, and some of it may be already. */
  readonly draft: Draft;
  /** Whether texts are read. */
  readonly isCalibrated: boolean;
  readonly willVerify: boolean;
}

/** What is resident before there is any model. */
const BASE_BYTES = 160e6;
/** Numbers of a sample. */
const SAMPLE = 4096;
/** For so long a sample is encoded, so many times; the shortest counts. */
const PROBE_MS = 2, PROBES = 4;
/** How many times faster products and sums of integers are than those of floats. */
const INTEGERS = 2;
/** Rows and powers that scales are tried on (fold.ts). */
const TRIED = 64 * 11;
/** How many times faster a text is read than written, where one token follows from another. */
const WRITING = 6;

/** How many times longer a byte takes to be written than to be read. */
const WRITE_COST = 4;

/** Estimates a run. */
export async function estimateRun(
  pool: Pool,
  { name, model, plans, draft, isCalibrated, willVerify }: EstimatedWork,
  { method, tokens = DEFAULT_TOKENS, threads, calibration = "self", imatrix, signal }:
    ChosenOptions,
): Promise<QuantizeEstimate> {
  const left = plans.filter((it) => !draft.has(it.name));
  const rounded = left.filter(({ from, type }) => from !== type);
  const bytes = plans.reduce((sum, it) => sum + it.elements * it.bits[1] / 8, 0);
  const perNumber = new Map<string, number>();
  const numberTime = async (from: string, type: string, isSearched: boolean): Promise<number> => {
    const key = `${from} ${type} ${isSearched}`;
    const known = perNumber.get(key) ?? await encodeTime(pool, from, type, isSearched);
    perNumber.set(key, known);
    return known;
  };
  const copied = left.reduce(
    (sum, { elements, bits: [from, to] }) => sum + elements * (from + WRITE_COST * to) / 8,
    0,
  );
  let seconds = copied * await copyTime(pool, draft);
  const isRead = isCalibrated || willVerify;
  const sections = isCalibrated ? layersOf(name, model).sections : [];
  const tensorsOf = (weight: string): readonly string[] => model.weights.get(weight)!.tensors;
  const multiplied = new Set(
    sections.flatMap((it) => it.multiplied.flatMap(({ weight }) => tensorsOf(weight))),
  );
  for (const { name, from, type, elements } of rounded) {
    // Of a table of words nothing is known.
    const isSearched = imatrix !== undefined || multiplied.has(name);
    seconds += elements * await numberTime(from, type, isSearched) / pool.threads;
  }
  let memory = BASE_BYTES + pool.threads * 1e6;
  if (!isRead) return { tensors: rounded.length, bytes, seconds, memory };
  const rate = await productRate(threads, signal);
  const count = plans.reduce((sum, it) => sum + it.elements, 0);
  /** Of a text that the model reads once, with these numbers of operations for each weight and token. */
  const reading = (times: number, tokens: number): number => 2 * times * count * tokens / rate;
  const isSelf = calibration === "self";
  if (isCalibrated) {
    if (isSelf) seconds += reading(WRITING, tokens);
    const { hiddenSize } = model.config as SizedConfig;
    const types = new Map(plans.map((it) => [it.name, it.type]));
    let most = 0;
    for (const { multiplied } of sections) {
      const inputs = new Map<string, number>();
      let weights = 0;
      for (const { weight, by } of multiplied) {
        const { shape } = model.weights.get(weight)!, columns = shape.at(-1)!;
        const rows = elements(shape) / columns;
        inputs.set(by, columns);
        weights += rows * columns;
        // Through the exact layer and the rounded one, in integers.
        seconds += 2 * 2 * rows * columns * tokens / (INTEGERS * rate);
        if (method === "gptq") seconds += 3 * rows * columns ** 2 / rate;
        if (method !== "importance") {
          const type = types.get(tensorsOf(weight)[0]!)!;
          const isBlocks = tensorBlocks(type)!.blockSize > 1;
          const time = isBlocks ? await numberTime("F32", type, true) : 0;
          seconds += TRIED * columns * time / pool.threads;
        }
      }
      let sums = 0;
      for (const columns of inputs.values()) {
        if (method !== "gptq") continue;
        seconds += (3 / INTEGERS * tokens * columns ** 2 + 2 * columns ** 3) / rate;
        sums += 16 * columns ** 2;
      }
      const widest = Math.max(0, ...inputs.values());
      // Weights in 8 bits and as they are written; texts on both ways, before and behind.
      most = Math.max(most, 3 * weights + sums + 8 * tokens * (3 * (hiddenSize ?? 0) + 2 * widest));
    }
    memory += most;
  }
  if (isSelf) memory = Math.max(memory, BASE_BYTES + writingBytes(count));
  if (willVerify) {
    const compared = Math.min(tokens, VERIFIED_TOKENS);
    seconds += reading(WRITING + 2, compared);
    // The source in f32, and what was made of it, unless that is too much.
    memory = Math.max(memory, BASE_BYTES + (isLarge(count) ? 0 : 4 * count + bytes));
  }
  return { tensors: rounded.length, bytes, seconds, memory };
}

/** Configurations of most families. */
interface SizedConfig {
  readonly hiddenSize?: number;
}

/** Seconds a number that a thread takes to encode it. */
async function encodeTime(
  pool: Pool,
  from: string,
  type: string,
  isSearched: boolean,
): Promise<number> {
  const mark = pool.mark(), blocks = tensorBlocks(type)!;
  try {
    const [source, values, weights, out, area] = [8, 4, 4, 4, AREA / SAMPLE].map((it) =>
      pool.reserve(it * SAMPLE)
    ) as [number, number, number, number, number];
    const numbers = Float32Array.from(
      { length: SAMPLE },
      (_, i) => Math.sin(i) * Math.cos(1.7 * i),
    );
    pool.floats(weights, SAMPLE).fill(1);
    pool.floats(values, SAMPLE).set(numbers);
    // What a type decodes from is of little matter: codes take no longer than halves.
    if (from === "F32") pool.floats(source, SAMPLE).set(numbers);
    else pool.bytes(source, 2 * SAMPLE).set(new Uint8Array(new Float16Array(numbers).buffer));
    const read = typeNumber(from === "F32" ? from : "F16"), number = typeNumber(type);
    const isLong = blocks.blockSize > 1 && (isSearched || !SHORT_SEARCHES.has(type));
    const steps: Step[] = isLong
      ? [["call", "encodeRows", number, values, weights, SAMPLE, 1, out, area]]
      : [
        ["call", "encodeNearest", read, source, SAMPLE, values, number]
          .concat([out, area] as never) as unknown as Step,
      ];
    return await timeOf(pool, steps) / SAMPLE;
  } finally {
    pool.release(mark);
  }
}

/** Seconds a byte of what is in the system's memory takes to be read from a file, by all threads. */
async function copyTime(pool: Pool, { path, source }: Draft): Promise<number> {
  const bytes = Math.min(1 << 20, source.size), mark = pool.mark();
  try {
    const time = await timeOf(pool, [["read", path, 0, pool.reserve(bytes), bytes]]);
    await pool.closeFiles();
    return time / bytes / pool.threads;
  } finally {
    pool.release(mark);
  }
}

/** Seconds that steps take on one thread, beside what it takes to send it anything. */
async function timeOf(pool: Pool, steps: Step[]): Promise<number> {
  const run = async (times: number): Promise<number> => {
    const list = Array.from({ length: times }, () => steps).flat(), begun = performance.now();
    await pool.each(1, 1, () => list);
    return performance.now() - begun;
  };
  /** The shortest counts: others had to wait for the processor. */
  const shortest = async (times: number): Promise<number> => {
    let best = Infinity;
    for (let i = 0; i < PROBES; i++) best = Math.min(best, await run(times));
    return best;
  };
  let times = 4; // the first runs are those of code that is compiled in haste
  while (await shortest(times) < PROBE_MS) times *= 4;
  return (await shortest(times) - await shortest(0)) / times / 1000;
}

/** Products and sums by the second, where texts run through a matrix. */
async function productRate(
  threads: number | undefined,
  signal: AbortSignal | undefined,
): Promise<number> {
  const ROWS = 512, COLUMNS = 1024, g = new Graph();
  const x = g.input("x", [ROWS, COLUMNS]);
  g.output("y", g.op("matmul", [x, g.matrix("w", [COLUMNS, COLUMNS])]));
  await using compiled = await compile(g, {
    ...{ backend: "wasm", ...(threads !== undefined && { threads }) },
    weights: { w: new Float32Array(COLUMNS * COLUMNS).fill(0.5) },
  });
  const inputs = { x: new Float32Array(ROWS * COLUMNS).fill(0.5) };
  let best = Infinity;
  for (let run = 0; run < 3; run++) {
    signal?.throwIfAborted();
    const begun = performance.now();
    await compiled.run(inputs);
    best = Math.min(best, performance.now() - begun);
  }
  return 2 * ROWS * COLUMNS * COLUMNS / best * 1000;
}
