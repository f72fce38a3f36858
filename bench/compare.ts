/**
 * `deno task bench compare`: what moved since the last accepted measurement on this machine.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { type Flags, UsageError, writeOut } from "../cli/command.ts";
import { FormatError, SourceError, SparrowError } from "../errors.ts";
import { quote } from "../escape.ts";
import { systemReason } from "../cli/errors.ts";
import { type BenchCommand, RUNS } from "./command.ts";
import {
  acceptRatios,
  type Baseline,
  compareRatios,
  describeMoves,
  machineName,
  type Measured,
} from "./record.ts";
import { describeMachine } from "./stats.ts";

const RESULTS = fileURLToPath(new URL("results", import.meta.url));

const help = `Usage: deno task bench compare [options] [RESULT.json ...]

Compares ratios (shares of the machine's limits, speed over a peer's) with the last accepted ones of
this machine, in bench/results/. RESULT.json is what "kernels", "peers" or "gpu" print with --json;
without one, the kernels are measured now.

  --accept            keep the new ratios as the accepted ones
  --filter TEXT       without RESULT.json: measure the kernels whose name holds TEXT
  --runs N            without RESULT.json: measurements of each (default 7)
  --results DIR       where accepted ratios are kept (default bench/results)
  --json              print the moves: [{ name, verdict, before, now }]
  -h, --help          print this

A ratio has moved when the medians differ by 3 % or more and each lies outside the other's range.
Exit code 1 when one got worse and was not accepted.`;

/** Something got worse: exit code 1. */
class Regression extends SparrowError {}

/** The command. */
export const compare: BenchCommand = {
  help,
  takesFiles: true,
  flags: { boolean: ["accept", "json"], string: ["filter", "results"], whole: { runs: RUNS } },
  run: benchCompare,
};

async function benchCompare(flags: Flags): Promise<void> {
  if (flags.rest.length > 0 && flags.text("filter") !== undefined) {
    throw new UsageError(
      "Cannot compare: --filter chooses what is measured, and a RESULT is given",
    );
  }
  const measured = flags.rest.length > 0 ? flags.rest.map(readMeasured) : [await measure(flags)];
  const machine = measured[0]?.machine ?? describeMachine();
  const name = machineName(machine);
  const other = measured.find((it) => machineName(it.machine) !== name);
  if (other) {
    throw new UsageError(
      `Cannot compare: found results of ${name} and ${machineName(other.machine)}, ` +
        "expected one machine",
    );
  }
  const ratios = Object.assign({}, ...measured.map((it) => it.ratios));
  const folder = flags.text("results") ?? RESULTS;
  const file = `${folder}/${name}.json`;
  const baseline = readBaseline(file);
  const moves = compareRatios(baseline?.ratios ?? {}, ratios);
  writeOut((flags.on("json") ? JSON.stringify(moves) : describeMoves(moves)) + "\n");
  if (flags.on("accept")) {
    const day = new Date().toISOString().slice(0, 10);
    const accepted = acceptRatios(baseline, { machine, ratios }, day);
    await Deno.mkdir(folder, { recursive: true });
    await Deno.writeTextFile(file, JSON.stringify(accepted, null, 2) + "\n");
    return;
  }
  const worse = moves.filter(({ verdict }) => verdict === "worse").length;
  if (worse > 0) {
    throw new Regression(`${worse} of ${moves.length} ratios got worse; --accept keeps them`);
  }
}

async function measure(flags: Flags): Promise<Measured> {
  const { measureKernels } = await import("./kernels.ts");
  return await measureKernels({
    filter: flags.text("filter") ?? "",
    threads: [1, navigator.hardwareConcurrency],
    runs: flags.number("runs") ?? 7,
  });
}

/**
 * Reads what a benchmark printed with `--json`.
 *
 * @throws SparrowError when it cannot be read or is something else
 */
function readMeasured(path: string): Measured {
  return readRatios(path, "the output of a benchmark with --json");
}

function readBaseline(file: string): Baseline | undefined {
  try {
    Deno.statSync(file);
  } catch {
    return undefined; // the first measurement on this machine
  }
  return readRatios(file, "accepted ratios") as Baseline;
}

function readRatios(file: string, expected: string): Measured {
  let text: string;
  try {
    text = Deno.readTextFileSync(file);
  } catch (cause) {
    const reason = systemReason(cause) ?? (cause as Error).message;
    throw new SourceError(`Cannot read ${quote(file)}: ${reason}`, { cause });
  }
  let value: Partial<Measured> | null;
  try {
    value = JSON.parse(text);
  } catch {
    value = null;
  }
  const ratios = Object.values(value?.ratios ?? {});
  const fits = typeof value?.machine?.cpu === "string" && ratios.length > 0 &&
    ratios.every((it) => [it?.min, it?.median, it?.max].every(Number.isFinite));
  if (!fits) {
    throw new FormatError(`Cannot compare ${quote(file)}: found no ratios, expected ${expected}`);
  }
  return value as Measured;
}
