/**
 * What is asked of a model, and what turns are taken on: both sides of turns.ts.
 *
 * @module
 */

import type { LeaseHolder } from "./leases.ts";
import type { Output, RunPart, Sequence } from "../models/program.ts";

/** Tokens of one sequence that are wanted. */
export interface Request<T> {
  /** Whose cache rows they need. Requests of one holder run one after another. */
  readonly holder: LeaseHolder;
  /** What is wanted of them: logits of the last, or a row of each. */
  readonly output: Output;
  /**
   * Takes the rows of each run as they come, the first of which is of token `first`, instead of all
   * of them in the end. Rows may come again where they had to be computed again.
   */
  onRows?(rows: Float32Array, first: number): void;
  /** Ends it between two runs; the promise rejects with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** Told after each part of a long prompt but the last how many tokens are cached. */
  progress?(cached: number): void;
  /**
   * The whole sequence, cached tokens too; called in every turn until it begins to run. What it
   * throws ends the request.
   */
  sequence(): Sequence;
  /**
   * Takes the result (empty where every token was cached) in the turn in which it is complete; the
   * holder has all tokens cached, in the rows from `firstRow` on.
   */
  finish(output: Float32Array, firstRow: number): T;
}

/** Rows that a sequence has. */
export interface RowCounts {
  /** Those of its own tokens. */
  readonly tokens: number;
  /** Those of the tokens of its source, as an encoder wrote them. */
  readonly source: number;
}

/** What turns are taken on. */
export interface TurnRunner {
  /** Runs a task when every earlier one has ended. */
  exclusive<T>(task: () => Promise<T>): Promise<T>;
  /**
   * Runs parts together. Returns the rows of the output: of all their tokens, or one row for each
   * part; nothing where it is not wanted.
   */
  forward(parts: readonly RunPart[], output: Output, wanted: boolean): Promise<Float32Array>;
  /** What is wrong with rows, the first of which is of token `position`, if anything is. */
  flaw(rows: Float32Array, output: Output, position: number): Error | undefined;
  /** Whether the backend was replaced after this failure, so that runs can be repeated. */
  recover(error: unknown): Promise<boolean>;
  /** Elements of a row of the output. */
  width(output: Output): number;
  /** Most tokens of one part. */
  chunk(output: Output): number;
  /** Copies what is cached of a sequence from its first row on to another one. */
  copyRows(from: number, to: number, counts: RowCounts): Promise<void>;
  /** Whether the number of tokens in a run makes no difference to any of them. */
  isSteady(): boolean;
  /** Most parts that run together. */
  readonly batch: number;
  /** Rows of a sequence in the caches. */
  readonly sequenceRows: number;
  /** Those of them before the row of its first token, which stay zeros. */
  readonly blankRows: number;
  /** Most tokens of texts that an encoder reads in one run, where there are several. */
  together(output: Output): number;
  /** Leading tokens of a sequence that must share one run. */
  whole(sequence: Sequence): number;
}
