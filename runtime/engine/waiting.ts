/**
 * Requests that wait for their turn: in which order they came, which of them can run now, and how
 * each of them ends.
 *
 * @module
 */

import { allocateRows } from "./rows.ts";
import { eventLoop } from "../backends/event_loop.ts";
import type { HolderState, LeaseHolder } from "./leases.ts";
import type { Sequence } from "../models/program.ts";
import type { Request, TurnRunner } from "./requests.ts";
import { isText } from "./whole_texts.ts";

/** A request, and how far it has come. */
export interface Entry {
  /** What was asked for. */
  readonly request: Request<unknown>;
  /** The sequence as it was when it began. */
  sequence: Sequence;
  /** Whether a part of it has run, so that its rows must not be taken away. */
  begun: boolean;
  /** Rows so far, where every token has one. */
  rows: Float32Array | undefined;
  /** Ends it with its result. */
  resolve(value: unknown): void;
  /** Ends it with an error. */
  reject(error: unknown): void;
}

/** A request and why it failed. */
export type Failure = readonly [entry: Entry, error: unknown];

/** Steps of the event loop's inner queue that sessions get for asking for their next token. */
const MOST_STEPS = 64;

/** The requests that have not ended. */
export class Waiting {
  readonly #runner: TurnRunner;
  /** In the order of arrival. */
  readonly #entries = new Set<Entry>();
  /** Served in the last turn and not back yet. */
  readonly #expected = new Set<LeaseHolder>();

  /** Requests that a runner serves. */
  constructor(runner: TurnRunner) {
    this.#runner = runner;
  }

  /** Number of requests. */
  get size(): number {
    return this.#entries.size;
  }

  /** Whether a request has not ended: its holder may have left while it ran. */
  has(entry: Entry): boolean {
    return this.#entries.has(entry);
  }

  /** Adds a request; the promise ends with it. */
  add<T>(request: Request<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const entry = { request, sequence: { ids: [] }, begun: false, rows: undefined };
    this.#entries.add({ ...entry, resolve, reject } as unknown as Entry);
    return promise;
  }

  /** Expects no request of a holder any more. */
  forget(holder: LeaseHolder): void {
    this.#expected.delete(holder);
  }

  /** Lets requests begin anew whose rows are gone: those of a holder, or all. */
  restart(holder?: LeaseHolder): void {
    for (const entry of this.#entries) {
      if (!holder || entry.request.holder === holder) entry.begun = false;
    }
  }

  /**
   * Lets those who were served in the last turn ask again, so that they can run together: for a few
   * steps of the event loop, and then for as many milliseconds.
   */
  async gather(patience: number): Promise<void> {
    const missing = (): boolean => {
      if (this.#expected.size === 0) return false;
      for (const { request } of this.#entries) this.#expected.delete(request.holder);
      return this.#expected.size > 0;
    };
    for (let step = 0; step < MOST_STEPS && missing(); step++) await undefined;
    for (const end = performance.now() + patience; missing() && performance.now() < end;) {
      await eventLoop();
    }
    this.#expected.clear();
  }

  /**
   * The first request of each holder, with the tokens that it wants now; of texts for an encoder no
   * more than one run could hold.
   */
  heads(): Entry[] {
    const heads = new Map<LeaseHolder, Entry>();
    let texts = 0;
    for (const entry of Array.from(this.#entries)) {
      const { holder, signal, output } = entry.request;
      if (heads.has(holder)) continue;
      try {
        signal?.throwIfAborted();
        if (isText(entry) && texts++ >= this.#runner.together(output)) continue;
        if (!entry.begun) entry.sequence = entry.request.sequence();
        if (output.rows === "all" && output.program === "decode" && !entry.request.onRows) {
          entry.rows ??= allocateRows(entry.sequence.ids.length, this.#runner.width(output));
        }
        heads.set(holder, entry);
      } catch (error) {
        this.reject(entry, error);
      }
    }
    return Array.from(heads.values());
  }

  /** What a holder is about, while the requests of `chosen` run. */
  stateOf(holder: LeaseHolder, chosen: readonly Entry[]): HolderState {
    if (chosen.some(({ request }) => request.holder === holder)) return "pinned";
    const entry = Array.from(this.#entries).find(({ request }) => request.holder === holder);
    return entry === undefined ? "idle" : entry.begun ? "pinned" : "active";
  }

  /** What is wrong with rows of an entry; of those of all tokens the first is of token `position`. */
  flaw(
    { request: { output }, sequence: { ids } }: Entry,
    rows: Float32Array,
    position = 0,
  ): Error | undefined {
    const first = output.rows === "last" ? ids.length - 1 : position;
    return this.#runner.flaw(rows, output, first);
  }

  /** Ends requests that ran together with their rows, but for those with which something is wrong. */
  async finishAll(
    results: readonly (readonly [entry: Entry, firstRow: number, rows: Float32Array])[],
  ): Promise<void> {
    const failures: Failure[] = [];
    for (const [entry, firstRow, rows] of results) {
      const flaw = this.flaw(entry, rows);
      if (flaw) failures.push([entry, flaw]);
      else this.finish(entry, firstRow, rows);
    }
    await this.fail(failures);
  }

  /** Ends a request with its rows; all its tokens are cached, from `firstRow` on. */
  finish(entry: Entry, firstRow: number, output: Float32Array): void {
    if (!this.has(entry)) return;
    const { holder } = entry.request;
    holder.cached = entry.sequence.ids.length;
    const value = entry.request.finish(output, firstRow);
    // A decoder's holder wants its next token soon.
    if (entry.request.output.program === "decode") this.#expected.add(holder);
    this.#entries.delete(entry);
    entry.resolve(value);
  }

  /** Ends requests that failed, unless they can run again on another backend. */
  async fail(failures: readonly Failure[]): Promise<void> {
    let failed = failures.filter(([entry]) => this.has(entry));
    try {
      if (failed.length === 0 || await this.#runner.recover(failed[0]![1])) return;
    } catch (error) {
      failed = failed.map(([entry]) => [entry, error]);
    }
    for (const [entry, error] of failed) this.reject(entry, error);
  }

  /** Ends a request with an error. */
  reject(entry: Entry, error: unknown): void {
    this.#entries.delete(entry);
    entry.reject(error);
  }

  /** Ends all requests with an error. */
  rejectAll(error: unknown): void {
    for (const entry of Array.from(this.#entries)) this.reject(entry, error);
  }
}
