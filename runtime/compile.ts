/**
 * Graphs without a language model: compile one on a backend with its weights, run it with typed
 * arrays.
 *
 * @module
 */

import { InputError } from "../errors.ts";
import { elements } from "../kernels/op.ts";
import { encodeRows, type LayoutName, LAYOUTS } from "../quant/formats.ts";
import type { BackendName, TensorData } from "./backend.ts";
import { createBackend } from "./create_backend.ts";
import type { Graph } from "./graph.ts";
import { assignStages, makePlan } from "./plan.ts";

/** How to compile a graph. */
export interface CompileOptions {
  /** Where it runs. Default `auto`. */
  readonly backend?: "auto" | "webgpu" | BackendName;
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
   * @throws InputError when an input is unknown or of the wrong length
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
    const lowered = backend.lower(graph);
    const bytesOf = backend.bytesOf.bind(backend);
    const plan = makePlan(lowered, bytesOf, assignStages(lowered, bytesOf, backend.stageBytes));
    plan.stages.forEach((stage, i) => stage.pinned.forEach((tensor) => backend.place(tensor, i)));
    for (const { name, origin, shape, dtype } of lowered.tensors) {
      if (origin !== "weight") continue;
      const values = options.weights?.[name];
      if (values?.length !== elements(shape)) {
        throw new InputError(
          `Cannot compile: weight "${name}" has ${values?.length ?? "no"} values, expected ` +
            `${elements(shape)}`,
        );
      }
      const layout = LAYOUTS[dtype as LayoutName];
      await backend.writeRows(name, 0, encodeRows(layout, values, shape.at(-1)!));
    }
    const executable = backend.compile(plan);
    const inputs = new Map(
      graph.tensors.filter((it) => it.origin === "input").map((it) => [it.name, it]),
    );
    const dispose = (): Promise<void> => backend.dispose();
    let queue: Promise<unknown> = Promise.resolve();
    const run = async (data: Readonly<Record<string, TensorData>>) => {
      let tokens: number | undefined;
      for (const [name, values] of Object.entries(data)) {
        const tensor = inputs.get(name);
        const width = tensor && elements(tensor.shape) / tensor.shape[0]!;
        const rows = tensor && values.length / width!;
        const fits = tensor?.perToken
          ? Number.isInteger(rows) && rows! >= 1 && rows! <= graph.tokens &&
            (tokens ?? rows) === rows
          : rows === tensor?.shape[0];
        if (!tensor || !fits) {
          throw new InputError(
            `Cannot run: input "${name}" has ${values.length} values, expected ` +
              (tensor
                ? `shape [${tensor.perToken ? "tokens" : tensor.shape[0]}` +
                  `${tensor.shape.slice(1).map((extent) => `, ${extent}`).join("")}] with the ` +
                  `same tokens as the others, at most ${graph.tokens}`
                : `one of ${Array.from(inputs.keys()).join(", ")}`),
          );
        }
        if (tensor.perToken) tokens = rows;
        executable.write(name, values);
      }
      await executable.run(tokens ?? graph.tokens);
      return Object.fromEntries(
        Array.from(graph.outputs, ([name, { shape, perToken }]) => {
          const rows = perToken ? tokens ?? graph.tokens : shape[0]!;
          return [name, executable.read(name, rows * elements(shape) / shape[0]!)];
        }),
      );
    };
    return {
      backend: backend.name,
      run(data) {
        const result = queue.then(() => run(data));
        queue = result.catch(() => {});
        return result;
      },
      dispose,
      [Symbol.asyncDispose]: dispose,
    };
  } catch (error) {
    await backend.dispose();
    throw error;
  }
}
