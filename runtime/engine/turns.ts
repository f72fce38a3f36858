/**
 * Who runs next. While one run is under way, requests of other sequences collect; the next turn
 * takes all that need one more token together (step_turn.ts), a chunk of one long prompt
 * (prompt_turn.ts), or texts for an encoder (encode_turn.ts). It knows neither plans nor text.
 *
 * @module
 */

import { encodeTexts } from "./encode_turn.ts";
import { type LeaseHolder, Leases } from "./leases.ts";
import type { Sequence } from "../models/program.ts";
import { runPrompt } from "./prompt_turn.ts";
import type { Request, TurnRunner } from "./requests.ts";
import { runSteps } from "./step_turn.ts";
import { isStep, type TurnContext } from "./turn.ts";
import { type Entry, Waiting } from "./waiting.ts";
import { isText } from "./whole_texts.ts";

/** Waiting for sessions that are slower pays while it is short compared with a run. */
const PATIENCE = 1 / 16, MOST_PATIENCE_MS = 4;

/** Requests, and the turns that serve them. */
export class Turns {
  readonly #runner: TurnRunner;
  readonly #leases: Leases;
  readonly #waiting: Waiting;
  readonly #context: TurnContext;
  #queued = false;
  #lastMs = 0;
  /** Whether texts for an encoder had the last turn of what takes longer: prompts have the next. */
  #hadTexts = false;
  /** Time that long prompts have had and single tokens have not, in milliseconds. */
  #owed = 0;

  /** Turns on a runner that has rows for `sequences` sequences. */
  constructor(runner: TurnRunner, sequences: number) {
    this.#runner = runner;
    this.#leases = new Leases(sequences, runner.sequenceRows, runner.blankRows);
    this.#waiting = new Waiting(runner);
    this.#context = { runner, leases: this.#leases, waiting: this.#waiting };
  }

  /** Has a request served. */
  submit<T>(request: Request<T>): Promise<T> {
    const served = this.#waiting.add(request);
    this.#schedule();
    return served;
  }

  /** Whether a holder has rows. */
  holds(holder: LeaseHolder): boolean {
    return this.#leases.of(holder) !== undefined;
  }

  /** The first of a holder's rows. */
  firstRow(holder: LeaseHolder): number | undefined {
    return this.#leases.of(holder)?.firstRow;
  }

  /** Gives rows to a holder that asks for nothing yet: the first of them, unless it has to wait. */
  seat(holder: LeaseHolder, sequence: Sequence): number | undefined {
    const lease = this.#leases.take(holder, sequence, (it) => this.#waiting.stateOf(it, []));
    if (lease) lease.left = undefined;
    return lease?.firstRow;
  }

  /** Gives a holder's rows back. */
  release(holder: LeaseHolder): void {
    this.#waiting.forget(holder);
    if (!this.#leases.of(holder)) return;
    this.#leases.release(holder);
    this.#waiting.restart(holder);
  }

  /** Takes the rows from all holders: what was in them is gone. */
  forget(): void {
    this.#leases.releaseAll();
    this.#waiting.restart();
  }

  /** Adds a turn behind whatever waits for the backend; a chunk at a time, nobody waits for long. */
  #schedule(): void {
    if (this.#queued || this.#waiting.size === 0) return;
    this.#queued = true;
    this.#runner.exclusive(() => this.#take()).catch((error) => this.#waiting.rejectAll(error))
      .finally(() => {
        this.#queued = false;
        this.#schedule();
      });
  }

  /** Takes a turn: prompts and single tokens get equal time. */
  async #take(): Promise<void> {
    await this.#waiting.gather(Math.min(MOST_PATIENCE_MS, PATIENCE * this.#lastMs));
    this.#leases.nextTurn();
    const heads = this.#waiting.heads();
    const steps = heads.filter((it) => isStep(this.#runner, it));
    const prompts = heads.filter((it) => !isStep(this.#runner, it));
    if (steps.length === 0 || prompts.length === 0) this.#owed = 0;
    const begun = performance.now();
    if (
      prompts.length > 0 && this.#owed === 0 && await this.#runLong(prompts, steps.length > 0)
    ) {
      this.#lastMs = performance.now() - begun;
      if (steps.length > 0) this.#owed = this.#lastMs;
      return;
    }
    const hasRun = await runSteps(this.#context, steps);
    this.#lastMs = performance.now() - begun;
    this.#owed = hasRun ? Math.max(0, this.#owed - this.#lastMs) : 0;
  }

  /** Runs a part of what takes longer than a token; whether there is any that can run. */
  async #runLong(entries: readonly Entry[], shared: boolean): Promise<boolean> {
    const texts = entries.filter(isText);
    // Prompts before the first text that can have rows come before it; after a turn of texts, all do.
    const end = texts.length > 0 && !this.#hadTexts ? entries.indexOf(texts[0]!) : Infinity;
    const prompts = entries.slice(0, end).filter((it) => !isText(it));
    this.#hadTexts = false;
    if (await runPrompt(this.#context, prompts, shared)) return true;
    if (texts.length === 0) return false;
    this.#hadTexts = true;
    await encodeTexts(this.#context, texts, shared);
    return true;
  }
}
