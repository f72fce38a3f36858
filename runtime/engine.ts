/**
 * A loaded model as a function from tokens to logits: the compiled plans, where each token's cache
 * row is, and the queue that lets one run follow another; turns.ts decides what runs when. Sessions
 * and `Model` are built on it.
 *
 * @module
 */

import { BackendError, InputError } from "../errors.ts";
import { quote } from "../escape.ts";
import type { CacheType } from "../kernels/op.ts";
import type { Backend, BackendName, Executable, TokenChoice, TokenLoop } from "./backend.ts";
import { Graph } from "./graph.ts";
import type { LeaseHolder } from "./leases.ts";
import type { ModelConfig, ModelDefinition, Output } from "./models/definition.ts";
import { placeGraphs, type Placement } from "./placement.ts";
import { type Part, type Request, Turns } from "./turns.ts";
import { type ResolvedWeights, weightScope } from "./weights.ts";

/** How a model's memory and plans are sized. */
export interface EngineOptions {
  /** Most tokens of one sequence. */
  readonly contextLength: number;
  /** Sequences whose caches are kept at the same time. */
  readonly sequences: number;
  /** Element type of the caches. */
  readonly cacheType: CacheType;
  /** Most tokens in one run of a prompt. */
  readonly chunk: number;
}

/** Another backend for a model, when its own one fails. */
export interface StandIn {
  /** Makes the backend; told why. */
  open(reason: Error): Promise<Backend>;
  /** Writes the weights, which have their memory by then. */
  load(backend: Backend, signal: AbortSignal): Promise<void>;
}

/** All-token outputs are computed in smaller chunks, because their rows are as wide as the vocabulary. */
const ALL_OUTPUT_CHUNK = 64;
/** Most sequences of which one token each runs together. */
const MOST_BATCH = 64;

/** Runs a model on a backend. */
export class Engine {
  readonly config: ModelConfig;
  readonly options: EngineOptions;
  readonly #definition: ModelDefinition;
  readonly #weights: ResolvedWeights;
  #backend: Backend;
  #standIn: StandIn | undefined;
  #placement!: Placement;
  readonly #executables = new Map<string, Executable>();
  readonly #turns: Turns;
  /** Whose token the inputs of the plan for one token hold, if it ran ahead. */
  #runner: object | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  /** Why nothing can run any more. */
  #ended: Error | undefined;
  readonly #disposing = new AbortController();

  /** Gives every weight and cache its memory; the weights are written afterwards. */
  constructor(
    definition: ModelDefinition,
    config: ModelConfig,
    weights: ResolvedWeights,
    backend: Backend,
    options: EngineOptions,
    standIn?: StandIn,
  ) {
    this.#definition = definition;
    this.config = config;
    this.#weights = weights;
    this.#backend = backend;
    this.options = options;
    this.#standIn = standIn;
    this.#place();
    this.#turns = new Turns({
      exclusive: (task) => this.exclusive(task),
      forward: (parts, output, wanted) => this.#forward(parts, output, wanted),
      recover: (error) => this.#replaceBackend(error),
      width: (output) => this.#width(output),
      chunk: (output) => this.#chunk(output),
      batch: this.#batch,
    }, options.sequences);
  }

  /** What runs it now. */
  get backend(): Backend {
    return this.#backend;
  }

  /** Bytes of weights and caches, by where they are. */
  get placedBytes(): Readonly<Partial<Record<BackendName, number>>> {
    return this.#backend.placedBytes;
  }

  /** Number of memories that the model spans. */
  get stages(): number {
    return this.#placement.stages;
  }

  /** Compiles the plans of generation, so that the first token does not wait for it. */
  prepare(): void {
    this.#executable(1, "last");
    this.#executable(this.options.chunk, "last");
  }

  /**
   * Runs `task` when every earlier task has ended.
   *
   * @throws InputError when the model has been disposed by then
   */
  exclusive<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(() => {
      if (this.#ended) throw this.#ended;
      return task();
    });
    this.#queue = result.catch(() => {});
    return result;
  }

  /** Runs tokens when their turn comes, with those of other sequences where that is possible. */
  run<T>(request: Request<T>): Promise<T> {
    return this.#turns.submit(request);
  }

  /** Whether a holder has cache rows. */
  holds(holder: LeaseHolder): boolean {
    return this.#turns.holds(holder);
  }

  /** Gives cache rows back. */
  release(holder: LeaseHolder): void {
    this.#turns.release(holder);
  }

  /** Whether the backend can choose tokens and go on by itself. */
  get canRunAhead(): boolean {
    return this.#executable(1, "last").runAhead !== undefined;
  }

  /** Whether nothing else has run since `runner` ran ahead. */
  isAhead(runner: object): boolean {
    return this.#runner === runner;
  }

  /**
   * Runs `count` tokens and chooses each next one where it is computed. The first is the last one of
   * `history`; without a start, a runner that is ahead goes on from where it is. Calls belong inside
   * `exclusive`, which need not wait for the ids.
   */
  runAhead(
    runner: object,
    start:
      | { readonly sequence: number; readonly history: readonly number[] }
      | undefined,
    count: number,
    choice: TokenChoice,
    draw: number,
  ): Promise<Int32Array> {
    const executable = this.#executable(1, "last");
    if (!executable.runAhead) {
      throw new BackendError(`Cannot run ahead on backend ${this.#backend.name}`);
    }
    if (start) {
      const { sequence, history } = start, position = history.length - 1;
      this.#write(executable, [{ sequence, position, ids: history.slice(position) }]);
      executable.write("outputRows", Int32Array.of(0));
      this.#runner = runner;
    }
    const loop: TokenLoop = {
      logits: "output",
      ids: "ids",
      counters: ["positions", "slots"],
      spans: "spans",
      window: this.#window,
    };
    const history = start && { history: start.history };
    return executable.runAhead(count, loop, { ...choice, ...history, draw });
  }

  /**
   * After an error of what ran on a backend, whether another one has its place, where it can run
   * again: every sequence has to be computed from its tokens.
   *
   * @throws BackendError when the other one cannot take over
   */
  async recover(error: unknown, failed: Backend): Promise<boolean> {
    return await this.exclusive(async () =>
      failed !== this.#backend || await this.#replaceBackend(error)
    );
  }

  /** Ends the backend; runs that wait in the queue fail. */
  async dispose(): Promise<void> {
    this.#ended = new InputError("Cannot run a model that has been disposed");
    this.#disposing.abort(this.#ended);
    await this.#queue;
    await this.#backend.dispose();
    this.#executables.clear();
  }

  /** Gives weights and caches their memory in the backend. */
  #place(): void {
    this.#placement = placeGraphs(this.#backend, [this.#record(1, "last")]);
  }

  /** Lets the stand-in take over, once; whether it did. Runs only while nothing else does. */
  async #replaceBackend(reason: unknown): Promise<boolean> {
    const standIn = this.#standIn;
    // Whoever asked for something impossible does so on every backend.
    if (!standIn || !(reason instanceof Error) || reason instanceof InputError) return false;
    this.#standIn = undefined;
    await this.#backend.dispose();
    this.#executables.clear();
    this.#runner = undefined;
    this.#turns.forget();
    try {
      this.#backend = await standIn.open(reason);
      this.#place();
      await standIn.load(this.#backend, this.#disposing.signal);
      this.prepare();
      return true;
    } catch (error) {
      await this.#backend.dispose();
      throw this.#ended ??= new BackendError(
        `Cannot go on after ${quote(reason.message)}: ${(error as Error).message}`,
        { cause: error },
      );
    }
  }

  /** Cache rows that a token sees at most. */
  get #window(): number {
    return this.config.window ?? this.options.contextLength;
  }

  /** Sequences of which one token each runs together at most. */
  get #batch(): number {
    return Math.min(this.options.sequences, MOST_BATCH);
  }

  /** Elements of a row of the output. */
  #width(output: Output): number {
    return output === "hidden" ? this.config.hiddenSize : this.config.vocabSize;
  }

  /** Most tokens of one sequence in one run. */
  #chunk(output: Output): number {
    const { chunk } = this.options;
    return output === "last" ? chunk : Math.min(chunk, ALL_OUTPUT_CHUNK);
  }

  /** One run, as `TurnRunner` describes it. */
  async #forward(parts: readonly Part[], output: Output, wanted: boolean): Promise<Float32Array> {
    const tokens = parts.reduce((sum, { ids }) => sum + ids.length, 0);
    const together = parts.length > 1;
    const executable = together
      ? this.#executable(this.#batch, "all")
      : this.#executable(tokens === 1 ? 1 : this.#chunk(output), output);
    this.#runner = undefined;
    this.#write(executable, parts);
    if (output === "last" && !together) executable.write("outputRows", Int32Array.of(tokens - 1));
    await executable.run(tokens);
    if (!wanted) return new Float32Array(0);
    const rows = output === "last" && !together ? 1 : tokens;
    return await executable.read("output", rows * this.#width(output));
  }

  /** Writes the inputs for tokens that follow cached ones. */
  #write(executable: Executable, parts: readonly Part[]): void {
    const tokens = parts.reduce((sum, { ids }) => sum + ids.length, 0);
    const ids = new Int32Array(tokens), positions = new Int32Array(tokens);
    const slots = new Int32Array(tokens), spans = new Int32Array(2 * tokens);
    let at = 0;
    for (const part of parts) {
      const first = part.sequence * this.#sequenceRows();
      part.ids.forEach((id, i) => {
        const position = part.position + i;
        ids[at] = id;
        positions[at] = position;
        slots[at] = first + position;
        spans[2 * at] = first + Math.max(0, position + 1 - this.#window);
        spans[2 * at + 1] = first + position + 1;
        at++;
      });
    }
    executable.write("ids", ids);
    executable.write("positions", positions);
    executable.write("slots", slots);
    executable.write("spans", spans);
  }

  /** Rows of one sequence in the caches: whole groups of 8, as kernels store them. */
  #sequenceRows(): number {
    return Math.ceil(this.options.contextLength / 8) * 8;
  }

  #record(tokens: number, output: Output): Graph {
    const graph = new Graph({ tokens });
    const { sequences, cacheType } = this.options;
    const cacheRows = sequences * this.#sequenceRows();
    this.#definition.forward(graph, this.config, weightScope(graph, this.#weights), {
      cacheRows,
      cacheType,
      output,
    });
    return graph;
  }

  #executable(tokens: number, output: Output): Executable {
    const key = `${output} ${tokens}`;
    let executable = this.#executables.get(key);
    if (!executable) {
      executable = this.#placement.compile(this.#record(tokens, output));
      this.#executables.set(key, executable);
    }
    return executable;
  }
}

/** Throws unless there are ids and the model knows all of them. */
export function checkIds(ids: readonly number[], vocabSize: number): void {
  if (!Array.isArray(ids) && !ArrayBuffer.isView(ids)) {
    throw new InputError(`Cannot process a prompt of type ${typeof ids}: expected token ids`);
  }
  if (ids.length === 0) {
    throw new InputError("Cannot process a prompt of no tokens: give at least one");
  }
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i]!;
    if (!Number.isInteger(id) || id < 0 || id >= vocabSize) {
      throw new InputError(
        `Cannot process token id ${id} at index ${i}: expected a whole number from 0 to ` +
          `${vocabSize - 1}`,
      );
    }
  }
}
