/**
 * A loaded model as a function from tokens to logits. The parts stand by themselves: plans.ts has the
 * programs on a backend, run_ahead.ts lets them run ahead, running.ts changes to another backend where
 * one fails, turns.ts decides what runs when, and a queue lets one run follow another. Sessions and
 * `Model` are built on it.
 *
 * @module
 */

import { BackendError, InputError } from "../../errors.ts";
import type { Backend, BackendName, TextChoice } from "../backends/backend.ts";
import { Queue } from "../backends/queue.ts";
import { eventLoop } from "../backends/event_loop.ts";
import { flawOf, type ModelFacts } from "./flaws.ts";
import type { HeldRows, LeaseHolder } from "./leases.ts";
import type { ModelConfig, ModelDefinition } from "../models/definition.ts";
import type { ProgramName, Programs, RunPart, Sequence } from "../models/program.ts";
import { type Prompt, toSequence } from "../models/prompt.ts";
import type { Plans } from "./plans.ts";
import type { PlanSizes, ProgramGraphs } from "./record.ts";
import type { Request, RowCounts } from "./requests.ts";
import { Running, type Takeover } from "./running.ts";
import type { TableRows } from "./table_rows.ts";
import { Turns } from "./turns.ts";
import type { ResolvedWeights } from "../models/weights.ts";

/** How an engine is sized. */
export interface EngineOptions extends PlanSizes {
  /** Path or URL of the model, for messages. */
  readonly name?: string;
  /** What its memory was counted by, where that was done. */
  readonly graphs?: ProgramGraphs;
  /** Those of its tables that are in its files; the engine closes them. */
  readonly tables?: TableRows | undefined;
}

/** Runs a model on a backend. */
export class Engine {
  readonly config: ModelConfig;
  readonly options: EngineOptions;
  readonly #programs: Programs;
  readonly #running: Running;
  readonly #turns: Turns;
  readonly #queue = new Queue();
  readonly #tables: TableRows | undefined;
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
    takeover?: Takeover,
  ) {
    this.#programs = definition.programs(config);
    this.config = config;
    const { graphs, tables, ...sizes } = options;
    this.options = sizes;
    this.#tables = tables;
    const parts = { programs: this.#programs, weights, sizes, graphs, tables };
    this.#running = new Running(parts, backend, takeover);
    this.#turns = new Turns({
      exclusive: (task) => this.exclusive(task),
      forward: (parts, output, wanted) => this.#plans.forward(parts, output, wanted),
      flaw: (rows, output, position) =>
        flawOf(rows, this.#plans.width(output), output, position, this.facts),
      recover: (error) => this.#replaceBackend(error),
      width: (output) => this.#plans.width(output),
      chunk: (output) => this.#plans.chunk(output),
      copyRows: (from, to, counts) => this.#plans.copyRows(from, to, counts),
      isSteady: () => this.#plans.isSteady,
      batch: this.#plans.batch,
      sequenceRows: this.#plans.sequenceRows,
      blankRows: this.#plans.blankRows,
      together: (output) => this.#plans.together(output),
      whole: (sequence) => this.#plans.whole(sequence),
    }, options.sequences);
  }

  get #plans(): Plans {
    return this.#running.plans;
  }

  /** What runs it now. */
  get backend(): Backend {
    return this.#running.backend;
  }

  /** Bytes of weights and caches, by where they are. */
  get placedBytes(): Readonly<Partial<Record<BackendName, number>>> {
    return this.backend.placedBytes;
  }

  /** Where numbers come from, for messages. */
  get facts(): ModelFacts {
    const { name, cacheType } = this.options;
    return { name, cacheType, backend: this.backend.name };
  }

  /** What the model does, and what it makes of prompts. */
  get programs(): Programs {
    return this.#programs;
  }

  /** Whether a program of the model gives a result of that name. */
  gives(program: ProgramName, name: string): boolean {
    return this.#plans.gives(program, name);
  }

  /**
   * The sequence that a prompt means to this model.
   *
   * @throws InputError naming the field that is wrong, missing or of no use to it
   */
  sequenceOf(prompt: readonly number[] | Prompt): Sequence {
    const { vocabSize } = this.config, { contextLength } = this.options;
    return toSequence(prompt, { ...this.#programs.prompts, vocabSize, contextLength });
  }

  /**
   * A sequence with tokens behind it.
   *
   * @throws InputError when the model can make nothing of them, or the context has no room
   */
  extended(sequence: Sequence, ids: readonly number[]): Sequence {
    const { contextLength } = this.options, length = sequence.ids.length;
    if (length + ids.length > contextLength) {
      throw new InputError(
        `Cannot process ${ids.length} tokens at position ${length}: the context ` +
          `holds ${contextLength} tokens; shorten the prompt or raise contextLength`,
      );
    }
    const next = { ...sequence, ids: [...sequence.ids, ...ids] };
    // What it had read from the ids may have been cut off in the meantime.
    return this.#programs.prompts?.complete?.(next) ?? next;
  }

  /** Number of memories that the model spans. */
  get stages(): number {
    return this.#plans.stages;
  }

  /** Compiles the plans of generation, so that the first token does not wait for it. */
  prepare(): void {
    this.#plans.prepare();
  }

  /**
   * Runs `task` when every earlier task has ended.
   *
   * @throws InputError when the model has been disposed by then
   */
  exclusive<T>(task: () => Promise<T>): Promise<T> {
    return this.#queue.run(() => {
      if (this.#ended) throw this.#ended;
      return task();
    });
  }

  /** Runs tokens when their turn comes, with those of other sequences where that is possible. */
  run<T>(request: Request<T>): Promise<T> {
    return this.#turns.submit(request);
  }

  /** Whether a holder has cache rows. */
  holds(holder: LeaseHolder): boolean {
    return this.#turns.holds(holder);
  }

  /** How cache rows are stored; bytes of one form mean nothing to another. */
  get cacheForm(): string {
    return this.#plans.cacheForm;
  }

  /** Bytes that `readRows` gives. */
  rowBytes(counts: RowCounts): number {
    return this.#plans.rowBytes(counts);
  }

  /** Reads what a holder has cached into bytes of that length. Calls belong inside `exclusive`. */
  async readRows(holder: LeaseHolder, counts: RowCounts, into: Uint8Array): Promise<void> {
    if (into.length === 0) return;
    const firstRow = this.#turns.firstRow(holder);
    if (firstRow === undefined) throw new BackendError("Cannot read cache rows: they are lost");
    await this.#plans.readRows(firstRow, counts, into);
  }

  /**
   * Gives rows to a new holder and writes into them what `readRows` gave in a form, for a sequence of
   * which `held` says what it is. Waits while all rows are in use. Where another backend has taken over
   * meanwhile, nothing is held.
   */
  async writeRows(
    held: HeldRows,
    counts: RowCounts,
    form: string,
    bytes: Uint8Array,
  ): Promise<LeaseHolder> {
    const { sequence, ...cached } = held, holder: LeaseHolder = { cached: 0 };
    const write = async (): Promise<boolean> => {
      if (form !== this.cacheForm) return true;
      const firstRow = this.#turns.seat(holder, sequence);
      if (firstRow === undefined) return false;
      await this.#plans.writeRows(firstRow, counts, bytes);
      Object.assign(holder, cached);
      return true;
    };
    try {
      while (bytes.length > 0 && !await this.exclusive(write)) await eventLoop();
    } catch (error) {
      this.release(holder);
      throw error;
    }
    return holder;
  }

  /** Gives cache rows back. */
  release(holder: LeaseHolder): void {
    this.#turns.release(holder);
  }

  /** Whether the backend can choose tokens and go on by itself. */
  get canRunAhead(): boolean {
    return this.#plans.ahead.isPossible;
  }

  /** Whether nothing else has run since `runner` ran ahead. */
  isAhead(runner: object): boolean {
    return this.#plans.ahead.isAhead(runner);
  }

  /**
   * Runs `count` tokens and chooses each next one where it is computed. The first is the last one of
   * the part's sequence; without a part, a runner that is ahead goes on from where it is. Calls belong inside
   * `exclusive`, which need not wait for the ids.
   */
  runAhead(
    runner: object,
    start: RunPart | undefined,
    count: number,
    choice: TextChoice,
    draw: number,
  ): Promise<Int32Array> {
    return this.#plans.ahead.run(runner, start, count, choice, draw);
  }

  /**
   * After an error of what ran on a backend, whether another one has its place, where it can run
   * again: every sequence has to be computed from its tokens.
   *
   * @throws BackendError when the other one cannot take over
   */
  async recover(error: unknown, failed: Backend): Promise<boolean> {
    return await this.exclusive(async () =>
      failed !== this.backend || await this.#replaceBackend(error)
    );
  }

  /** Ends the backend; runs that wait in the queue fail. */
  async dispose(): Promise<void> {
    this.#ended = new InputError("Cannot run a model that has been disposed");
    this.#disposing.abort(this.#ended);
    await this.#queue.run(() => this.backend.dispose());
    this.#tables?.close();
  }

  /** Lets another backend take over where one can; whether it did. Runs only while nothing else does. */
  async #replaceBackend(error: unknown): Promise<boolean> {
    try {
      const replaced = await this.#running.replace(error, this.#disposing.signal);
      if (replaced) this.#turns.forget();
      return replaced;
    } catch (error) {
      throw this.#ended ??= error as Error;
    }
  }
}
