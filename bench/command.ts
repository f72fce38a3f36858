/**
 * What the commands of `deno task bench` have in common.
 *
 * @module
 */

import { type Flags, type FlagSpec, UsageError } from "../cli/command.ts";
import { systemReason } from "../cli/errors.ts";
import { SourceError } from "../errors.ts";
import { quote } from "../escape.ts";

/** A command: one word after `bench`, in a file of its own. */
export interface BenchCommand {
  /** What `--help` prints. */
  readonly help: string;
  /** Its options. */
  readonly flags: FlagSpec;
  /** Whether it takes files, too. */
  readonly takesFiles?: boolean;
  /** Does it. */
  run(flags: Flags): Promise<void>;
}

/** Range of a flag that says how often something is measured. */
export const RUNS = [1, 10_000] as const;
/** Range of a flag with a number of tokens. */
export const TOKENS = [0, 2 ** 30] as const;

/**
 * Refuses a model file that is not there, before minutes of measuring have passed.
 *
 * @throws SourceError when it cannot be found
 */
export function checkModelPath(path: string): void {
  try {
    Deno.statSync(path);
  } catch (cause) {
    const reason = systemReason(cause) ?? (cause as Error).message;
    throw new SourceError(`Cannot measure ${quote(path)}: ${reason}`, { cause });
  }
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
