/**
 * `deno task bench kernels`: every op at shapes of models, beside what the machine could do at best
 * in the same moment.
 *
 * @module
 */

import { type Flags, UsageError, writeOut } from "../cli/command.ts";
import { quote } from "../escape.ts";
import { createReferenceBackend } from "../runtime/backends/reference/backend.ts";
import type { Backend } from "../runtime/backends/backend.ts";
import { createWasmBackend } from "../runtime/backends/wasm/backend.ts";
import { prepareKernel } from "./kernel_case.ts";
import { type KernelRow, kernelRows } from "./kernel_rows.ts";
import { type Calibrator, createCalibrator } from "./limits/calibrate.ts";
import { type LimitName, LIMITS } from "./limits/limits.ts";
import { type BenchCommand, numberList, RUNS } from "./command.ts";
import type { Measured } from "./record.ts";
import { describeMachine, digits, ratios, type Spread, spread, threadsText } from "./stats.ts";

/** One row of the result. */
export interface KernelResult {
  /** What was timed. */
  readonly name: string;
  /** `wasm`, `plain` (without relaxed SIMD) or `reference`. */
  readonly backend: string;
  /** Worker threads. */
  readonly threads: number;
  /** Microseconds of one call. */
  readonly us: Spread;
  /** Bytes that must cross memory once, per second of the median call. */
  readonly gbPerSecond: number;
  /** Operations (a multiply-add is two) per second of the median call. */
  readonly gopPerSecond: number;
  /** What holds it back at best. */
  readonly limit: LimitName;
  /** The limit, measured before each call, in its unit. */
  readonly limitRate: Spread;
  /** Achieved part of the limit, pair by pair. */
  readonly share: Spread;
}

/** What the command prints with `--json`. */
export interface KernelsResult extends Measured {
  /** Limits by name and threads, over the whole run. */
  readonly limits: readonly (Spread & { name: LimitName; what: string; threads: number })[];
  /** Rows. */
  readonly results: readonly KernelResult[];
}

const BACKENDS: Readonly<Record<string, (threads: number) => Promise<Backend>>> = {
  wasm: (threads) => createWasmBackend({ threads }),
  plain: (threads) => createWasmBackend({ threads, relaxed: false }),
  reference: () => Promise.resolve(createReferenceBackend()),
};

/** Which rows are measured, and how often. */
export interface KernelsOptions {
  /** Rows whose name holds this text or matches this pattern. */
  readonly filter?: string;
  /** Numbers of worker threads. */
  readonly threads: readonly number[];
  /** Measurements of each row. */
  readonly runs: number;
  /** Names of backends. */
  readonly backends?: readonly string[];
  /** Called with each row. */
  readonly onResult?: (result: KernelResult) => void;
}

/** Measures rows. */
export async function measureKernels(options: KernelsOptions): Promise<KernelsResult> {
  const { threads, runs, backends = ["wasm"], onResult } = options;
  const isWanted = matcher(options.filter);
  const rows = kernelRows().filter(({ name }) => isWanted(name));
  if (rows.length === 0) {
    throw new UsageError(`Cannot measure: no row matches --filter ${quote(options.filter)}`);
  }
  const calibrator = await createCalibrator(Math.max(...threads));
  const limits = new Map<string, { name: LimitName; threads: number; rates: number[] }>();
  const calibrate = async (name: LimitName, threads: number): Promise<number> => {
    const rate = await calibrator.measure(name, threads);
    const key = `${name} ${threads}`;
    let kept = limits.get(key);
    if (!kept) limits.set(key, kept = { name, threads, rates: [] });
    kept.rates.push(rate);
    return rate;
  };
  const results: KernelResult[] = [];
  try {
    for (const row of rows) {
      for (const backend of backends) {
        for (const count of backend === "reference" ? [1] : threads) {
          const measure = { row, backend, threads: count, runs, calibrator, calibrate };
          const result = await measureRow(measure);
          results.push(result);
          onResult?.(result);
        }
      }
    }
  } finally {
    calibrator.dispose();
  }
  return {
    machine: describeMachine(),
    limits: Array.from(limits.values(), ({ name, threads, rates }) => ({
      name,
      what: LIMITS[name],
      threads,
      ...spread(rates),
    })),
    results,
    ratios: Object.fromEntries(results.map((it) => [
      `kernels: ${it.name}, ${it.backend}, ${threadsText(it.threads)}, of ${it.limit}`,
      it.share,
    ])),
  };
}

async function measureRow({ row, backend, threads, runs, calibrator, calibrate }: {
  row: KernelRow;
  backend: string;
  threads: number;
  runs: number;
  calibrator: Calibrator;
  calibrate: (name: LimitName, threads: number) => Promise<number>;
}): Promise<KernelResult> {
  // Memory of a backend is given away once, so every row has its own.
  const made = await BACKENDS[backend]!(threads);
  try {
    const ready = await prepareKernel(made, row);
    const { flops, bytes } = ready.cost, { limit } = ready;
    const work = limit === "dram" || limit === "cache" ? bytes : flops;
    const us: number[] = [], limitRates: number[] = [];
    for (let run = 0; run < runs; run++) {
      let rate = await calibrate(limit, threads);
      // The machine's limit is what anything reads at best, not what WebAssembly does.
      if (limit === "dram" && calibrator.native) {
        rate = Math.max(rate, await calibrate("dramNative", threads));
      }
      limitRates.push(rate);
      us.push(await ready.time());
    }
    const timing = spread(us);
    return {
      name: row.name,
      backend,
      threads,
      us: timing,
      gbPerSecond: digits(bytes / timing.median / 1e3),
      gopPerSecond: digits(flops / timing.median / 1e3),
      limit,
      limitRate: spread(limitRates),
      share: ratios(us.map((it) => work / it / 1e3), limitRates),
    };
  } finally {
    await made.dispose();
  }
}

/** Text, or a pattern between slashes as of `deno bench`. */
function matcher(filter: string | undefined): (name: string) => boolean {
  if (filter === undefined) return () => true;
  const pattern = /^\/(.+)\/$/.exec(filter);
  if (!pattern) return (name) => name.includes(filter);
  try {
    const compiled = new RegExp(pattern[1]!);
    return (name) => compiled.test(name);
  } catch (cause) {
    throw new UsageError(`Cannot use --filter ${quote(filter)}: ${(cause as Error).message}`, {
      cause,
    });
  }
}

const help = `Usage: deno task bench [kernels] [options]

Times every op on the WebAssembly backend: at shapes of models, and the cases of the tests. What the
machine could do at best is measured before each run, on as many threads: a share is of that.

${Object.entries(LIMITS).map(([name, what]) => `  ${name.padEnd(12)}${what}`).join("\n")}

Shares of dram are of the better of the two ways to read.

  --filter TEXT       rows whose name holds TEXT, or matches /PATTERN/
  --threads LIST      numbers of worker threads (default 1 and all cores)
  --backend LIST      wasm, plain (wasm without relaxed SIMD), reference (default wasm)
  --runs N            measurements of each row (default 7)
  --json              print { machine, limits, results, ratios }
  -h, --help          print this`;

/** The command. */
export const kernels: BenchCommand = {
  help,
  flags: {
    boolean: ["json"],
    string: ["filter", "threads", "backend"],
    whole: { runs: RUNS },
  },
  run: benchKernels,
};

async function benchKernels(flags: Flags): Promise<void> {
  const backends = (flags.text("backend") ?? "wasm").split(",");
  const unknown = backends.find((name) => !(name in BACKENDS));
  if (unknown !== undefined) {
    throw new UsageError(
      `Cannot measure backend ${quote(unknown)}: expected ${Object.keys(BACKENDS).join(", ")}` +
        (unknown === "webgpu" ? '; "deno task bench gpu" measures webgpu' : ""),
    );
  }
  const filter = flags.text("filter");
  const result = await measureKernels({
    ...(filter === undefined ? {} : { filter }),
    threads: numberList(flags, "threads", [1, navigator.hardwareConcurrency]),
    runs: flags.number("runs") ?? 7,
    backends,
    ...(flags.on("json") ? {} : { onResult: (row) => writeOut(describeKernel(row) + "\n") }),
  });
  if (flags.on("json")) return writeOut(JSON.stringify(result) + "\n");
  for (const { name, what, threads, min, median, max } of result.limits) {
    writeOut(`${name}, ${threadsText(threads)}: ${median} (${min} to ${max}); ${what}\n`);
  }
}

function describeKernel(row: KernelResult): string {
  const { name, backend, threads, us, gbPerSecond, gopPerSecond, limit, share } = row;
  const percent = (part: number): number => digits(100 * part, 3);
  return `${name}, ${backend}, ${threadsText(threads)}: ${us.median} µs (from ${us.min}), ` +
    `${gbPerSecond} GB/s, ${gopPerSecond} GOP/s, ${percent(share.median)} % of ${limit} ` +
    `(${percent(share.min)} to ${percent(share.max)})`;
}
