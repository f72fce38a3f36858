/**
 * `deno task bench`: everything that is timed, one file for each word.
 *
 * @module
 */

import { commandName, runCommand, UsageError } from "../cli/command.ts";
import { didYouMean } from "../cli/suggest.ts";
import { quote } from "../escape.ts";
import type { BenchCommand } from "./command.ts";

const COMMANDS: Readonly<Record<string, () => Promise<BenchCommand>>> = {
  kernels: async () => (await import("./kernels.ts")).kernels,
  model: async () => (await import("./model.ts")).model,
  experts: async () => (await import("./experts.ts")).experts,
  prefix: async () => (await import("./prefix.ts")).prefix,
  peers: async () => (await import("./peers.ts")).peers,
  embed: async () => (await import("./embed.ts")).embed,
  quality: async () => (await import("./quality.ts")).quality,
  compare: async () => (await import("./compare.ts")).compare,
  quantize: async () => (await import("./quantize.ts")).quantize,
  gpu: async () => (await import("./gpu.ts")).gpu,
};

const help = `Usage: deno task bench [kernels] [options]
       deno task bench model --model M [options]
       deno task bench experts [options]
       deno task bench prefix --model M [options]
       deno task bench peers [options]
       deno task bench embed [options]
       deno task bench quality [options] MODEL.gguf…
       deno task bench compare [options]
       deno task bench quantize --model M [options]
       deno task bench gpu [options]

  kernels    every op at shapes of models, against the machine's own limits
  model      prompt and generation speed of a model
  experts    what more experts cost a token that gets one of them
  prefix     how soon a session answers that shares another one's prefix
  peers      the same work done by other programs, in turn with Sparrow
  embed      vectors of many short texts by an encoder, beside ONNX Runtime
  quality    what 4 bits cost models, by method and type, beside llama.cpp's quantizer
  compare    what moved since the last accepted measurement; exit code 1 when something got worse
  quantize   how fast weights are made smaller, beside reading them, and the memory it takes
  gpu        WebGPU on this machine: parity, kernels, models; needs no network

Each has --help and --json. bench/README.md says how measurements are kept.`;

if (import.meta.main) Deno.exit(await main(Deno.args));

async function main(args: readonly string[]): Promise<number> {
  const [first, ...rest] = args;
  if (first === "--help" || first === "-h") {
    return await runCommand("bench", help, ["--help"], {}, () => Promise.resolve());
  }
  const isWord = first !== undefined && !first.startsWith("-");
  const word = isWord ? first : "kernels";
  if (!Object.hasOwn(COMMANDS, word)) {
    const run = (): never => {
      const known = Object.keys(COMMANDS).join(", ");
      throw new UsageError(
        `Cannot measure ${quote(word)}: expected ${known}, or nothing for kernels` +
          didYouMean(word, Object.keys(COMMANDS)),
      );
    };
    return await runCommand("bench", help, [], {}, run);
  }
  const command = await COMMANDS[word]!();
  return await runCommand("bench", command.help, isWord ? rest : args, command.flags, (flags) => {
    if (command.takesFiles || flags.rest.length === 0) return command.run(flags);
    throw new UsageError(
      `Cannot measure ${quote(flags.rest[0])}: expected options only; ` +
        `"${commandName(`bench ${word}`)} --help" shows them`,
    );
  });
}
