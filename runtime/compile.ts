/**
 * Graphs without a language model: compile one on a backend with its weights, run it with typed
 * arrays.
 *
 * @module
 */

import { InputError } from "../errors.ts";
import { quote } from "../escape.ts";
import { elements, type Op } from "../kernels/op.ts";
import { OPS } from "../kernels/ops.ts";
import { encodeRows, type LayoutName, LAYOUTS } from "../quant/formats.ts";
import type { BackendName, TensorData } from "./backend.ts";
import { createBackend } from "./create_backend.ts";
import type { Graph, GraphNode } from "./graph.ts";
import { placeGraphs } from "./placement.ts";

/** How to compile a graph. */
export interface CompileOptions {
  /** Where it runs. Default `auto`. */
  readonly backend?: "auto" | BackendName;
  /** Worker threads of the `wasm` backend; all cores where absent. */
  readonly threads?: number;
  /** Values of every matrix and constant by name, row-major; matrices are encoded to their layout. */
  readonly weights?: Readonly<Record<string, Float32Array>>;
}

/** A compiled graph. */
export interface Program {
  /** Which backend runs it. */
  readonly backend: BackendName;
  /**
   * Runs the graph: inputs by name, outputs by name. Inputs that are not given keep their values.
   * With per-token inputs, their length decides how many tokens the run has.
   *
   * @throws InputError when an input is unknown, of the wrong length, or has an index out of range
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
 * @throws InputError when a weight is missing or of the wrong length
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
  const backend = await createBackend(options);
  try {
    const placement = placeGraphs(backend, [graph]);
    const used = new Set(graph.nodes.flatMap(({ inputs }) => inputs));
    for (const { name, origin, shape, dtype } of used) {
      if (origin !== "weight") continue;
      const values = options.weights?.[name];
      if (values?.length !== elements(shape)) {
        throw new InputError(
          `Cannot compile: weight ${quote(name)} has ${values?.length ?? "no"} values, expected ` +
            `${elements(shape)}`,
        );
      }
      const layout = LAYOUTS[dtype as LayoutName];
      await backend.writeRows(name, 0, encodeRows(layout, values, shape.at(-1)!));
    }
    const executable = placement.compile(graph);
    const readInputs = inputReader(graph);
    let queue: Promise<unknown> = Promise.resolve(), disposed = false;
    const inTurn = <T>(task: () => Promise<T>): Promise<T> => {
      const result = queue.then(task);
      queue = result.catch(() => {});
      return result;
    };
    const dispose = (): Promise<void> => {
      disposed = true;
      return inTurn(() => backend.dispose());
    };
    return {
      backend: backend.name,
      async run(data) {
        if (disposed) throw new InputError("Cannot run a program that has been disposed");
        return await inTurn(async () => {
          const tokens = readInputs(data);
          for (const [name, values] of Object.entries(data)) executable.write(name, values);
          await executable.run(tokens);
          const results = Array.from(graph.outputs, async ([name, { shape, perToken }]) => {
            const rows = perToken ? tokens : shape[0]!;
            return [name, await executable.read(name, rows * elements(shape) / shape[0]!)] as const;
          });
          return Object.fromEntries(await Promise.all(results));
        });
      },
      dispose,
      [Symbol.asyncDispose]: dispose,
    };
  } catch (error) {
    await backend.dispose();
    throw error;
  }
}

/** Checks the inputs of one run after another; the result is the number of tokens of the run. */
function inputReader(graph: Graph): (data: Readonly<Record<string, TensorData>>) => number {
  const inputs = new Map(
    graph.tensors.filter((it) => it.origin === "input").map((it) => [it.name, it]),
  );
  // Inputs keep their values, so that what they were last counts in every run.
  let rowsOf = new Map<string, number>(), indices = new Map<string, TensorData>();
  return (data) => {
    const newRows = new Map(rowsOf), newIndices = new Map(indices);
    for (const [name, values] of Object.entries(data)) {
      const tensor = inputs.get(name);
      if (!tensor) {
        throw new InputError(
          `Cannot run: there is no input ${quote(name)}, expected ${
            Array.from(inputs.keys()).join(", ")
          }`,
        );
      }
      const { shape, perToken, dtype } = tensor;
      const rows = values.length / (elements(shape) / shape[0]!);
      const fits = perToken
        ? Number.isInteger(rows) && rows >= 1 && rows <= shape[0]!
        : rows === shape[0];
      if (!fits) {
        throw new InputError(
          `Cannot run: input ${quote(name)} has ${values.length} values, expected shape ` +
            `[${[perToken ? `1 to ${shape[0]}` : shape[0], ...shape.slice(1)].join(", ")}]`,
        );
      }
      if (perToken) newRows.set(name, rows);
      if (dtype === "i32") newIndices.set(name, values.slice());
    }
    const [tokens = graph.tokens, ...others] = new Set(newRows.values());
    if (others.length > 0) {
      const found = Array.from(newRows, ([name, rows]) => `${rows} of ${quote(name)}`).join(", ");
      throw new InputError(`Cannot run: found rows ${found}, expected one number of tokens`);
    }
    for (const node of graph.nodes) checkIndices(node, tokens, newIndices);
    rowsOf = newRows;
    indices = newIndices;
    return tokens;
  };
}

/** Throws unless every index of an op is a row of what it indexes; kernels do not look. */
function checkIndices(
  { op, inputs, attrs }: GraphNode,
  tokens: number,
  values: ReadonlyMap<string, TensorData>,
): void {
  const { indexes } = OPS[op] as Op<unknown>;
  if (!indexes) return;
  const { name } = inputs[indexes.input]!, into = inputs[indexes.into]!;
  const rows = indexes.count?.(inputs, attrs) ?? (into.perToken ? tokens : into.shape[0]!);
  const least = indexes.orNone ? -1 : 0;
  const most = indexes.inclusive ? rows : rows - 1;
  for (const value of values.get(name) ?? []) {
    if (Number.isInteger(value) && value >= least && value <= most) continue;
    throw new InputError(
      `Cannot run: input ${quote(name)} ` +
        `has index ${value}, expected a whole number from ${least} to ${most}, ` +
        `the ${indexes.count ? "parts" : "rows"} of ${quote(into.name)}`,
    );
  }
}
