/**
 * `deno task bench model`: prompt and generation speed of a whole model, as a user meets it.
 *
 * @module
 */

import { type Flags, peakMemoryBytes, UsageError, writeNote, writeOut } from "../cli/command.ts";
import { loadingNotes } from "../cli/effects.ts";
import { formatMs } from "../cli/format.ts";
import { MODEL_FLAGS } from "../cli/model_flags.ts";
import { SparrowError } from "../errors.ts";
import { quote } from "../escape.ts";
import { loadModel, type LoadOptions, type WeightsOption } from "../mod.ts";
import { bytesPerToken, type DramShare, measureShare } from "./dram_share.ts";
import { type BenchCommand, numberList, RUNS } from "./command.ts";
import { describeMachine, type Spread, spread, threadsText } from "./stats.ts";

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
  /** Sequences that are generated at the same time. */
  readonly sequences: number;
  /** Measurements. */
  readonly runs: number;
  /** Where it runs. */
  readonly backend: string;
  /** Layout of the matrices. */
  readonly weights: string;
  /** Layout of the embedding table and the head, where it is another. */
  readonly wordTables?: string | undefined;
  /** Where a table is that is only looked up, where it shall not be by default. */
  readonly lookupTables?: string | undefined;
  /** Element type of the caches. */
  readonly cacheType: string;
  /** Whether the memory's bandwidth is measured beside generation. */
  readonly dram?: boolean;
}

/** One row of the result. */
export interface ModelResult {
  /** Length of the prompt that was read, in tokens. */
  readonly promptTokens: number;
  /** Tokens that were generated after it. */
  readonly genTokens: number;
  /** Tokens in the context before generation. */
  readonly context: number;
  /** Worker threads. */
  readonly threads: number;
  /** Sequences that were generated at the same time. */
  readonly sequences: number;
  /** Speed of the prompt; null when it was not measured. */
  readonly promptTokensPerSecond: Spread | null;
  /** Speed of generation, of all sequences together; null when it was not measured. */
  readonly tokensPerSecond: Spread | null;
  /** From the call of `loadModel` to its result, in milliseconds. */
  readonly loadMs: number;
  /** Highest resident memory of the process, in bytes. */
  readonly peakMemoryBytes: number;
  /** Generation beside the memory's bandwidth, where that was asked for. */
  readonly dram?: DramShare;
}

/** What a measuring process answers: a result, or the message of the error that it ended with. */
export type ModelAnswer = ModelResult | { readonly refused: string };

/** Special tokens that a prompt holds at most. */
const MOST_SPECIAL = 8;

/** Measures one case in this process. */
export async function measureModel(row: ModelCase): Promise<ModelResult> {
  const { promptTokens, genTokens, context, threads, sequences, runs } = row;
  const started = performance.now();
  const sizes = {
    contextLength: Math.max(promptTokens, context + genTokens + MOST_SPECIAL, 16),
    sequences,
    weights: row.weights as WeightsOption,
    ...(row.wordTables !== undefined && { wordTables: row.wordTables as WeightsOption }),
    cacheType: row.cacheType as LoadOptions["cacheType"] & string,
  };
  await using model = await loadModel(row.model, {
    backend: row.backend as LoadOptions["backend"] & string,
    threads,
    ...sizes,
    ...(row.lookupTables !== undefined && {
      lookupTables: row.lookupTables as LoadOptions["lookupTables"] & string,
    }),
  });
  const loadMs = performance.now() - started;
  const { vocabSize } = model.config;
  // A prompt of some models has to hold special tokens, which an empty text is made of.
  const special = model.tokenizer?.encode("") ?? [];
  const tokens = (count: number): number[] =>
    Array.from({ length: count }, (_, i) => (i * 7919 + 13) % vocabSize);
  const promptOf = (count: number): number[] => [
    ...tokens(Math.max(0, count - special.length)),
    ...special,
  ];
  const start = Math.max(1, context, special.length);
  using session = model.session();
  const prompt: number[] = [], generation: number[] = [];
  // One more than is counted: the first warms the compiled code.
  for (let run = 0; run <= runs && promptTokens > 0; run++) {
    session.reset();
    const begun = performance.now();
    await session.prefill(promptOf(promptTokens));
    prompt.push(promptTokens / (performance.now() - begun) * 1000);
  }
  session.reset();
  using sessions = new DisposableStack();
  const all = [session];
  while (all.length < sequences) all.push(sessions.use(model.session()));
  for (const it of genTokens > 0 ? all : []) await it.prefill(promptOf(start));
  const generate = async (): Promise<number> => {
    for (const it of all) it.truncate(start);
    const begun = performance.now();
    await Promise.all(all.map(async (it) => {
      for (const id of tokens(genTokens)) await it.step(id);
    }));
    return sequences * genTokens / (performance.now() - begun) * 1000;
  };
  for (let run = 0; run <= runs && genTokens > 0; run++) generation.push(await generate());
  const peak = peakMemoryBytes();
  return {
    promptTokens,
    genTokens,
    context,
    threads,
    sequences,
    promptTokensPerSecond: promptTokens > 0 ? spread(prompt.slice(1)) : null,
    tokensPerSecond: genTokens > 0 ? spread(generation.slice(1)) : null,
    loadMs: Math.round(loadMs * 10) / 10,
    peakMemoryBytes: peak,
    ...(row.dram && {
      dram: await measureShare(
        await bytesPerToken(row.model, sizes, start + genTokens / 2),
        generate,
        threads,
        runs,
      ),
    }),
  };
}

/** Measures one case in a process of its own, so that its memory and its warm-up are its own. */
async function measureModelApart(row: ModelCase): Promise<ModelResult> {
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
  if (!success) {
    throw new SparrowError(`Cannot measure ${quote(row.model)}: the measuring process failed`);
  }
  const answer: ModelAnswer = JSON.parse(new TextDecoder().decode(stdout));
  if ("refused" in answer) throw new SparrowError(answer.refused);
  return answer;
}

const help = `Usage: deno task bench model --model M [options]

Prompt and generation speed of a model, each case in a process of its own, after one run that is not
counted. "deno task synthetic" writes models of any size and type to measure.

  -m, --model M       GGUF file or safetensors directory
  --prompt-tokens N   tokens of the prompt that is timed, 0 for none (default 256)
  --gen-tokens N      tokens that are generated and timed, 0 for none (default 64)
  --context N         tokens in the context before generation (default 0)
  --threads N         worker threads (default: all cores)
  --sequences N       sequences generated at the same time; their speeds are added up (default 1)
  --backend B         wasm, webgpu, reference, auto (default wasm)
  --weights W         as-is, int4, int4m, int8, f32 (default as-is)
  --word-tables W     the same for the embedding table and the head alone
  --lookup-tables W   memory, file: where a table of words is that is only looked up
  --cache-type T      f32, f16, int8 (default f32)
  --dram              measure the memory's bandwidth in turn with generation, and say how much of it
                      generation uses (with one sequence)
  --runs N            measurements of each case (default 5)
  --json              print { machine, results: [{ promptTokens, genTokens, context, threads, sequences,
                      promptTokensPerSecond: { min, median, max }, tokensPerSecond: { min, median, max },
                      loadMs, peakMemoryBytes, dram: { dramGBps, bytesPerToken, share } }] }
  -h, --help          print this

Numbers of tokens, threads and sequences may be lists: --threads 1,2`;

/** The command. */
export const model: BenchCommand = {
  help,
  flags: {
    boolean: ["json", "dram"],
    string: ["model", "prompt-tokens", "gen-tokens", "context", "threads", "sequences"],
    choice: MODEL_FLAGS.choice,
    whole: { runs: RUNS },
  },
  run: benchModel,
};

async function benchModel(flags: Flags): Promise<void> {
  const model = flags.text("model");
  if (model === undefined) throw new UsageError("Cannot measure: --model names no model");
  for (const note of loadingNotes(flags)) writeNote(`bench: ${note}`);
  const list = (flag: string, fallback: number): number[] =>
    numberList(flags, flag, [fallback], ["threads", "sequences"].includes(flag) ? 1 : 0);
  const lists = [
    list("threads", navigator.hardwareConcurrency),
    list("sequences", 1),
    list("context", 0),
    list("prompt-tokens", 256),
    list("gen-tokens", 64),
  ];
  const cases = lists.reduce<number[][]>(
    (rows, values) => rows.flatMap((row) => values.map((value) => [...row, value])),
    [[]],
  ) as [number, number, number, number, number][];
  const dram = flags.on("dram");
  if (dram && cases.some(([, sequences, , , genTokens]) => sequences > 1 || genTokens === 0)) {
    throw new UsageError("Cannot measure --dram: expected --sequences 1 and --gen-tokens from 1");
  }
  const results: ModelResult[] = [];
  for (const [threads, sequences, context, promptTokens, genTokens] of cases) {
    results.push(
      await measureModelApart({
        ...{ model, promptTokens, genTokens, context, threads, sequences },
        runs: flags.number("runs") ?? 5,
        backend: flags.text("backend") ?? "wasm",
        weights: flags.text("weights") ?? "as-is",
        wordTables: flags.text("word-tables"),
        lookupTables: flags.text("lookup-tables"),
        dram,
        cacheType: flags.text("cache-type") ?? "f32",
      }),
    );
    if (!flags.on("json")) writeOut(describe(results.at(-1)!) + "\n");
  }
  if (flags.on("json")) writeOut(JSON.stringify({ machine: describeMachine(), results }) + "\n");
}

function describeShare({ dram }: ModelResult): string {
  if (!dram) return "";
  const { share: { min, median, max }, bytesPerToken, dramGBps } = dram;
  return `, ${Math.round(bytesPerToken / 1e6)} MB a token: ${percent(median)} (${
    percent(min)
  } to ` +
    `${percent(max)}) of the ${dramGBps.median} GB/s that memory gives`;
}

const percent = (part: number): string => `${(100 * part).toFixed(1)} %`;

function describe(result: ModelResult): string {
  const speed = (it: Spread | null): string =>
    it ? `${it.median}/s (${it.min} to ${it.max})` : "not measured";
  const several = result.sequences > 1 ? `, ${result.sequences} sequences` : "";
  return `${threadsText(result.threads)}${several}, context ${result.context}: ` +
    `prompt of ${result.promptTokens} ${speed(result.promptTokensPerSecond)}, ` +
    `generation of ${result.genTokens} ${speed(result.tokensPerSecond)}, ` +
    `loaded in ${formatMs(result.loadMs)}, peak ${
      Math.round(result.peakMemoryBytes / 2 ** 20)
    } MiB${describeShare(result)}`;
}
