/**
 * `deno task bench model`: prompt and generation speed of a whole model, as a user meets it.
 *
 * @module
 */

import { type Flags, peakMemoryBytes, UsageError, writeOut } from "../cli/command.ts";
import { loadModel, type LoadOptions } from "../mod.ts";
import { describeMachine, type Spread, spread } from "./stats.ts";

/** What one row measures. */
export interface ModelCase {
  /** GGUF file or safetensors directory. */
  readonly model: string;
  /** Tokens of the prompt that is timed, 0 for none. */
  readonly promptTokens: number;
  /** Tokens that are generated and timed, 0 for none. */
  readonly genTokens: number;
  /** Tokens that are in the context before generation starts. */
  readonly context: number;
  /** Worker threads. */
  readonly threads: number;
  /** Measurements. */
  readonly runs: number;
  /** Layout of the matrices. */
  readonly weights: string;
  /** Element type of the caches. */
  readonly cacheType: string;
}

/** One row of the result. */
export interface ModelResult {
  /** Tokens of the prompt. */
  readonly promptTokens: number;
  /** Tokens generated. */
  readonly genTokens: number;
  /** Tokens in the context before generation. */
  readonly context: number;
  /** Worker threads. */
  readonly threads: number;
  /** Speed of the prompt; null when it was not measured. */
  readonly promptTokensPerSecond: Spread | null;
  /** Speed of generation; null when it was not measured. */
  readonly tokensPerSecond: Spread | null;
  /** From the call of `loadModel` to its result, in milliseconds. */
  readonly loadMs: number;
  /** Highest resident memory of the process, in bytes. */
  readonly peakMemoryBytes: number;
}

/** Measures one case in this process. */
export async function measureModel(row: ModelCase): Promise<ModelResult> {
  const { promptTokens, genTokens, context, threads, runs } = row;
  const started = performance.now();
  await using model = await loadModel(row.model, {
    threads,
    contextLength: Math.max(promptTokens, context + genTokens, 16),
    weights: row.weights as LoadOptions["weights"] & string,
    cacheType: row.cacheType as LoadOptions["cacheType"] & string,
  });
  const loadMs = performance.now() - started;
  const { vocabSize } = model.config;
  const tokens = (count: number): number[] =>
    Array.from({ length: count }, (_, i) => (i * 7919 + 13) % vocabSize);
  using session = model.session();
  const prompt: number[] = [], generation: number[] = [];
  // One more than is counted: the first warms the compiled code.
  for (let run = 0; run <= runs && promptTokens > 0; run++) {
    session.reset();
    const begun = performance.now();
    await session.prefill(tokens(promptTokens));
    prompt.push(promptTokens / (performance.now() - begun) * 1000);
  }
  session.reset();
  if (genTokens > 0) await session.prefill(tokens(Math.max(1, context)));
  for (let run = 0; run <= runs && genTokens > 0; run++) {
    session.truncate(context);
    const begun = performance.now();
    for (const id of tokens(genTokens)) await session.step(id);
    generation.push(genTokens / (performance.now() - begun) * 1000);
  }
  return {
    promptTokens,
    genTokens,
    context,
    threads,
    promptTokensPerSecond: promptTokens > 0 ? spread(prompt.slice(1)) : null,
    tokensPerSecond: genTokens > 0 ? spread(generation.slice(1)) : null,
    loadMs: Math.round(loadMs * 10) / 10,
    peakMemoryBytes: peakMemoryBytes(),
  };
}

/** Measures one case in a process of its own, so that its memory and its warm-up are its own. */
export async function measureModelApart(row: ModelCase): Promise<ModelResult> {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", new URL("model_process.ts", import.meta.url).href],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  });
  const child = command.spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(JSON.stringify(row)));
  await writer.close();
  const { success, stdout } = await child.output();
  if (!success) throw new UsageError(`Cannot measure ${row.model}: the measuring process failed`);
  return JSON.parse(new TextDecoder().decode(stdout));
}

/** Flags of `deno task bench model`. */
export const MODEL_BENCH_FLAGS = {
  boolean: ["json"],
  string: ["model", "prompt-tokens", "gen-tokens", "context", "threads", "weights", "cache-type"],
  number: ["runs"],
};

/** Runs the command. */
export async function benchModel(flags: Flags): Promise<void> {
  const model = flags.text("model");
  if (model === undefined) throw new UsageError("Cannot measure: --model names no model");
  const list = (flag: string, fallback: number): number[] => {
    const values = (flags.text(flag) ?? String(fallback)).split(",").map(Number);
    if (values.some((value) => !Number.isInteger(value) || value < 0)) {
      throw new UsageError(`Cannot read --${flag}: "${flags.text(flag)}" is no list of numbers`);
    }
    return values;
  };
  const results: ModelResult[] = [];
  for (const threads of list("threads", navigator.hardwareConcurrency)) {
    for (const context of list("context", 0)) {
      for (const promptTokens of list("prompt-tokens", 256)) {
        for (const genTokens of list("gen-tokens", 64)) {
          const row = { model, promptTokens, genTokens, context, threads };
          const runs = flags.number("runs") ?? 5;
          const weights = flags.text("weights") ?? "as-is";
          const cacheType = flags.text("cache-type") ?? "f32";
          results.push(await measureModelApart({ ...row, runs, weights, cacheType }));
          if (!flags.on("json")) writeOut(describe(results.at(-1)!) + "\n");
        }
      }
    }
  }
  if (flags.on("json")) writeOut(JSON.stringify({ machine: describeMachine(), results }) + "\n");
}

function describe(result: ModelResult): string {
  const speed = (it: Spread | null): string =>
    it ? `${it.median}/s (${it.min} to ${it.max})` : "not measured";
  return `${result.threads} threads, context ${result.context}: ` +
    `prompt of ${result.promptTokens} ${speed(result.promptTokensPerSecond)}, ` +
    `generation of ${result.genTokens} ${speed(result.tokensPerSecond)}, ` +
    `loaded in ${result.loadMs} ms, peak ${Math.round(result.peakMemoryBytes / 2 ** 20)} MiB`;
}
