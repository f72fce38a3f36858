/**
 * Runs cases of the op table on a backend.
 *
 * @module
 */

import type { Graph } from "../graph.ts";
import { elements } from "../kernels/op.ts";
import type { OpName } from "../kernels/ops.ts";
import { encodeRows, LAYOUTS } from "../quant/formats.ts";
import type { Backend, Executable, TensorData } from "../runtime/backends/backend.ts";
import { makePlan, type Plan } from "../runtime/graph/plan.ts";
import { drawNumbers, type OpCase, Recorder, type Run } from "./recorder.ts";

/** What was drawn for a case, by tensor and run: the same numbers go to every backend. */
const drawn = new WeakMap<object, Map<string, TensorData | Uint8Array>>();

function remember<T extends TensorData | Uint8Array>(row: object, key: string, draw: () => T): T {
  let known = drawn.get(row);
  if (!known) drawn.set(row, known = new Map());
  let data = known.get(key) as T | undefined;
  if (!data) known.set(key, data = draw());
  return data;
}

/** A case that is ready to run. */
export interface PreparedCase {
  /** Successive runs. */
  readonly runs: readonly Run[];
  /** Fills the caches and writes the inputs of a run. */
  prepare(run: Run): Promise<void>;
  /** Runs the graph on what was prepared. */
  run(run: Run): Promise<void>;
  /** The result of a run. */
  read(run: Run): Promise<Float32Array>;
}

/** Records a case, places its weights and compiles it; `id` is unique on the backend. */
async function prepareCase<N extends OpName>(
  backend: Backend,
  op: N,
  row: OpCase<N>,
  id: string,
): Promise<PreparedCase> {
  const tokens = row.tokens ?? 6;
  const recorder = new Recorder(tokens, id);
  const { graph, setup, drawn } = recorder;
  const result = row.record(recorder, (inputs, attrs) => graph.op(op, inputs, attrs));
  graph.output("result", result);

  const plan = (graph: Graph): Plan => makePlan(graph, (type) => backend.bytesOf(type));
  for (const it of [graph, setup]) backend.place(plan(it));
  for (const tensor of graph.tensors) {
    if (tensor.origin !== "weight") continue;
    const layout = LAYOUTS[tensor.dtype as keyof typeof LAYOUTS];
    const rows = remember(row, tensor.name, () => {
      const numbers = drawNumbers(tensor, drawn.get(tensor)!, { index: 0, tokens });
      return encodeRows(layout, Float32Array.from(numbers), tensor.shape.at(-1)!);
    });
    await backend.writeRows(tensor.name, 0, rows);
  }

  const compile = (graph: Graph): Executable => backend.compile(plan(graph));
  const executable = compile(graph);
  const filling = setup.nodes.length > 0 ? compile(setup) : undefined;
  const write = (graph: Graph, executable: Executable, run: Run): void => {
    for (const tensor of graph.tensors) {
      if (tensor.origin !== "input") continue;
      const numbers = remember<TensorData>(row, `${tensor.name} ${run.index}`, () => {
        const numbers = drawNumbers(tensor, drawn.get(tensor)!, run);
        return tensor.dtype === "i32" ? Int32Array.from(numbers) : Float32Array.from(numbers);
      });
      if (tensor.dtype === "f32") {
        // What is left of an earlier, longer run must not be read.
        executable.write(tensor.name, new Float32Array(elements(tensor.shape)).fill(NaN));
      }
      executable.write(tensor.name, numbers);
    }
  };
  return {
    runs: (row.runs ?? [tokens]).map((tokens, index) => ({ index, tokens })),
    async prepare(run) {
      if (filling) {
        write(setup, filling, run);
        await filling.run(1);
      }
      write(graph, executable, run);
    },
    run: ({ tokens }) => executable.run(tokens),
    async read({ tokens }) {
      const rows = result.perToken ? tokens : result.shape[0]!;
      return await executable.read("result", elements([rows, ...result.shape.slice(1)]));
    },
  };
}

/** The results of all runs of a case. */
export async function runCase<N extends OpName>(
  backend: Backend,
  op: N,
  row: OpCase<N>,
  id: string,
): Promise<Float32Array[]> {
  const prepared = await prepareCase(backend, op, row, id);
  const results: Float32Array[] = [];
  for (const run of prepared.runs) {
    await prepared.prepare(run);
    await prepared.run(run);
    results.push(await prepared.read(run));
  }
  return results;
}

/** Smallest normal f32: below it, numbers have an absolute precision only. */
const LEAST_SCALE = 2 ** -126;

/**
 * The greatest difference of two elements, relative to the expected one's magnitude or to the root
 * mean square of all that are finite, whichever is larger. Infinite where an element should be NaN
 * or an infinity and is not, or the other way round.
 */
export function deviation(actual: Float32Array, expected: Float32Array): number {
  let squares = 0, finite = 0;
  for (const value of expected) {
    if (Number.isFinite(value)) squares += value * value, finite++;
  }
  const scale = Math.max(LEAST_SCALE, Math.sqrt(squares / Math.max(1, finite)));
  let worst = 0;
  for (const [i, value] of expected.entries()) {
    const found = actual[i]!;
    if (Object.is(found, value)) continue;
    if (!Number.isFinite(value) || !Number.isFinite(found)) return Infinity;
    worst = Math.max(worst, Math.abs(found - value) / Math.max(Math.abs(value), scale));
  }
  return worst;
}
