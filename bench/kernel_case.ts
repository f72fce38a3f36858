/**
 * A row of `deno task bench kernels` or `gpu`, made ready on a backend: the op is recorded so often
 * in one graph that waking the workers, or waiting for the GPU, does not count.
 *
 * @module
 */

import type { Graph, Tensor } from "../graph.ts";
import type { Cost } from "../kernels/op.ts";
import { type OpName, OPS } from "../kernels/ops.ts";
import { encodeRows, type LayoutName, LAYOUTS } from "../quant/formats.ts";
import type { Backend, Executable } from "../runtime/backends/backend.ts";
import { makePlan, type Plan } from "../runtime/graph/plan.ts";
import { drawNumbers, Recorder } from "../cases/recorder.ts";
import { randomNumbers } from "../cases/numbers.ts";
import type { KernelRow } from "./kernel_rows.ts";
import type { LimitName } from "./limits/limits.ts";
import { perRepeat } from "./stats.ts";

/** A row that can be timed. */
export interface KernelCase {
  /** Work of one call of the op. */
  readonly cost: Cost;
  /** What holds it back at best. */
  readonly limit: Exclude<LimitName, "dramNative">;
  /** Runs it; microseconds of one call of the op. */
  time(): Promise<number>;
}

/** One run is at least this long, so that the 20 to 50 µs of waking the workers are little. */
const LEAST_MS = 5;
const MOST_REPEATS = 2000;
/** Above this many operations for each byte that is moved, arithmetic holds a kernel back. */
const ARITHMETIC = 8;

/** Calls of an op in one submission to a GPU, and how many submissions are enough for a clock. */
const GPU_REPEATS = 16, MOST_SUBMISSIONS = 2048, LEAST_GPU_MS = 150;

/** Places a row's weights, fills its caches and warms it up. */
export async function prepareKernel(backend: Backend, row: KernelRow): Promise<KernelCase> {
  const placed = new Set<string>();
  const once = await record(backend, row, 1, placed);
  let us = await once.time();
  if (backend.name === "reference") return once;
  for (let i = 0; i < 3; i++) us = Math.min(us, await once.time());
  let ready = once, repeats = 1;
  // What was seen of one call is mostly waking up where the op is small: look again.
  for (let ms = us / 1000; ms * repeats < LEAST_MS / 2 && repeats < MOST_REPEATS;) {
    repeats = Math.min(MOST_REPEATS, Math.ceil(LEAST_MS / ms));
    ready = await record(backend, row, repeats, placed);
    await ready.time();
    ms = await ready.time() / 1000;
  }
  return ready;
}

/**
 * The same on a GPU: a call takes what many submissions take longer than few, so that neither
 * waiting for the last nor reading its result counts.
 */
export async function prepareGpuKernel(backend: Backend, row: KernelRow): Promise<KernelCase> {
  const { cost, limit, executable } = await record(backend, row, GPU_REPEATS, new Set());
  const submit = async (count: number): Promise<number> => {
    const begun = performance.now();
    for (let i = 0; i < count; i++) await executable.run(row.tokens ?? 1);
    await executable.read("result", 1);
    return performance.now() - begun;
  };
  await submit(1);
  let many = 2;
  while (await submit(many) < LEAST_GPU_MS && many < MOST_SUBMISSIONS) many *= 2;
  const few = Math.max(1, many >> 3);
  return {
    cost,
    limit,
    async time() {
      const least = await submit(few);
      return perRepeat(many, await submit(many), few, least) * 1000 / GPU_REPEATS;
    },
  };
}

/** `placed` are the names of the weights and caches that the backend has from earlier calls. */
async function record(
  backend: Backend,
  row: KernelRow,
  repeats: number,
  placed: Set<string>,
): Promise<KernelCase & { executable: Executable }> {
  const { tokens = 1 } = row, isFirst = placed.size === 0;
  const recorder = new Recorder(tokens, row.name);
  const { graph, setup, drawn } = recorder;
  let timed: readonly Tensor[] | undefined, attributes: unknown;
  const result = row.record(recorder, (operands, attrs) => {
    timed = operands(0, undefined);
    attributes = attrs;
    let out: Tensor | undefined;
    for (let i = 0; i < repeats; i++) {
      out = graph.op(row.op as OpName, operands(i, out), attrs as never);
    }
    return out!;
  });
  graph.output("result", result);
  const run = { index: 0, tokens };
  const valuesOf = new Map(Array.from(drawn, ([tensor, values]) => [tensor.name, values]));
  const numbersOf = (tensor: Tensor): Float64Array =>
    drawNumbers(tensor, valuesOf.get(tensor.name)!, run);
  // On a GPU what is measured goes with the fusions and the rounding that the backend chooses.
  const lowered = backend.name === "webgpu" ? backend.lower(graph) : graph;
  const planOf = (recorded: Graph): Plan => makePlan(recorded, (type) => backend.bytesOf(type));
  const plan = planOf(lowered), fills = isFirst && setup.nodes.length > 0 ? [planOf(setup)] : [];
  // What fills the caches fills all of them, also those that one repetition does not read.
  const plans = [plan, ...fills];
  for (const it of plans) backend.place(it);
  const stages = plans.flatMap((it) => it.stages);
  for (const tensor of stages.flatMap(({ pinned }) => pinned)) {
    if (placed.has(tensor.name)) continue;
    placed.add(tensor.name);
    if (tensor.role === "matrix") await writeRandom(backend, tensor);
    else if (tensor.origin === "weight") {
      const numbers = Float32Array.from(numbersOf(tensor));
      await backend.writeRows(tensor.name, 0, encodeRows(LAYOUTS.f32, numbers, numbers.length));
    }
  }
  const compile = (plan: Plan): Executable => {
    const executable = backend.compile(plan);
    for (const tensor of plan.stages.flatMap(({ inputs }) => inputs)) {
      const numbers = numbersOf(tensor);
      executable.write(
        tensor.name,
        tensor.dtype === "i32" ? Int32Array.from(numbers) : Float32Array.from(numbers),
      );
    }
    return executable;
  };
  for (const fill of fills) await compile(fill).run(1);
  const executable = compile(plan);
  const cost = OPS[row.op].cost(timed!, attributes as never);
  return {
    cost,
    limit: row.limit ?? limitOf(cost, timed!),
    executable,
    async time() {
      const begun = performance.now();
      await executable.run(tokens);
      return (performance.now() - begun) * 1000 / repeats;
    },
  };
}

function limitOf({ flops, bytes }: Cost, inputs: readonly Tensor[]): "cache" | "madd" | "dot" {
  if (flops / bytes < ARITHMETIC) return "cache";
  return inputs.some(({ dtype }) => dtype === "a8") ? "dot" : "madd";
}

/** Rows of random weights, the same few again and again: no kernel's time depends on them. */
async function writeRandom(backend: Backend, { name, shape, dtype }: Tensor): Promise<void> {
  const [rows, columns] = shape as [number, number];
  const layout = LAYOUTS[dtype as LayoutName], random = randomNumbers(1);
  const count = Math.min(rows, 256);
  const numbers = Float32Array.from({ length: count * columns }, () => random() - 0.5);
  const piece = encodeRows(layout, numbers, columns);
  for (let row = 0; row < rows; row += count) {
    const part = Math.min(count, rows - row) / count;
    await backend.writeRows(name, row, piece.subarray(0, piece.length * part));
  }
}
