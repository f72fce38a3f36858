/**
 * `deno task bench gpu`, or `deno run -A bench/gpu.ts` where there is no network: everything about
 * WebGPU on this machine at once, into one JSON and a short table.
 *
 * @module
 */

import { type Flags, runCommand, UsageError, writeOut } from "../cli/command.ts";
import { systemReason } from "../cli/errors.ts";
import { BackendError, SourceError } from "../errors.ts";
import { quote } from "../escape.ts";
import { type GpuKernelResult, type GpuKernels, measureGpuKernels } from "./gpu_kernels.ts";
import { type GpuModelOptions, measureGpuModel, measureSynthetic } from "./gpu_models.ts";
import { checkParity, type GpuParity } from "./gpu_parity.ts";
import { type BenchCommand, checkModelPath, numberList, RUNS, TOKENS } from "./command.ts";
import { describePeer, peerRatios, type PeerResult } from "./peers.ts";
import type { Measured } from "./record.ts";
import { describeMachine, digits } from "./stats.ts";
import { SIZES } from "./synthetic_model.ts";

const help = `Usage: deno task bench gpu [options]

Checks on this machine's GPU that WebGPU computes what it should, times kernels at shapes of models
against what the adapter copies and multiplies at best, and times whole INT4 models with random
weights, in turn with llama.cpp where it is installed. Needs no network; bench/README.md says how to
carry everything to a machine without one.

  --parts LIST        parity, kernels, models (default all)
  --widths LIST       rows and columns of the matrices (default 4096,8192; 256 is quick)
  --tokens N          tokens of the products of matrices (default 512)
  --filter TEXT       only kernels whose name holds TEXT
  --sizes LIST        synthetic models (default 1b,7b; "none" for none)
  --dir D             where they are written, 0.9 GB for 1b, 4 GB for 7b, one at a time, and removed
                      (default: the folder for temporary files)
  --model M           also measure this GGUF file; may be given again
  --prompt-tokens L   lengths of prompts (default 512)
  --position N        tokens before those that are generated (default 256)
  --gen-tokens N      tokens that are generated and timed (default 128)
  --runs N            measurements of each (default 5)
  --out FILE          also write the JSON to FILE, as far as it is known, after each part
  --json              print { machine, adapter, parity, kernels, models, ratios }
  -h, --help          print this

Exit code 1 when a test of parity failed.`;

/** What the command prints with `--json`. */
export interface GpuResult extends Measured {
  /** What the adapter says of itself. */
  readonly adapter?: GpuKernels["facts"];
  /** Whether it computes what it should. */
  readonly parity?: GpuParity;
  /** Kernels and limits. */
  readonly kernels?: Omit<GpuKernels, "facts">;
  /** Models. */
  readonly models?: readonly PeerResult[];
}

/** The command. */
export const gpu: BenchCommand = {
  help,
  flags: {
    boolean: ["json"],
    string: ["parts", "widths", "filter", "sizes", "dir", "prompt-tokens", "out"],
    collect: ["model"],
    whole: {
      "tokens": [1, TOKENS[1]],
      "position": TOKENS,
      "gen-tokens": [1, TOKENS[1]],
      "runs": RUNS,
    },
  },
  run: benchGpu,
};

const PARTS = ["parity", "kernels", "models"];

async function benchGpu(flags: Flags): Promise<void> {
  const parts = namesOf(flags, "parts", PARTS.join(","), PARTS);
  const sizes = namesOf(flags, "sizes", "1b,7b", [...Object.keys(SIZES), "none"]);
  const out = flags.text("out");
  flags.texts("model").forEach(checkModelPath);
  // Where results go is looked at before anything is measured.
  if (out !== undefined) Deno.openSync(out, { append: true, create: true }).close();
  const folder = parts.includes("models") ? await makeFolder(flags.text("dir")) : "";
  try {
    await measure(flags, parts, sizes, folder);
  } finally {
    if (folder !== "") await Deno.remove(folder, { recursive: true });
  }
}

async function measure(
  flags: Flags,
  parts: readonly string[],
  sizes: readonly string[],
  folder: string,
): Promise<void> {
  const runs = flags.number("runs") ?? 5, out = flags.text("out");
  const show = (line: string): void => {
    if (!flags.on("json")) writeOut(line + "\n");
  };
  let result: GpuResult = { machine: describeMachine(), ratios: {} };
  const keep = (more: Partial<GpuResult>): void => {
    result = { ...result, ...more };
    if (out !== undefined) Deno.writeTextFileSync(out, JSON.stringify(result) + "\n");
  };
  if (parts.includes("parity")) {
    const parity = await checkParity();
    keep({ parity });
    show(describeParity(parity));
  }
  if (parts.includes("kernels")) {
    const filter = flags.text("filter");
    const { facts, ...kernels } = await measureGpuKernels({
      widths: numberList(flags, "widths", [4096, 8192]),
      tokens: flags.number("tokens") ?? 512,
      runs,
      ...(filter === undefined ? {} : { filter }),
      onResult: (row) => show(describeKernel(row)),
    });
    const shares = kernels.results.map((it) => [`gpu: ${it.name}, of ${it.limit}`, it.share]);
    keep({
      adapter: facts,
      machine: { ...result.machine, adapter: facts.name },
      kernels,
      ratios: { ...result.ratios, ...Object.fromEntries(shares) },
    });
    if (kernels.variants) {
      const { arithmetic, reduction, integer, times } = kernels.variants;
      const timed = Object.entries(times).map(([name, us]) => `${name} ${us.toFixed(1)} us`);
      const why = timed.length > 0 ? ` (${timed.join(", ")})` : "";
      show(`variants: ${arithmetic}, ${reduction}, ${integer ? "integer" : "float"}${why}`);
    }
    for (const [name, { min, median, max }] of Object.entries(kernels.limits)) {
      show(`limit ${name}: ${median} ${name === "copy" ? "GB/s" : "GFLOP/s"} (${min} to ${max})`);
    }
  }
  if (parts.includes("models")) {
    const options: GpuModelOptions = {
      promptTokens: numberList(flags, "prompt-tokens", [512]),
      position: flags.number("position") ?? 256,
      genTokens: flags.number("gen-tokens") ?? 128,
      runs,
      onResult: (row) => show(describePeer(row)),
    };
    const models: PeerResult[] = [];
    for (const path of flags.texts("model")) models.push(...await measureGpuModel(path, options));
    for (const name of sizes.filter((it) => it !== "none")) {
      models.push(...await measureSynthetic(name, SIZES[name]!, folder, options));
      keep({ models, ratios: { ...result.ratios, ...peerRatios(models) } });
    }
    keep({ models, ratios: { ...result.ratios, ...peerRatios(models) } });
  }
  if (flags.on("json")) writeOut(JSON.stringify(result) + "\n");
  const failures = result.parity?.failed.length ?? 0;
  if (failures > 0) {
    throw new BackendError(
      `Cannot rely on this GPU: ${failures} tests of parity failed, see above`,
    );
  }
}

/** A folder for models, inside `dir` where one is named. */
async function makeFolder(dir: string | undefined): Promise<string> {
  try {
    return await Deno.makeTempDir(dir === undefined ? {} : { dir });
  } catch (cause) {
    const reason = systemReason(cause) ?? (cause as Error).message;
    throw new SourceError(`Cannot write models into ${quote(dir)}: ${reason}`, { cause });
  }
}

function namesOf(
  flags: Flags,
  flag: string,
  fallback: string,
  allowed: readonly string[],
): string[] {
  const names = (flags.text(flag) ?? fallback).split(",");
  const unknown = names.find((name) => !allowed.includes(name));
  if (unknown !== undefined) {
    throw new UsageError(
      `Cannot measure with --${flag} ${quote(unknown)}: expected ${allowed.join(", ")}`,
    );
  }
  return names;
}

function describeParity(parity: GpuParity): string {
  const { passed, failed, sameTop, tokens, largestDifference } = parity;
  return [
    `parity: ${passed} tests passed, ${failed.length} failed`,
    ...failed.map((name) => `  failed: ${name}`),
    `default model: the same token likeliest after ${sameTop} of ${tokens}, logits differ by at ` +
    `most ${largestDifference}`,
  ].join("\n");
}

function describeKernel(row: GpuKernelResult): string {
  const { name, us, gbPerSecond, gopPerSecond, limit, share } = row;
  return `${name.padEnd(52)} ${us.median} µs, ${gbPerSecond} GB/s, ${gopPerSecond} GOP/s, ` +
    `${digits(100 * share.median, 3)} % of ${limit}`;
}

if (import.meta.main) {
  Deno.exit(await runCommand("bench gpu", help, Deno.args, gpu.flags, gpu.run));
}
