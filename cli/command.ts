/**
 * What the commands share: reading flags, exit codes, errors as one line, output that survives a
 * closed pipe.
 *
 * @module
 */

import { parseArgs } from "./deps.ts";
import { InputError, SparrowError } from "../errors.ts";
import { quote } from "../escape.ts";
import { terminalText } from "../escape.ts";

/** Kinds of flags, by name without dashes. */
export interface FlagSpec {
  /** Flags without a value. */
  readonly boolean?: readonly string[];
  /** Flags with a text value. */
  readonly string?: readonly string[];
  /** Flags with a text value that may be given again. */
  readonly collect?: readonly string[];
  /** Flags with a number. */
  readonly number?: readonly string[];
}

/** Flags as given. */
export interface Flags {
  /** What is not a flag. */
  readonly rest: readonly string[];
  /** Whether a boolean flag was given. */
  on(name: string): boolean;
  /** Value of a text flag. */
  text(name: string): string | undefined;
  /** Values of a text flag that may be given again. */
  texts(name: string): readonly string[];
  /** Value of a number flag. */
  number(name: string): number | undefined;
}

/** Wrong usage: exit code 2. */
export class UsageError extends SparrowError {}

const toTerminal = terminalText();

/**
 * Text for standard output is written through this. A closed pipe ends the command quietly. On a
 * terminal, control codes in names and in a model's text are shown, not obeyed; a pipe gets them as
 * they are.
 */
export function writeOut(text: string): void {
  const bytes = new TextEncoder().encode(Deno.stdout.isTerminal() ? toTerminal(text) : text);
  try {
    for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) Deno.exit(0);
    throw error;
  }
}

/**
 * Runs a command: `--help` prints `help`, a `SparrowError` prints one line, and the result is the
 * exit code: 0 done, 1 failed, 2 wrong usage.
 */
export async function runCommand(
  name: string,
  help: string,
  args: readonly string[],
  spec: FlagSpec,
  body: (flags: Flags) => Promise<void>,
): Promise<number> {
  try {
    const flags = readFlags(name, args, spec);
    if (flags.on("help")) writeOut(help + "\n");
    else await body(flags);
    return 0;
  } catch (error) {
    if (!(error instanceof SparrowError)) throw error;
    console.error(`${name}: ${error.message}`);
    return error instanceof UsageError || error instanceof InputError ? 2 : 1;
  }
}

function readFlags(name: string, args: readonly string[], spec: FlagSpec): Flags {
  const { boolean = [], string = [], collect = [], number = [] } = spec;
  const valued = [...string, ...collect, ...number];
  const hint = `; "deno task ${name} --help" shows the options`;
  const parsed = parseArgs(joinValues(args, valued), {
    boolean: ["help", ...boolean],
    string: ["_", ...valued],
    collect: [...collect],
    alias: { help: "h" },
    unknown: (arg: string) => {
      if (arg.startsWith("-") && arg !== "-") {
        throw new UsageError(`Cannot read option ${arg.split("=")[0]}: there is none of it${hint}`);
      }
      return true;
    },
  }) as unknown as Record<string, unknown> & { _: string[] };
  const numbers = new Map<string, number>();
  for (const flag of valued) {
    const values = [parsed[flag] ?? []].flat();
    if (values.includes("")) throw new UsageError(`Cannot read --${flag}: it has no value${hint}`);
    if (values.length === 0 || !number.includes(flag)) continue;
    const [value] = values as string[];
    if (value.trim() === "" || !Number.isFinite(Number(value))) {
      throw new UsageError(`Cannot read --${flag}: ${quote(value)} is not a number${hint}`);
    }
    numbers.set(flag, Number(value));
  }
  const text = (flag: string): string | undefined => parsed[flag] as string | undefined;
  return {
    rest: parsed._.map(String),
    on: (flag) => parsed[flag] === true,
    text,
    texts: (flag) => parsed[flag] as string[] ?? [],
    number: (flag) => numbers.get(flag),
  };
}

/** Writes `--flag -1` and `--flag -` with `=`, so that the parser sees no other flags in them. */
function joinValues(args: readonly string[], valued: readonly string[]): string[] {
  const joined: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!, next = args[i + 1] ?? "";
    if (arg === "--") return [...joined, ...args.slice(i)];
    const joins = valued.some((flag) => arg === `--${flag}`) && /^-(?![A-Za-z-])/.test(next);
    joined.push(joins ? `${arg}=${args[++i]}` : arg);
  }
  return joined;
}

/**
 * All text on standard input.
 *
 * @throws InputError when it is not UTF-8
 */
export async function readStdin(): Promise<string> {
  const bytes = await new Response(Deno.stdin.readable).bytes();
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new InputError(
      `Cannot read standard input: its ${bytes.length} bytes are not UTF-8, expected text`,
    );
  }
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
  try {
    const status = Deno.readTextFileSync("/proc/self/status");
    return Number(/VmHWM:\s*(\d+) kB/.exec(status)![1]) * 1024;
  } catch {
    return Deno.memoryUsage().rss; // no /proc here: the present size is the best there is
  }
}
