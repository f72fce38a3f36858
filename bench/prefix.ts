/**
 * `deno task bench prefix`: how soon a session answers whose prompt begins as another one's tokens.
 *
 * @module
 */

import { type Flags, UsageError, writeNote, writeOut } from "../cli/command.ts";
import { loadingNotes } from "../cli/effects.ts";
import { MODEL_FLAGS } from "../cli/model_flags.ts";
import { loadModel, type LoadOptions, type Model } from "../mod.ts";
import { type BenchCommand, RUNS } from "./command.ts";
import { describeMachine, type Spread, spread, threadsText } from "./stats.ts";

/** What is measured of a model. */
export interface PrefixResult {
  /** Tokens that the prompts have in common. */
  readonly prefixTokens: number;
  /** Tokens behind them. */
  readonly restTokens: number;
  /** Worker threads. */
  readonly threads: number;
  /** Tokens that were taken over from the other session. */
  readonly takenTokens: number;
  /** Milliseconds to the first token where no other session has the prefix. */
  readonly aloneMs: Spread;
  /** Milliseconds to the first token where another session has it. */
  readonly sharedMs: Spread;
}

/** Measures a model whose rows are enough for three sequences; both ways in turn. */
export async function measurePrefix(
  model: Model,
  prefixTokens: number,
  restTokens: number,
  runs: number,
): Promise<PrefixResult> {
  const { vocabSize } = model.config;
  const tokens = (count: number, seed: number): number[] =>
    Array.from({ length: count }, (_, i) => (i * 7919 + seed * 104_729 + 13) % vocabSize);
  let takenTokens = 0;
  /** Milliseconds until a new session has its first token. */
  const answer = async (prompt: readonly number[]): Promise<number> => {
    using session = model.session();
    const begun = performance.now();
    await session.complete(prompt, {
      ...{ maxTokens: 1, temperature: 0, stopIds: [] },
      onFinish: ({ reusedTokens }) => takenTokens = reusedTokens,
    });
    return performance.now() - begun;
  };
  using holder = model.session();
  const prefix = tokens(prefixTokens, 0);
  await holder.prefill([...prefix, ...tokens(restTokens, 1)]);
  const alone: number[] = [], shared: number[] = [];
  // One more than is counted: the first warms the compiled code.
  for (let run = 0; run <= runs; run++) {
    alone.push(await answer(tokens(prefixTokens + restTokens, 2 + run)));
    shared.push(await answer([...prefix, ...tokens(restTokens, 2 + run)]));
  }
  return {
    ...{ prefixTokens, restTokens, threads: model.threads, takenTokens },
    aloneMs: spread(alone.slice(1)),
    sharedMs: spread(shared.slice(1)),
  };
}

const help = `Usage: deno task bench prefix --model M [options]

Time to the first token of a session whose prompt begins as the tokens of another one, beside that of
a session that shares nothing: in turn, after one run of each that is not counted.

  -m, --model M       GGUF file or safetensors directory
  --prefix-tokens N   tokens that the prompts have in common (default 1000)
  --rest-tokens N     tokens of the prompt behind them (default 24)
  --threads N         worker threads (default: all cores)
  --backend B         wasm, webgpu, reference, auto (default wasm)
  --weights W         as-is, int4, int4m, int8, f32 (default as-is)
  --cache-type T      f32, f16, int8 (default f32)
  --runs N            measurements of each (default 5)
  --json              print { machine, result: { prefixTokens, restTokens, threads, takenTokens,
                      aloneMs: { min, median, max }, sharedMs: { min, median, max } } }
  -h, --help          print this`;

const COUNT = [1, 2 ** 20] as const;

/** The command. */
export const prefix: BenchCommand = {
  help,
  flags: {
    boolean: ["json"],
    string: ["model"],
    choice: MODEL_FLAGS.choice,
    whole: { runs: RUNS, "prefix-tokens": COUNT, "rest-tokens": COUNT, threads: COUNT },
  },
  run: benchPrefix,
};

async function benchPrefix(flags: Flags): Promise<void> {
  const source = flags.text("model");
  if (source === undefined) throw new UsageError("Cannot measure: --model names no model");
  for (const note of loadingNotes(flags)) writeNote(`bench: ${note}`);
  const prefixTokens = flags.number("prefix-tokens") ?? 1000;
  const restTokens = flags.number("rest-tokens") ?? 24, threads = flags.number("threads");
  await using model = await loadModel(source, {
    backend: (flags.text("backend") ?? "wasm") as LoadOptions["backend"] & string,
    ...(threads !== undefined && { threads }),
    contextLength: prefixTokens + restTokens + 1,
    sequences: 3,
    weights: (flags.text("weights") ?? "as-is") as LoadOptions["weights"] & string,
    cacheType: (flags.text("cache-type") ?? "f32") as LoadOptions["cacheType"] & string,
  });
  const result = await measurePrefix(model, prefixTokens, restTokens, flags.number("runs") ?? 5);
  writeOut(
    flags.on("json")
      ? JSON.stringify({ machine: describeMachine(), result }) + "\n"
      : describe(result) + "\n",
  );
}

function describe(result: PrefixResult): string {
  const time = ({ min, median, max }: Spread): string => `${median} ms (${min} to ${max})`;
  return `${
    threadsText(result.threads)
  }, prompt of ${result.prefixTokens} + ${result.restTokens} ` +
    `tokens, ${result.takenTokens} of them taken over: first token after ` +
    `${time(result.sharedMs)}, without another session ${time(result.aloneMs)}`;
}
