/**
 * A loaded model as a function from tokens to logits: the compiled plans, the cache rows, and the
 * queue that lets one run follow another. Sessions and `Model` are built on it.
 *
 * @module
 */

import { BackendError, InputError, MemoryError } from "../errors.ts";
import type { Backend, Executable, TokenChoice, TokenLoop } from "./backend.ts";
import { Graph } from "./graph.ts";
import type { ForwardOptions, ModelConfig, ModelDefinition } from "./models/definition.ts";
import { assignStages, makePlan } from "./plan.ts";
import { type ResolvedWeights, weightScope } from "./weights.ts";

/** How a model's memory and plans are sized. */
export interface EngineOptions {
  /** Most tokens of one sequence. */
  readonly contextLength: number;
  /** Sequences whose caches are kept at the same time. */
  readonly sequences: number;
  /** Element type of the caches. */
  readonly cacheType: "f32" | "f16";
  /** Most tokens in one run of a prompt. */
  readonly chunk: number;
}

/** What a run returns. */
export type Output = ForwardOptions["output"];

/** Who holds a sequence's cache rows; told when it loses them. */
export interface LeaseHolder {
  /** Its cached tokens are gone. */
  evicted(): void;
}

/** All-token outputs are computed in smaller chunks, because their rows are as wide as the vocabulary. */
const ALL_OUTPUT_CHUNK = 64;

/** Runs a model on a backend. */
export class Engine {
  readonly config: ModelConfig;
  readonly backend: Backend;
  readonly options: EngineOptions;
  readonly #definition: ModelDefinition;
  readonly #weights: ResolvedWeights;
  readonly #stageOf: readonly number[];
  readonly #executables = new Map<string, Executable>();
  /** Holder of each sequence's rows, least recently used first. */
  readonly #leases: { sequence: number; holder: LeaseHolder | undefined }[];
  /** Whose token the inputs of the plan for one token hold, if it ran ahead. */
  #runner: object | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  #disposed = false;

  /** Gives every weight and cache its memory; the weights are written afterwards. */
  constructor(
    definition: ModelDefinition,
    config: ModelConfig,
    weights: ResolvedWeights,
    backend: Backend,
    options: EngineOptions,
  ) {
    this.#definition = definition;
    this.config = config;
    this.#weights = weights;
    this.backend = backend;
    this.options = options;
    const graph = this.#record(1, "last");
    const bytesOf = backend.bytesOf.bind(backend);
    this.#stageOf = assignStages(graph, bytesOf, backend.stageBytes);
    makePlan(graph, bytesOf, this.#stageOf).stages.forEach((stage, i) => {
      for (const tensor of stage.pinned) backend.place(tensor, i);
    });
    this.#leases = Array.from(
      { length: options.sequences },
      (_, sequence) => ({ sequence, holder: undefined }),
    );
  }

  /** Number of memories that the model spans. */
  get stages(): number {
    return this.#stageOf.at(-1)! + 1;
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
      if (this.#disposed) throw new InputError("Cannot run a model that has been disposed");
      return task();
    });
    this.#queue = result.catch(() => {});
    return result;
  }

  /** Cache rows for a holder: its own while nobody else needed them, else the least recently used. */
  lease(holder: LeaseHolder): number {
    let at = this.#leases.findIndex((it) => it.holder === holder);
    if (at < 0) at = this.#leases.findIndex((it) => it.holder === undefined);
    if (at < 0) at = 0;
    const [lease] = this.#leases.splice(at, 1);
    if (lease!.holder !== holder) lease!.holder?.evicted();
    lease!.holder = holder;
    this.#leases.push(lease!);
    return lease!.sequence;
  }

  /** Gives cache rows back. */
  release(holder: LeaseHolder): void {
    const lease = this.#leases.find((it) => it.holder === holder);
    if (lease) lease.holder = undefined;
  }

  /**
   * Runs tokens of one sequence that follow `position` cached ones. Calls belong inside
   * `exclusive`. Returns the output of the last token, or of all in order.
   */
  async forward(
    sequence: number,
    position: number,
    ids: readonly number[],
    output: Output,
    signal?: AbortSignal,
  ): Promise<Float32Array> {
    const { chunk } = this.options;
    const width = output === "hidden" ? this.config.hiddenSize : this.config.vocabSize;
    const step = output === "last" ? chunk : Math.min(chunk, ALL_OUTPUT_CHUNK);
    const all = output === "last" ? undefined : allocate(ids.length, width);
    let last: Float32Array = new Float32Array(0);
    for (let start = 0; start < ids.length; start += step) {
      signal?.throwIfAborted();
      const tokens = Math.min(step, ids.length - start);
      const executable = this.#executable(tokens === 1 ? 1 : step, output);
      this.#runner = undefined;
      this.#write(executable, sequence, position + start, ids.slice(start, start + tokens));
      if (output === "last") executable.write("outputRows", Int32Array.of(tokens - 1));
      await executable.run(tokens);
      if (all) all.set(await executable.read("output", tokens * width), start * width);
      else if (start + tokens === ids.length) last = await executable.read("output", width);
    }
    return all ?? last;
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
   * Runs `count` tokens and chooses each next one where it is computed. The first is `id` at
   * `position`; without a start, a runner that is ahead goes on from where it is. Calls belong
   * inside `exclusive`, which need not wait for the ids.
   */
  runAhead(
    runner: object,
    start:
      | { readonly sequence: number; readonly position: number; readonly id: number }
      | undefined,
    count: number,
    choice: TokenChoice,
    draw: number,
  ): Promise<Int32Array> {
    const executable = this.#executable(1, "last");
    if (start) {
      this.#write(executable, start.sequence, start.position, [start.id]);
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
    return executable.runAhead!(count, loop, choice, draw);
  }

  /** Ends the backend; runs that wait in the queue fail. */
  async dispose(): Promise<void> {
    this.#disposed = true;
    await this.#queue;
    await this.backend.dispose();
    this.#executables.clear();
  }

  /** Cache rows that a token sees at most. */
  get #window(): number {
    return this.config.window ?? this.options.contextLength;
  }

  /** Writes the inputs for tokens that follow `position` cached ones. */
  #write(
    executable: Executable,
    sequence: number,
    position: number,
    ids: readonly number[],
  ): void {
    const first = sequence * this.#sequenceRows();
    const positions = Int32Array.from(ids, (_, i) => position + i);
    executable.write("ids", Int32Array.from(ids));
    executable.write("positions", positions);
    executable.write("slots", positions.map((it) => first + it));
    const spans = new Int32Array(2 * ids.length);
    positions.forEach((it, i) => {
      spans[2 * i] = first + Math.max(0, it + 1 - this.#window);
      spans[2 * i + 1] = first + it + 1;
    });
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
    return this.backend.lower(graph);
  }

  #executable(tokens: number, output: Output): Executable {
    const key = `${output} ${tokens}`;
    let executable = this.#executables.get(key);
    if (!executable) {
      const graph = this.#record(tokens, output);
      const plan = makePlan(graph, (type) => this.backend.bytesOf(type), this.#stageOf);
      if (plan.stages.length !== this.stages) {
        throw new BackendError(`Cannot compile: ${plan.stages.length} of ${this.stages} stages`);
      }
      this.#executables.set(key, executable = this.backend.compile(plan));
    }
    return executable;
  }
}

function allocate(tokens: number, width: number): Float32Array {
  try {
    return new Float32Array(tokens * width);
  } catch (cause) {
    throw new MemoryError(
      `Cannot return ${tokens} rows of ${width} numbers: the memory cannot be had; ask for fewer tokens`,
      { cause },
    );
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
