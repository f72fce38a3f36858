/**
 * Running ahead: a backend that can chooses each token itself and goes on with it, so that several tokens
 * are one submission.
 *
 * @module
 */

import { BackendError } from "../../errors.ts";
import type { BackendName, Executable, TextChoice } from "../backends/backend.ts";
import type { Program, RunPart } from "../models/program.ts";

/** The plan that runs ahead: a decoder's, for one token. */
export interface AheadPlan {
  /** What runs it. */
  readonly backend: BackendName;
  /** The decoder; undefined for a model that has none. */
  readonly decode: Program | undefined;
  /** The output from which a token is chosen. */
  readonly logits: string;
  /** The compiled plan. */
  executable(): Executable;
  /** Writes the inputs of a part's tokens. */
  write(executable: Executable, start: RunPart): void;
}

/** Runs of a plan that go on by themselves. */
export class RunAhead {
  readonly #plan: AheadPlan;
  /** Whose last token the plan's inputs hold; undefined where another run came between. */
  #runner: object | undefined;

  /** Nothing is ahead yet. */
  constructor(plan: AheadPlan) {
    this.#plan = plan;
  }

  /** Whether the backend can do it for this decoder. */
  get isPossible(): boolean {
    const { decode } = this.#plan;
    if (!decode) return false;
    const { runAhead, mostAdvanced = Infinity } = this.#plan.executable();
    return runAhead !== undefined && decode.inputs.length <= mostAdvanced;
  }

  /** Whether nothing else has run since `runner` ran ahead. */
  isAhead(runner: object): boolean {
    return this.#runner === runner;
  }

  /** Nobody is ahead: another run has the plan's inputs and the caches. */
  forget(): void {
    this.#runner = undefined;
  }

  /**
   * Runs `count` tokens and chooses each next one where it is computed. The first is the last one of
   * the part's sequence; without a part, a runner that is ahead goes on from where it is.
   *
   * @throws BackendError when the backend cannot
   */
  run(
    runner: object,
    start: RunPart | undefined,
    count: number,
    { generated, ...choice }: TextChoice,
    draw: number,
  ): Promise<Int32Array> {
    const { backend, decode, logits } = this.#plan, executable = this.#plan.executable();
    if (!executable.runAhead || !decode) {
      throw new BackendError(`Cannot run ahead on backend ${backend}`);
    }
    if (start) {
      this.#plan.write(executable, start);
      this.#runner = runner;
    }
    const before = start && { history: start.sequence.ids, generated };
    const loop = { logits, ids: decode.ids.name, inputs: decode.inputs };
    return executable.runAhead(count, loop, { ...choice, ...before, draw });
  }
}
