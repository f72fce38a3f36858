/**
 * `deno task bench`: without a word, the rows of every op under `Deno.bench`; `model` measures a
 * whole model.
 *
 * @module
 */

import { runCommand, UsageError } from "../cli/command.ts";
import { benchModel, MODEL_BENCH_FLAGS } from "./model.ts";

const help = `Usage: deno task bench [options]
       deno task bench model --model M [options]

Without "model": times every op on every backend of this machine (options as of "deno bench", such as
--filter TEXT or --json).

With "model": prompt and generation speed of a model, each case in a process of its own, after one
run that is not counted.

  --model M           GGUF file or safetensors directory
  --prompt-tokens N   tokens of the prompt that is timed, 0 for none (default 256)
  --gen-tokens N      tokens that are generated and timed, 0 for none (default 64)
  --context N         tokens in the context before generation (default 0)
  --threads N         worker threads (default: all cores)
  --weights W         as-is, int4, int8, f32 (default as-is)
  --cache-type T      f32, f16 (default f32)
  --runs N            measurements of each case (default 5)
  --json              print { machine, results: [{ promptTokens, genTokens, context, threads,
                      promptTokensPerSecond: { min, median, max }, tokensPerSecond: { min, median, max },
                      loadMs, peakMemoryBytes }] }
  --help              print this

Numbers of tokens and threads may be lists: --threads 1,2`;

if (import.meta.main) Deno.exit(await main(Deno.args));

async function main([word, ...rest]: string[]): Promise<number> {
  if (word === "model") return await runCommand("bench", help, rest, MODEL_BENCH_FLAGS, benchModel);
  if (word === "--help" || word === "-h") {
    return await runCommand("bench", help, ["--help"], {}, () => Promise.resolve());
  }
  if (word !== undefined && !word.startsWith("-")) {
    const run = (): never => {
      throw new UsageError(`Cannot measure "${word}": expected model, or nothing for the ops`);
    };
    return await runCommand("bench", help, [], {}, run);
  }
  const ops = new URL("ops_bench.ts", import.meta.url).href;
  const args = ["bench", "-A", ...(word === undefined ? [] : [word, ...rest]), ops];
  return (await new Deno.Command(Deno.execPath(), { args }).spawn().status).code;
}
