/**
 * A model's programs on one backend: recorded, placed, compiled when they are first needed, and run.
 * It knows neither turns nor sessions, and of tokens only what the programs' rules make of them.
 *
 * @module
 */

import { BackendError, ModelError } from "../errors.ts";
import { quote } from "../escape.ts";
import { type CacheType, elements } from "../kernels/op.ts";
import type { Backend, Executable, TokenChoice } from "./backend.ts";
import { pruneGraph } from "./copy_graph.ts";
import { Graph, type Tensor } from "./graph.ts";
import type { Output, Program, RunPart } from "./models/program.ts";
import { placeGraphs, type Placement } from "./placement.ts";
import { type ResolvedWeights, weightScope } from "./weights.ts";

/** How a model's memory and plans are sized. */
export interface PlanSizes {
  /** Most tokens of one sequence. */
  readonly contextLength: number;
  /** Sequences whose caches are kept at the same time. */
  readonly sequences: number;
  /** Element type of the caches. */
  readonly cacheType: CacheType;
  /** Most tokens in one run of a prompt. */
  readonly chunk: number;
}

/** The result of generation. */
export const LAST_LOGITS: Output = { name: "logits", rows: "last" };

/** All-token outputs are computed in smaller chunks, because their rows are as wide as the vocabulary. */
const ALL_ROWS_CHUNK = 64;
/** Most sequences of which one token each runs together. */
const MOST_BATCH = 64;

/** A program on a backend. */
export class Plans {
  readonly #program: Program;
  readonly #weights: ResolvedWeights;
  readonly #backend: Backend;
  readonly #sizes: PlanSizes;
  readonly #placement: Placement;
  /** Elements of a row of each result. */
  readonly #widths: ReadonlyMap<string, number>;
  readonly #executables = new Map<string, Executable>();
  /** Whose token the inputs of the plan for one token hold, if it ran ahead. */
  #runner: object | undefined;

  /** Gives every weight and cache its memory; the weights are written afterwards. */
  constructor(program: Program, weights: ResolvedWeights, backend: Backend, sizes: PlanSizes) {
    this.#program = program;
    this.#weights = weights;
    this.#backend = backend;
    this.#sizes = sizes;
    const graph = this.#record(1, "last");
    this.#widths = new Map(
      Array.from(graph.outputs, ([name, { shape }]) => [name, elements(shape) / shape[0]!]),
    );
    this.#placement = placeGraphs(backend, [graph]);
  }

  /** Number of memories that the model spans. */
  get stages(): number {
    return this.#placement.stages;
  }

  /** Rows of one sequence in the caches: whole groups of 8, as kernels store them. */
  get sequenceRows(): number {
    return Math.ceil(this.#sizes.contextLength / 8) * 8;
  }

  /** Sequences of which one token each runs together at most. */
  get batch(): number {
    return Math.min(this.#sizes.sequences, MOST_BATCH);
  }

  /** Elements of a row of an output. */
  width({ name }: Output): number {
    const width = this.#widths.get(name);
    if (width !== undefined) return width;
    const known = Array.from(this.#widths.keys(), (it) => quote(it)).join(", ");
    throw new ModelError(`Cannot compute ${quote(name)}: the model gives ${known}`);
  }

  /** Most tokens of one sequence in one run. */
  chunk({ rows }: Output): number {
    const { chunk } = this.#sizes;
    return rows === "last" ? chunk : Math.min(chunk, ALL_ROWS_CHUNK);
  }

  /** Compiles the plans of generation, so that the first token does not wait for it. */
  prepare(): void {
    this.#executable(1, LAST_LOGITS);
    this.#executable(this.#sizes.chunk, LAST_LOGITS);
  }

  /**
   * Runs one part, or several of one token each. Returns a row for the last token, or for every token
   * where several parts run or the output is of all; nothing where it is not wanted.
   */
  async forward(
    parts: readonly RunPart[],
    output: Output,
    wanted: boolean,
  ): Promise<Float32Array> {
    const tokens = parts.reduce((sum, { count }) => sum + count, 0);
    const together = parts.length > 1, { name } = output;
    const executable = together
      ? this.#executable(this.batch, { name, rows: "all" })
      : this.#executable(tokens === 1 ? 1 : this.chunk(output), output);
    this.#runner = undefined;
    this.#write(executable, parts);
    const isLast = output.rows === "last" && !together;
    if (isLast) executable.write("outputRows", Int32Array.of(tokens - 1));
    await executable.run(tokens);
    if (!wanted) return new Float32Array(0);
    return await executable.read(name, (isLast ? 1 : tokens) * this.width(output));
  }

  /** Whether the backend can choose tokens and go on by itself. */
  get canRunAhead(): boolean {
    const { runAhead, mostAdvanced = Infinity } = this.#executable(1, LAST_LOGITS);
    return runAhead !== undefined && this.#program.inputs.length <= mostAdvanced;
  }

  /** Whether nothing else has run since `runner` ran ahead. */
  isAhead(runner: object): boolean {
    return this.#runner === runner;
  }

  /**
   * Runs `count` tokens and chooses each next one where it is computed. The first is the last one of
   * the part's sequence; without a part, a runner that is ahead goes on from where it is.
   */
  runAhead(
    runner: object,
    start: RunPart | undefined,
    count: number,
    choice: TokenChoice,
    draw: number,
  ): Promise<Int32Array> {
    const executable = this.#executable(1, LAST_LOGITS);
    if (!executable.runAhead) {
      throw new BackendError(`Cannot run ahead on backend ${this.#backend.name}`);
    }
    if (start) {
      this.#write(executable, [start]);
      executable.write("outputRows", Int32Array.of(0));
      this.#runner = runner;
    }
    const { ids, inputs } = this.#program;
    const history = start && { history: start.sequence.ids };
    const loop = { logits: LAST_LOGITS.name, ids: ids.name, inputs };
    return executable.runAhead(count, loop, { ...choice, ...history, draw });
  }

  /** Writes what the rules say of the tokens of a run. */
  #write(executable: Executable, parts: readonly RunPart[]): void {
    const tokens = parts.reduce((sum, { count }) => sum + count, 0);
    for (const rule of this.#rules()) {
      const width = rule.step.length, data = new Int32Array(tokens * width);
      let at = 0;
      for (const part of parts) {
        for (let i = 0; i < part.count; i++, at += width) rule.fill(part, i, data, at);
      }
      executable.write(rule.name, data);
    }
  }

  #rules() {
    return [this.#program.ids, ...this.#program.inputs];
  }

  /** Records a graph with all results of the program, for every token or the last one. */
  #record(tokens: number, rows: Output["rows"], results?: readonly string[]): Graph {
    const g = new Graph({ tokens });
    const inputs = Object.fromEntries(
      this.#rules().map(({ name, step }) => [
        name,
        g.input(name, step.length === 1 ? ["tokens"] : ["tokens", step.length], "i32"),
      ]),
    );
    const { sequences, cacheType } = this.#sizes;
    const recorded = this.#program.record(g, weightScope(g, this.#weights), {
      inputs,
      cacheRows: sequences * this.sequenceRows,
      cacheType,
      wanted: (x: Tensor) =>
        rows === "all" ? x : g.op("selectRows", [x, g.input("outputRows", [1], "i32")]),
    });
    for (const [name, tensor] of Object.entries(recorded)) {
      if (results?.includes(name) ?? true) g.output(name, tensor);
    }
    return g;
  }

  #executable(tokens: number, output: Output): Executable {
    const key = `${output.name} ${output.rows} ${tokens}`;
    let executable = this.#executables.get(key);
    if (!executable) {
      const graph = pruneGraph(this.#record(tokens, output.rows, [output.name]));
      executable = this.#placement.compile(graph);
      this.#executables.set(key, executable);
    }
    return executable;
  }
}
