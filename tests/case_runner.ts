/**
 * Runs cases of the op table on a backend.
 *
 * @module
 */

import type { OpName } from "../kernels/ops.ts";
import { encodeRows, LAYOUTS } from "../quant/formats.ts";
import type { Backend, Executable, TensorData } from "../runtime/backend.ts";
import { makePlan } from "../runtime/plan.ts";
import { drawNumbers, type OpCase, Recorder, type Run } from "./case_recorder.ts";

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
  /** What runs. */
  readonly executable: Executable;
  /** Successive runs. */
  readonly runs: readonly Run[];
  /** Writes the inputs of a run. */
  write(run: Run): void;
  /** The result of a run. */
  read(run: Run): Float32Array;
}

/** Records a case, places its weights and compiles it; `id` is unique on the backend. */
export async function prepareCase<N extends OpName>(
  backend: Backend,
  op: N,
  row: OpCase<N>,
  id: string,
): Promise<PreparedCase> {
  const tokens = row.tokens ?? 6;
  const recorder = new Recorder(tokens, id);
  const { graph } = recorder;
  const result = row.record(recorder, (inputs, attrs) => graph.op(op, inputs, attrs));
  graph.output("result", result);
  const start = { index: 0, tokens };
  for (const tensor of graph.tensors) {
    if (tensor.origin !== "weight" && tensor.origin !== "cache") continue;
    backend.place(tensor, 0);
    const values = recorder.values.get(tensor);
    if (!values) continue;
    const layout = LAYOUTS[tensor.dtype as keyof typeof LAYOUTS];
    const rows = remember(row, `${tensor.id}`, () => {
      const numbers = Float32Array.from(drawNumbers(tensor, values, start));
      return encodeRows(layout, numbers, tensor.shape.at(-1)!);
    });
    await backend.writeRows(tensor.name, 0, rows);
  }
  const executable = backend.compile(makePlan(graph, (type) => backend.bytesOf(type)));
  const width = result.shape.slice(1).reduce((product, extent) => product * extent, 1);
  return {
    executable,
    runs: (row.runs ?? [tokens]).map((tokens, index) => ({ index, tokens })),
    write(run) {
      for (const tensor of graph.tensors) {
        const values = recorder.values.get(tensor);
        if (tensor.origin !== "input" || !values) continue;
        const numbers = remember<TensorData>(row, `${tensor.id} ${run.index}`, () => {
          const numbers = drawNumbers(tensor, values, run);
          return tensor.dtype === "i32" ? Int32Array.from(numbers) : Float32Array.from(numbers);
        });
        if (tensor.dtype === "f32") {
          // What is left of an earlier, longer run must not be read.
          const capacity = tensor.shape.reduce((product, extent) => product * extent, 1);
          executable.write(tensor.name, new Float32Array(capacity).fill(NaN));
        }
        executable.write(tensor.name, numbers);
      }
    },
    read: (run) =>
      executable.read("result", width * (result.perToken ? run.tokens : result.shape[0]!)),
  };
}

/** The results of all runs of a case. */
export async function runCase<N extends OpName>(
  backend: Backend,
  op: N,
  row: OpCase<N>,
  id: string,
): Promise<Float32Array[]> {
  const { executable, runs, write, read } = await prepareCase(backend, op, row, id);
  const results: Float32Array[] = [];
  for (const run of runs) {
    write(run);
    await executable.run(run.tokens);
    results.push(read(run));
  }
  return results;
}
