/**
 * What the words after `deno task bench` have in common.
 *
 * @module
 */

import { type Flags, type FlagSpec, UsageError } from "../cli/command.ts";
import { quote } from "../escape.ts";

/** One word after `bench`, in a file of its own. */
export interface BenchPart {
  /** What `--help` prints. */
  readonly help: string;
  /** Its options. */
  readonly flags: FlagSpec;
  /** Does it. */
  run(flags: Flags): Promise<void>;
}

/**
 * A flag with whole numbers between commas, each once.
 *
 * @throws UsageError when it holds anything else, or a number below `least`
 */
export function numberList(
  flags: Flags,
  flag: string,
  fallback: readonly number[],
  least = 1,
): number[] {
  const text = flags.text(flag);
  const values = text === undefined ? fallback : text.split(",").map((it) => it ? Number(it) : NaN);
  if (values.some((value) => !Number.isInteger(value) || value < least)) {
    throw new UsageError(
      `Cannot read --${flag}: ${quote(text)} is no list of whole numbers from ${least}, as in 1,2`,
    );
  }
  return Array.from(new Set(values));
}
