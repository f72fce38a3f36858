/**
 * What the commands share: how they are called, exit codes, errors as one line, output that survives
 * a closed pipe.
 *
 * @module
 */

import { resourceUsage } from "node:process";
import { InputError, SparrowError } from "../errors.ts";
import { plain, terminalText } from "../escape.ts";
import { describeFailure, Interrupted, systemReason, UsageError } from "./errors.ts";
import { type Flags, type FlagSpec, readFlags } from "./flags.ts";
import { withFlags } from "./option_names.ts";

export { UsageError } from "./errors.ts";
export type { Flags, FlagSpec } from "./flags.ts";

/** What stands before a command's name: `deno task`, or the name of an installed program. */
let program = "deno task";

/** Says how this program was called; before a command is loaded, whose help repeats it. */
export function setProgram(name: string): void {
  program = name;
}

/** A command as the user types it: `deno task generate`, or `sparrow generate`. */
export function commandName(command: string): string {
  return `${program} ${command}`;
}

/** The exit code of a program that Ctrl-C ended: 128 and the number of SIGINT. */
export const INTERRUPTED = 130;

const toTerminal = terminalText();

/**
 * Text for standard output is written through this. A closed pipe ends the command quietly. On a
 * terminal, control codes in names and in a model's text are shown, not obeyed; a pipe gets them as
 * they are.
 */
export function writeOut(text: string): void {
  writeBytes(new TextEncoder().encode(Deno.stdout.isTerminal() ? toTerminal(text) : text));
}

/** Bytes for standard output, which is no terminal. A closed pipe ends the command quietly. */
export function writeBytes(bytes: Uint8Array): void {
  try {
    for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) Deno.exit(0);
    const reason = systemReason(error);
    if (reason === undefined) throw error;
    throw new SparrowError(`Cannot write to standard output: ${reason}`, { cause: error });
  }
}

/**
 * A line of text on standard error, for notes and timings; it is lost where nobody can read it.
 * Control codes in it are shown, not obeyed.
 */
export function writeNote(text: string): void {
  try {
    const bytes = new TextEncoder().encode(`${terminalText()(text)}\n`);
    for (let at = 0; at < bytes.length;) at += Deno.stderr.writeSync(bytes.subarray(at));
  } catch {
    // There is no other place to say it.
  }
}

/**
 * Runs a command: `--help` prints `help`, a mistake prints one line, and the result is the exit code:
 * 0 done (or what `body` returns), 1 failed, 2 wrong usage, 130 interrupted.
 */
export async function runCommand(
  name: string,
  help: string,
  args: readonly string[],
  spec: FlagSpec,
  body: (flags: Flags) => Promise<number | void>,
): Promise<number> {
  try {
    // Whoever asks for help need not get the other flags right.
    const end = args.indexOf("--");
    const asked = (end < 0 ? args : args.slice(0, end)).some((it) =>
      it === "--help" || it === "-h"
    );
    if (asked) {
      writeOut(help + "\n");
      return 0;
    }
    return await body(readFlags(commandName(name), args, spec)) ?? 0;
  } catch (error) {
    return reportError(name, error);
  }
}

/**
 * Tells a mistake, or what the system refused, in one line and returns the exit code.
 *
 * @throws the error, when it is a bug
 */
function reportError(name: string, error: unknown): number {
  const message = error instanceof SparrowError ? error.message : describeFailure(error);
  if (message === undefined) throw error;
  const line = withFlags(plain(message.replace(/\s*\n\s*/g, " ")));
  writeNote(`${name}: ${line.replaceAll(/\bdeno task (?=[a-z])/g, `${program} `)}`);
  if (error instanceof Interrupted) return INTERRUPTED;
  return error instanceof UsageError || error instanceof InputError ? 2 : 1;
}

/** Removes entries without a value, for options whose absence has a meaning. */
export function given<T extends object>(
  options: T,
): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as { [K in keyof T]?: Exclude<T[K], undefined> };
}

/** Highest resident memory of this process so far, in bytes. */
export function peakMemoryBytes(): number {
  return Math.max(resourceUsage().maxRSS * 1024, Deno.memoryUsage().rss);
}
