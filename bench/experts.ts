/**
 * `deno task bench experts`: what more experts cost a token that gets one of them. Synthetic Switch
 * Transformers that differ in nothing but the number of experts are written, loaded, and generate in
 * turn.
 *
 * @module
 */

import { type Flags, UsageError, writeOut } from "../cli/command.ts";
import { formatBytes } from "../cli/progress.ts";
import { SHAPES } from "../cli/shapes.ts";
import { loadModel, type Model, type WeightsOption } from "../mod.ts";
import { WEIGHTS_OPTIONS } from "../runtime/models/weights.ts";
import { type BenchCommand, numberList, RUNS, TOKENS } from "./command.ts";
import { bytesPerToken } from "./dram_share.ts";
import { describeMachine, digits, ratios, type Spread, spread, threadsText } from "./stats.ts";
import { withLayers, writeSyntheticFolder } from "./synthetic_folder.ts";
import type { Config } from "./synthetic_tokenizer.ts";

/** What is measured. */
interface Work {
  readonly experts: readonly number[];
  readonly width: number;
  readonly inner: number;
  readonly layers: number;
  readonly genTokens: number;
  readonly runs: number;
  readonly threads: number;
  readonly weights: WeightsOption;
}

/** One number of experts. */
export interface ExpertsResult {
  readonly experts: number;
  /** Parameters of all experts together. */
  readonly expertParameters: number;
  /** Speed of generation. */
  readonly tokensPerSecond: Spread;
  /** Bytes that a token reads at least. */
  readonly bytesPerToken: number;
  /** Time and bytes of a token, as parts of those of the first number of experts. */
  readonly timeRatio: Spread;
  readonly bytesRatio: number;
}

/** A Switch Transformer whose every layer has experts. */
function configOf({ width, inner, layers }: Work, experts: number): Config {
  return {
    ...withLayers(SHAPES["switch-c"]!.config, layers),
    ...{ d_model: width, d_ff: inner, d_kv: 16, num_heads: 4, num_experts: experts },
    torch_dtype: "float16",
  };
}

/** Measures all numbers of experts in turn. */
export async function measureExperts(work: Work): Promise<ExpertsResult[]> {
  const { experts, width, inner, layers, genTokens, runs, threads, weights } = work;
  const folder = await Deno.makeTempDir({ prefix: "sparrow-experts-" });
  await using stack = new AsyncDisposableStack();
  stack.defer(() => Deno.remove(folder, { recursive: true }));
  const contextLength = genTokens + 16, sizes = { weights, contextLength };
  const models: Model[] = [], bytes: number[] = [], times: number[][] = experts.map(() => []);
  for (const count of experts) {
    const path = `${folder}/${count}`;
    await writeSyntheticFolder(path, configOf(work, count));
    models.push(stack.use(await loadModel(path, { backend: "wasm", threads, ...sizes })));
    bytes.push(await bytesPerToken(path, sizes, genTokens / 2));
  }
  // One more than is counted: the first warms the compiled code.
  for (let run = 0; run <= runs; run++) {
    for (const [i, model] of models.entries()) times[i]!.push(await timePerToken(model, genTokens));
  }
  const counted = times.map((it) => it.slice(1));
  return experts.map((count, i) => ({
    experts: count,
    expertParameters: 2 * layers * count * 2 * width * inner,
    tokensPerSecond: spread(counted[i]!.map((ms) => 1000 / ms)),
    bytesPerToken: bytes[i]!,
    timeRatio: ratios(counted[i]!, counted[0]!),
    bytesRatio: digits(bytes[i]! / bytes[0]!),
  }));
}

/** Milliseconds for a token of a text of so many. */
async function timePerToken(model: Model, tokens: number): Promise<number> {
  using session = model.session();
  await session.prefill({ ids: [5, 9, 11, 1] });
  const begun = performance.now();
  for (let i = 0; i < tokens; i++) await session.step((i * 7919 + 13) % model.config.vocabSize);
  return (performance.now() - begun) / tokens;
}

const help = `Usage: deno task bench experts [options]

What more experts cost a token that gets one of them: synthetic Switch Transformers, alike but for the
number of experts, are written to a temporary folder, loaded, and generate in turn. Time and bytes of a
token are told as parts of those with the first number of experts. The router, which chooses among all
experts, and the head are read whole.

  --experts LIST      numbers of experts (default 64,2048)
  --width N           width of the model, a multiple of 16 (default 64)
  --inner N           width of an expert (default 1024)
  --layers N          layers of each side, all with experts (default 1)
  --gen-tokens N      tokens of a measurement (default 256)
  --threads N         worker threads (default: all cores)
  --weights W         as-is, int4, int8, f32 (default as-is, which is f16)
  --runs N            measurements of each (default 5)
  --json              print { machine, threads, results: [{ experts, expertParameters, tokensPerSecond,
                      bytesPerToken, timeRatio: { min, median, max }, bytesRatio }] }
  -h, --help          print this`;

/** The command. */
export const experts: BenchCommand = {
  help,
  flags: {
    boolean: ["json"],
    string: ["experts"],
    choice: { weights: WEIGHTS_OPTIONS },
    whole: {
      ...{ width: [16, 1 << 14], inner: [1, 1 << 16], layers: [1, 100], threads: [1, 1024] },
      ...{ "gen-tokens": [1, TOKENS[1]], runs: RUNS },
    },
  },
  run: benchExperts,
};

async function benchExperts(flags: Flags): Promise<void> {
  const list = numberList(flags, "experts", [64, 2048]), width = flags.number("width") ?? 64;
  if (width % 16 !== 0) {
    throw new UsageError(`Cannot measure with --width ${width}: expected a multiple of 16`);
  }
  const threads = flags.number("threads") ?? navigator.hardwareConcurrency;
  const results = await measureExperts({
    experts: list,
    width,
    inner: flags.number("inner") ?? 1024,
    layers: flags.number("layers") ?? 1,
    genTokens: flags.number("gen-tokens") ?? 256,
    runs: flags.number("runs") ?? 5,
    threads,
    weights: (flags.text("weights") ?? "as-is") as WeightsOption,
  });
  if (flags.on("json")) {
    writeOut(JSON.stringify({ machine: describeMachine(), threads, results }) + "\n");
    return;
  }
  for (const it of results) {
    const { min, median, max } = it.timeRatio;
    writeOut(
      `${it.experts} experts, ${(it.expertParameters / 1e6).toFixed(0)} million parameters, ` +
        `${threadsText(threads)}: ${it.tokensPerSecond.median} tokens per second, time × ` +
        `${median} (${min} to ${max}), ${formatBytes(it.bytesPerToken)} a token, bytes × ` +
        `${it.bytesRatio}\n`,
    );
  }
}
