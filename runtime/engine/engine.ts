/**
 * A loaded model as a function from tokens to logits: its programs on a backend, another backend where
 * that one fails, and the queue that lets one run follow another; turns.ts decides what runs when.
 * Sessions and `Model` are built on it.
 *
 * @module
 */

import { BackendError, InputError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { Backend, BackendName, TokenChoice } from "../backends/backend.ts";
import { flawOf, type ModelFacts } from "./flaws.ts";
import type { LeaseHolder } from "./leases.ts";
import type { ModelConfig, ModelDefinition } from "../models/definition.ts";
import type { ProgramName, Programs, RunPart, Sequence } from "../models/program.ts";
import { type Prompt, toSequence } from "../models/prompt.ts";
import { Plans } from "./plans.ts";
import type { PlanSizes } from "./record.ts";
import type { Request } from "./requests.ts";
import { Turns } from "./turns.ts";
import type { ResolvedWeights } from "../models/weights.ts";

/** How an engine is sized. */
export interface EngineOptions extends PlanSizes {
  /** Path or URL of the model, for messages. */
  readonly name?: string;
}

/** Another backend for a model, when its own one fails. */
export interface StandIn {
  /** Makes the backend; told why. */
  open(reason: Error): Promise<Backend>;
  /** Writes the weights, which have their memory by then. */
  load(backend: Backend, signal: AbortSignal): Promise<void>;
}

/** Runs a model on a backend. */
export class Engine {
  readonly config: ModelConfig;
  readonly options: EngineOptions;
  readonly #programs: Programs;
  readonly #weights: ResolvedWeights;
  #backend: Backend;
  #standIn: StandIn | undefined;
  #plans: Plans;
  readonly #turns: Turns;
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
    this.#programs = definition.programs(config);
    this.config = config;
    this.#weights = weights;
    this.#backend = backend;
    this.options = options;
    this.#standIn = standIn;
    this.#plans = this.#place();
    this.#turns = new Turns({
      exclusive: (task) => this.exclusive(task),
      forward: (parts, output, wanted) => this.#plans.forward(parts, output, wanted),
      flaw: (rows, output, position) =>
        flawOf(rows, this.#plans.width(output), output, position, this.facts),
      recover: (error) => this.#replaceBackend(error),
      width: (output) => this.#plans.width(output),
      chunk: (output) => this.#plans.chunk(output),
      batch: this.#plans.batch,
      sequenceRows: this.#plans.sequenceRows,
      runRows: this.#plans.runRows,
      whole: (sequence) => this.#plans.whole(sequence),
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

  /** Where numbers come from, for messages. */
  get facts(): ModelFacts {
    const { name, cacheType } = this.options;
    return { name, cacheType, backend: this.#backend.name };
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
    return this.#plans.canRunAhead;
  }

  /** Whether nothing else has run since `runner` ran ahead. */
  isAhead(runner: object): boolean {
    return this.#plans.isAhead(runner);
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
    choice: TokenChoice,
    draw: number,
  ): Promise<Int32Array> {
    return this.#plans.runAhead(runner, start, count, choice, draw);
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
  }

  /** Gives weights and caches their memory in the backend. */
  #place(): Plans {
    return new Plans(this.#programs, this.#weights, this.#backend, this.options);
  }

  /** Lets the stand-in take over, once; whether it did. Runs only while nothing else does. */
  async #replaceBackend(reason: unknown): Promise<boolean> {
    const standIn = this.#standIn;
    // Whoever asked for something impossible does so on every backend.
    if (!standIn || !(reason instanceof Error) || reason instanceof InputError) return false;
    this.#standIn = undefined;
    await this.#backend.dispose();
    this.#turns.forget();
    try {
      this.#backend = await standIn.open(reason);
      this.#plans = this.#place();
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
}
