/**
 * What filters, tests and functions need of the rendering that they are part of.
 *
 * @module
 */

import type { Budget } from "./budget.ts";
import type { Arguments, Value } from "./values.ts";

/** One rendering. */
export interface Run {
  /** What it may use. */
  readonly budget: Budget;
  /** The time that `strftime_now` tells. */
  readonly now: Date;
  /** Applies a filter by name. */
  filter(name: string, value: Value, call: Arguments): Value;
  /** Applies a test by name. */
  test(name: string, value: Value, call: Arguments): boolean;
}

/** A filter: what goes in, and the arguments after it. */
export type Filter = (run: Run, value: Value, call: Arguments) => Value;

/** A test: what stands before `is`, and the arguments after the test's name. */
export type Test = (run: Run, value: Value, call: Arguments) => boolean;
