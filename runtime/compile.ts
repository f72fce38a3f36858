/**
 * Graphs without a language model: compile one on a backend with its weights, run it with typed
 * arrays.
 *
 * @module
 */

import { InputError } from "../errors.ts";
import { quote } from "../escape.ts";
import { elements } from "../kernels/op.ts";
import { CALLBACK, isA, OBJECT, readOptions, type Rules } from "../options.ts";
import { encodeRows, type LayoutName, LAYOUTS } from "../quant/formats.ts";
import type { Backend, BackendName, Executable, TensorData } from "./backends/backend.ts";
import { candidatesFor } from "./backends/candidates.ts";
import { BACKEND_RULES } from "./backends/create.ts";
import { Queue } from "./backends/queue.ts";
import { Graph } from "./graph/graph.ts";
import { placeGraphs } from "./backends/placement.ts";
import { inputReader } from "./backends/program_inputs.ts";
import { runGraph } from "./backends/run_graph.ts";

/** How to compile a graph. */
export interface CompileOptions {
  /**
   * Where it runs. Default `auto`: `webgpu` where there is a GPU that works, else `wasm`.
   */
  readonly backend?: "auto" | BackendName;
  /** Worker threads of the `wasm` backend; all cores where absent. */
  readonly threads?: number;
  /** Whether the numbers shall be the same to the bit everywhere; see `LoadOptions`. Default false. */
  readonly reproducible?: boolean;
  /** Values of every matrix and constant by name, row-major; matrices are encoded to their layout. */
  readonly weights?: Readonly<Record<string, Float32Array>>;
  /** Told when backend `auto` goes on with another one than it began with. Default `console.warn`. */
  readonly onWarning?: (message: string) => void;
}

const COMPILE_RULES: Rules<CompileOptions> = {
  backend: BACKEND_RULES.backend,
  threads: BACKEND_RULES.threads,
  reproducible: BACKEND_RULES.reproducible,
  weights: OBJECT,
  onWarning: CALLBACK,
};

/** A compiled graph. */
export interface Program {
  /**
   * Which backend runs it. With `auto`, `wasm` takes over from a GPU that fails, and the run that
   * failed is done again; not where the graph has caches, since what was in them is lost.
   */
  readonly backend: BackendName;
  /**
   * Runs the graph: every input that was recorded, by name, and no other; outputs by name. An input
   * of type f32 is a Float32Array, one of i32 an Int32Array; both are copied before the call returns.
   * With per-token inputs, their length decides how many tokens the run has.
   *
   * @throws InputError when an input is missing, unknown, of the wrong type or length, or has an index
   * out of range
   */
  run(inputs: Readonly<Record<string, TensorData>>): Promise<Record<string, Float32Array>>;
  /** Frees the memory and ends the workers. */
  dispose(): Promise<void>;
  /** As `dispose`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Compiles a graph.
 *
 * @throws InputError when a weight is missing or of the wrong type or length, or an option is unknown
 * or wrong
 * @throws BackendError when the backend cannot be used here
 *
 * @example A layer of a perceptron
 * ```ts
 * import { compile, Graph } from "@sparrow/sparrow/graph";
 *
 * const g = new Graph();
 * const x = g.input("x", [2, 3]);
 * const hidden = g.op("matmul", [x, g.matrix("w", [4, 3]), g.constant("b", [4])]);
 * g.output("y", g.op("activation", [hidden], { kind: "relu" }));
 *
 * await using program = await compile(g, {
 *   backend: "reference",
 *   weights: { w: new Float32Array(12).fill(1), b: Float32Array.of(0, 1, 2, -100) },
 * });
 * const { y } = await program.run({ x: Float32Array.of(1, 2, 3, 4, 5, 6) });
 * console.log(y); // 6 7 8 0, 15 16 17 0
 * ```
 */
export async function compile(graph: Graph, options: CompileOptions = {}): Promise<Program> {
  const { weights = {}, onWarning = console.warn, ...where } = readOptions(
    "compile",
    options,
    COMPILE_RULES,
  );
  if (!isA(graph, Graph)) {
    throw new InputError(`Cannot compile ${quote(graph)}: expected a Graph`);
  }
  const candidates = await candidatesFor(where, onWarning);
  const rows = new Map(encodedWeights(graph, weights));
  const prepare = (backend: Backend): Promise<Prepared> => prepareOn(backend, graph, rows);
  let { backend, executable } = await candidates.use(prepare);
  // What is in caches is lost with its backend, and nobody could compute it again.
  const canMove = candidates.hasNext &&
    !graph.nodes.some(({ inputs }) => inputs.some(({ origin }) => origin === "cache"));
  if (!canMove) rows.clear();
  const readInputs = inputReader(graph);
  const queue = new Queue();
  let ended: Error | undefined;
  const runOnce = (
    tokens: number,
    values: ReadonlyMap<string, TensorData>,
  ): Promise<Record<string, Float32Array>> => runGraph(executable, graph, values, tokens);
  /** Has another backend take over; whether one does. */
  const move = async (error: unknown): Promise<boolean> => {
    if (!canMove) return false;
    try {
      const next = await candidates.replace(error, backend, prepare);
      if (next) ({ backend, executable } = next);
      return next !== undefined;
    } catch (error) {
      throw ended = error as Error;
    }
  };
  const dispose = (): Promise<void> => {
    ended = new InputError("Cannot run a program that has been disposed");
    return queue.run(() => backend.dispose());
  };
  return {
    get backend(): BackendName {
      return backend.name;
    },
    async run(data) {
      if (ended) throw ended;
      const { tokens, values } = readInputs(data);
      return await queue.run(async () => {
        try {
          return await runOnce(tokens, values);
        } catch (error) {
          if (!await move(error)) throw error;
          return await runOnce(tokens, values);
        }
      });
    },
    dispose,
    [Symbol.asyncDispose]: dispose,
  };
}

/** A graph on a backend, with its weights. */
interface Prepared {
  readonly backend: Backend;
  readonly executable: Executable;
}

async function prepareOn(
  backend: Backend,
  graph: Graph,
  rows: ReadonlyMap<string, Uint8Array>,
): Promise<Prepared> {
  const placement = placeGraphs(backend, [graph]);
  for (const [name, bytes] of rows) await backend.writeRows(name, 0, bytes);
  return { backend, executable: placement.compile(graph) };
}

/** Name and rows, in the layout's exchange form, of every weight that a graph uses. */
function* encodedWeights(
  graph: Graph,
  weights: CompileOptions["weights"] & object,
): Generator<[name: string, rows: Uint8Array]> {
  const used = new Set(graph.nodes.flatMap(({ inputs }) => inputs));
  for (const { name, origin, shape, dtype } of used) {
    if (origin !== "weight") continue;
    const values = weightOf(weights, name);
    if (values?.length !== elements(shape)) {
      throw new InputError(
        `Cannot compile: weight ${quote(name)} has ${values?.length ?? "no"} values, expected ` +
          `${elements(shape)}`,
      );
    }
    yield [name, encodeRows(LAYOUTS[dtype as LayoutName], values, shape.at(-1)!)];
  }
}

/** The values of a weight, or undefined where there are none. */
function weightOf(
  weights: CompileOptions["weights"] & object,
  name: string,
): Float32Array | undefined {
  let values: unknown;
  try {
    values = Object.hasOwn(weights, name) ? weights[name] : undefined;
  } catch (cause) {
    throw new InputError(`Cannot compile: weight ${quote(name)} cannot be read`, { cause });
  }
  if (values === undefined || isA(values, Float32Array)) return values;
  throw new InputError(
    `Cannot compile: weight ${quote(name)} is ${quote(values)}, expected a Float32Array`,
  );
}
