/**
 * Who runs next. While one run is under way, requests of other sequences collect; the next turn
 * takes all that need one more token together, as one run of several tokens (continuous batching:
 * Yu et al., "Orca", OSDI 2022), or a chunk of one long prompt. It knows neither plans nor text.
 *
 * @module
 */

import { allocateRows } from "./rows.ts";
import { eventLoop } from "./event_loop.ts";
import { forget, type HolderState, type Lease, type LeaseHolder, Leases } from "./leases.ts";
import type { Output, RunPart, Sequence } from "../models/program.ts";
import type { Request, TurnRunner } from "./requests.ts";
import { type Chunks, findShared, isStandard, noteRun } from "./sharing.ts";

interface Entry {
  readonly request: Request<unknown>;
  /** The sequence as it was when it began. */
  sequence: Sequence;
  /** Whether a part of it has run, so that its rows must not be taken away. */
  begun: boolean;
  /** Rows so far, where every token has one. */
  rows: Float32Array | undefined;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** A request and why it failed. */
type Failure = readonly [entry: Entry, error: unknown];

/** Most tokens of a prompt in one run while others wait for their next token. */
const SHARED_CHUNK = 64;
/** Steps of the event loop's inner queue that sessions get for asking for their next token. */
const MOST_STEPS = 64;
/** Waiting for sessions that are slower pays while it is short compared with a run. */
const PATIENCE = 1 / 16, MOST_PATIENCE_MS = 4;

/** Requests, and the turns that serve them. */
export class Turns {
  readonly #runner: TurnRunner;
  readonly #leases: Leases;
  /** In the order of arrival. */
  #pending: Entry[] = [];
  /** Served in the last turn and not back yet. */
  readonly #expected = new Set<LeaseHolder>();
  #queued = false;
  #turn = 0;
  #lastMs = 0;
  /** Time that long prompts have had and single tokens have not, in milliseconds. */
  #owed = 0;

  /** Turns on a runner that has rows for `sequences` sequences. */
  constructor(runner: TurnRunner, sequences: number) {
    this.#runner = runner;
    this.#leases = new Leases(sequences);
  }

  /** Has a request served. */
  submit<T>(request: Request<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const entry = {
      request,
      sequence: { ids: [] },
      begun: false,
      rows: undefined,
      resolve,
      reject,
    };
    this.#pending.push(entry as unknown as Entry);
    this.#schedule();
    return promise;
  }

  /** Whether a holder has rows. */
  holds(holder: LeaseHolder): boolean {
    return this.#leases.of(holder) !== undefined;
  }

  /** The first of a holder's rows. */
  firstRow(holder: LeaseHolder): number | undefined {
    const lease = this.#leases.of(holder);
    return lease && this.#firstRow(lease);
  }

  /** Gives rows to a holder that asks for nothing yet: the first of them, unless it has to wait. */
  seat(holder: LeaseHolder, sequence: Sequence): number | undefined {
    const lease = this.#leases.take(holder, sequence, this.#turn, (it) => this.#stateOf(it, []));
    if (lease) lease.left = undefined;
    return lease && this.#firstRow(lease);
  }

  /** Gives a holder's rows back. */
  release(holder: LeaseHolder): void {
    this.#leases.release(holder);
    this.#expected.delete(holder);
    for (const entry of this.#pending) if (entry.request.holder === holder) entry.begun = false;
  }

  /** Takes the rows from all holders: what was in them is gone. */
  forget(): void {
    this.#leases.releaseAll();
    for (const entry of this.#pending) entry.begun = false;
  }

  /** Adds a turn behind whatever waits for the backend; a chunk at a time, nobody waits for long. */
  #schedule(): void {
    if (this.#queued || this.#pending.length === 0) return;
    this.#queued = true;
    this.#runner.exclusive(() => this.#take()).catch((error) => {
      for (const entry of this.#pending.splice(0)) entry.reject(error);
    }).finally(() => {
      this.#queued = false;
      this.#schedule();
    });
  }

  async #take(): Promise<void> {
    await this.#gather();
    this.#turn++;
    const heads = this.#heads();
    const steps = heads.filter((it) => this.#isStep(it));
    const prompts = heads.filter((it) => !this.#isStep(it));
    if (steps.length === 0 || prompts.length === 0) this.#owed = 0;
    const begun = performance.now();
    if (
      prompts.length > 0 && this.#owed === 0 && await this.#runPrompt(prompts, steps.length > 0)
    ) {
      this.#lastMs = performance.now() - begun;
      if (steps.length > 0) this.#owed = this.#lastMs;
      return;
    }
    const hasRun = await this.#runSteps(steps);
    this.#lastMs = performance.now() - begun;
    this.#owed = hasRun ? Math.max(0, this.#owed - this.#lastMs) : 0;
  }

  /** Lets those who were served in the last turn ask again, so that they can run together. */
  async #gather(): Promise<void> {
    const missing = (): boolean => {
      for (const { request } of this.#pending) this.#expected.delete(request.holder);
      return this.#expected.size > 0;
    };
    for (let step = 0; step < MOST_STEPS && missing(); step++) await undefined;
    const patience = Math.min(MOST_PATIENCE_MS, PATIENCE * this.#lastMs);
    for (const end = performance.now() + patience; missing() && performance.now() < end;) {
      await eventLoop();
    }
    this.#expected.clear();
  }

  /** The first request of each holder, with the tokens that it wants now. */
  #heads(): Entry[] {
    const heads = new Map<LeaseHolder, Entry>();
    for (const entry of Array.from(this.#pending)) {
      const { holder, signal, output } = entry.request;
      if (heads.has(holder)) continue;
      try {
        signal?.throwIfAborted();
        if (!entry.begun) entry.sequence = entry.request.sequence();
        if (output.rows === "all" && output.program === "decode" && !entry.request.onRows) {
          entry.rows ??= allocateRows(entry.sequence.ids.length, this.#runner.width(output));
        }
        heads.set(holder, entry);
      } catch (error) {
        this.#drop(entry).reject(error);
      }
    }
    return Array.from(heads.values());
  }

  /** The rows that a holder gets, unless it has to wait for them. */
  #lease({ request: { holder }, sequence }: Entry, chosen: readonly Entry[]): Lease | undefined {
    return this.#leases.take(holder, sequence, this.#turn, (it) => this.#stateOf(it, chosen));
  }

  #stateOf(holder: LeaseHolder, chosen: readonly Entry[]): HolderState {
    if (chosen.some(({ request }) => request.holder === holder)) return "pinned";
    const entry = this.#pending.find(({ request }) => request.holder === holder);
    return entry === undefined ? "idle" : entry.begun ? "pinned" : "active";
  }

  #firstRow({ range }: Lease): number {
    return range * this.#runner.sequenceRows;
  }

  /** How a prompt is divided into runs when nothing else is under way. */
  #chunks({ sequence, request: { output } }: Entry): Chunks {
    const steady = this.#runner.steady();
    return { whole: this.#runner.whole(sequence), most: this.#runner.chunk(output), steady };
  }

  /** Takes over what of a prompt is in the rows of others, or was left in those that it got. */
  async #takeOver(entry: Entry, lease: Lease): Promise<void> {
    const { sequence, request: { holder } } = entry;
    holder.taken = 0;
    const found = findShared(sequence, holder, this.#leases.held(lease), this.#chunks(entry));
    if (!found) return;
    const { lease: from, tokens, encoded } = found;
    forget(holder); // until all is there
    if (from !== lease) {
      const source = encoded ? sequence.source!.ids.length : 0;
      await this.#runner.copyRows(this.#firstRow(from), this.#firstRow(lease), { tokens, source });
    }
    holder.cached = holder.standard = holder.taken = tokens;
    holder.encoded = encoded;
  }

  /** Runs one token, or none, of as many sequences as have rows and a place; whether there are any. */
  async #runSteps(steps: readonly Entry[]): Promise<boolean> {
    const chosen: Entry[] = [], parts: RunPart[] = [];
    for (const entry of steps) {
      if (chosen.length === this.#runner.batch) break;
      if (
        chosen.length > 0 &&
        `${chosen[0]!.request.output.names}` !== `${entry.request.output.names}`
      ) {
        continue;
      }
      const lease = this.#lease(entry, chosen);
      // Whoever lost its rows to another one has more to run than one token now.
      if (!lease || !this.#isStep(entry)) continue;
      const { sequence, request: { holder } } = entry, { cached: position } = holder;
      const firstRow = this.#firstRow(lease);
      const count = sequence.ids.length - position; // 0 or 1
      const offset = parts.reduce((sum, { count }) => sum + count, 0);
      if (count > 0) noteRun(lease, holder, position, this.#runner.steady() === 1 ? count : 0);
      chosen.push(entry);
      parts.push({ sequence, position, count, offset, firstRow });
    }
    const running = parts.filter(({ count }) => count > 0);
    try {
      const rows = running.length > 0
        ? await this.#runner.forward(running, chosen[0]!.request.output, true)
        : new Float32Array(0);
      const width = rows.length / Math.max(1, running.length);
      const failures: Failure[] = [];
      chosen.forEach((entry, i) => {
        const { firstRow, count } = parts[i]!;
        const at = running.indexOf(parts[i]!);
        const row = running.length === 1 && at === 0
          ? rows
          : rows.slice(at * width, (at + 1) * width);
        const output = count === 0 ? new Float32Array(0) : row;
        const flaw = this.#flaw(entry, output);
        if (flaw) failures.push([entry, flaw]);
        else this.#finish(entry, firstRow, output);
      });
      await this.#fail(failures);
    } catch (error) {
      await this.#fail(chosen.map((entry): Failure => [entry, error]));
    }
    return chosen.length > 0;
  }

  /** Runs a chunk of the first prompt that can have rows; whether there is one. */
  async #runPrompt(prompts: readonly Entry[], shared: boolean): Promise<boolean> {
    for (const entry of prompts) {
      if (entry.request.output.program === "encode") {
        await this.#runWhole(prompts, entry.request.output);
        return true;
      }
      const lease = this.#lease(entry, []);
      if (!lease) continue;
      const { sequence, request: { holder, output } } = entry, firstRow = this.#firstRow(lease);
      try {
        if (!entry.begun && output.rows === "last") await this.#takeOver(entry, lease);
      } catch (error) {
        await this.#fail([[entry, error]]);
        return true;
      }
      lease.left = undefined;
      if (sequence.source && !holder.encoded) {
        await this.#encodeSource(entry, sequence.source, firstRow);
        return true;
      }
      const whole = Math.min(this.#runner.whole(sequence), sequence.ids.length);
      // What must share a run begins again where only a part of it is in the cache.
      if (holder.cached < whole) holder.cached = 0;
      const position = holder.cached;
      const most = Math.min(this.#runner.chunk(output), shared ? SHARED_CHUNK : Infinity);
      const count = Math.min(Math.max(most, whole - position), sequence.ids.length - position);
      const isLast = position + count === sequence.ids.length;
      entry.begun = true;
      const standard = output.rows === "last" && isStandard(this.#chunks(entry), position, count);
      noteRun(lease, holder, position, standard ? count : 0);
      try {
        const parts = [{ sequence, position, count, offset: 0, firstRow }];
        const isWanted = isLast || output.rows === "all";
        const rows = await this.#runner.forward(parts, output, isWanted);
        const flaw = this.#flaw(entry, rows, position);
        if (flaw) throw flaw;
        entry.rows?.set(rows, position * this.#runner.width(output));
        if (this.#pending.includes(entry)) entry.request.onRows?.(rows, position);
        holder.cached = position + count;
        this.#leases.renew(holder, this.#turn);
        if (isLast) this.#finish(entry, firstRow, entry.rows ?? rows);
      } catch (error) {
        await this.#fail([[entry, error]]);
        return true;
      }
      try {
        if (!isLast) entry.request.progress?.(holder.cached);
      } catch (error) {
        this.#drop(entry).reject(error); // the caller's own, not the backend's
      }
      return true;
    }
    return false;
  }

  /** Has an encoder read what a decoder's sequence answers to, into the rows that it keeps for that. */
  async #encodeSource(entry: Entry, source: Sequence, firstRow: number): Promise<void> {
    const { holder } = entry.request;
    entry.begun = true;
    try {
      const part = { sequence: source, position: 0, count: source.ids.length, offset: 0, firstRow };
      await this.#runner.forward([part], { program: "encode", names: [], rows: "last" }, false);
      holder.encoded = true;
      this.#leases.renew(holder, this.#turn);
    } catch (error) {
      await this.#fail([[entry, error]]);
    }
  }

  /** Runs as many whole texts through an encoder as one run holds; they need no rows of their own. */
  async #runWhole(entries: readonly Entry[], output: Output): Promise<void> {
    const chosen: Entry[] = [], parts: RunPart[] = [];
    let offset = 0;
    for (const entry of entries) {
      const { sequence, request } = entry, count = sequence.ids.length;
      const { program, names, rows } = request.output;
      const isAlike = program === output.program && `${names}` === `${output.names}` &&
        rows === output.rows;
      if (!isAlike || chosen.length > 0 && offset + count > this.#runner.runRows) continue;
      chosen.push(entry);
      parts.push({ sequence, position: 0, count, offset, firstRow: 0 });
      offset += count;
    }
    try {
      const found = await this.#runner.forward(parts, output, true);
      const width = this.#runner.width(output);
      const failures: Failure[] = [];
      let at = 0;
      chosen.forEach((entry, i) => {
        const length = width * (output.rows === "all" ? parts[i]!.count : 1);
        const rows = found.slice(at, at += length);
        const flaw = this.#flaw(entry, rows);
        if (flaw) failures.push([entry, flaw]);
        else this.#finish(entry, 0, rows);
      });
      await this.#fail(failures);
    } catch (error) {
      await this.#fail(chosen.map((entry): Failure => [entry, error]));
    }
  }

  /** Whether at most one token is left to run, and only its result is wanted. */
  #isStep({ request: { holder, output }, sequence }: Entry): boolean {
    return output.program === "decode" && output.rows === "last" &&
      sequence.ids.length - holder.cached <= 1 && (!sequence.source || holder.encoded === true) &&
      (sequence.ids.length <= 1 || holder.cached >= this.#runner.whole(sequence));
  }

  /** What is wrong with rows of an entry; of those of all tokens the first is of token `position`. */
  #flaw(
    { request: { output }, sequence: { ids } }: Entry,
    rows: Float32Array,
    position = 0,
  ): Error | undefined {
    const first = output.rows === "last" ? ids.length - 1 : position;
    return this.#runner.flaw(rows, output, first);
  }

  #finish(entry: Entry, firstRow: number, output: Float32Array): void {
    const { holder } = entry.request;
    // Its holder may have left in the meantime.
    if (!this.#pending.includes(entry)) return;
    holder.cached = entry.sequence.ids.length;
    const value = entry.request.finish(output, firstRow);
    // A decoder's holder wants its next token soon.
    if (entry.request.output.program === "decode") this.#expected.add(holder);
    this.#drop(entry).resolve(value);
  }

  /** Ends requests that failed, unless they can run again on another backend. */
  async #fail(failures: readonly Failure[]): Promise<void> {
    let failed = failures.filter(([entry]) => this.#pending.includes(entry));
    try {
      if (failed.length === 0 || await this.#runner.recover(failed[0]![1])) return;
    } catch (error) {
      failed = failed.map(([entry]) => [entry, error]);
    }
    for (const [entry, error] of failed) this.#drop(entry).reject(error);
  }

  #drop(entry: Entry): Entry {
    this.#pending = this.#pending.filter((it) => it !== entry);
    return entry;
  }
}
