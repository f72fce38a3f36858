/**
 * `deno task bench quantize`: how fast a model's weights are made smaller, beside how fast its file is
 * read from the page cache, and the memory that it takes.
 *
 * @module
 */

import { type Flags, UsageError, writeOut } from "../cli/command.ts";
import { openModel } from "../runtime/load.ts";
import { QUANTIZED_TYPES } from "../quant/quantize.ts";
import { METHODS, type QuantizeMethod, quantizeModel } from "../quantize/quantize_model.ts";
import { type BenchCommand, checkModelPath } from "./command.ts";
import { describeMachine } from "./stats.ts";

/** What is measured. */
export interface QuantizeBench {
  readonly method: QuantizeMethod;
  readonly type: string;
  /** Tokens that were read. */
  readonly tokens: number;
  readonly seconds: number;
  /** Gigabytes of the source, by the second. */
  readonly rate: number;
  /** Gigabytes by the second at which the same file is read, and nothing else done. */
  readonly readRate: number;
  /** Greatest resident memory of the process so far, in bytes; undefined where the system does not say. */
  readonly peak: number | undefined;
}

/** Quantizes a model once into a file that is removed again. */
export async function measureQuantize(
  path: string,
  options: { method: QuantizeMethod; type: string; tokens: number; threads?: number | undefined },
): Promise<QuantizeBench> {
  const { method, type, tokens, threads } = options;
  const out = await Deno.makeTempFile({ suffix: ".gguf" });
  try {
    readAll(path); // into the page cache
    const bytes = Deno.statSync(path).size, readRate = bytes / 1e9 / readAll(path);
    const calibration = method === "nearest" ? {} : {
      tokens,
      calibration: await texts(path, tokens),
    };
    const begun = performance.now();
    const made = await quantizeModel(path, out, {
      ...{ method, type, force: true, verify: false, onWarning: () => {} },
      ...(threads !== undefined && { threads }),
      ...calibration,
    });
    const seconds = (performance.now() - begun) / 1000;
    return {
      ...{ method, type, tokens: made.tokens, seconds, rate: bytes / 1e9 / seconds, readRate },
      peak: peakBytes(),
    };
  } finally {
    await Deno.remove(out);
  }
}

/** Seconds to read a file. */
function readAll(path: string): number {
  using file = Deno.openSync(path);
  const piece = new Uint8Array(1 << 20), begun = performance.now();
  while (file.readSync(piece) !== null);
  return (performance.now() - begun) / 1000;
}

/** Token ids at random: what is read changes no times. */
async function texts(path: string, tokens: number): Promise<number[][]> {
  const TEXT = 512, file = await openModel(path), { metadata } = file;
  file.close();
  const words = metadata["tokenizer.ggml.tokens"];
  const vocabulary = Array.isArray(words) ? words.length : 256;
  return Array.from(
    { length: Math.ceil(tokens / TEXT) },
    (_, text) =>
      Array.from(
        { length: Math.min(TEXT, tokens - TEXT * text) },
        (_, i) => (7919 * i * (text + 1) + 13 * i * i) % vocabulary,
      ),
  );
}

function peakBytes(): number | undefined {
  if (Deno.build.os !== "linux") return undefined;
  const found = /VmHWM:\s*(\d+) kB/.exec(Deno.readTextFileSync("/proc/self/status"));
  return found ? 1024 * Number(found[1]) : undefined;
}

const help = `Usage: deno task bench quantize --model M [options]

Makes the weights of the GGUF file M smaller, once, and removes the result: gigabytes of M by the second
beside what reading M from the page cache gives, and the peak of resident memory. "deno task synthetic"
writes a model of any size.

  -m, --model M     the model, a local file
  --method M        ${METHODS.join(", ")} (default nearest)
  --type T          ${QUANTIZED_TYPES.join(", ")} (default Q4_0)
  --tokens N        tokens to read (default 4096)
  -t, --threads N   worker threads (default: all cores)
  --json            print one JSON object
  -h, --help        print this`;

/** The command. */
export const quantize: BenchCommand = {
  help,
  flags: {
    ...{ boolean: ["json"], string: ["model"] },
    whole: { tokens: [1, 1 << 24], threads: [1, 1024] },
    choice: { method: METHODS, type: QUANTIZED_TYPES },
  },
  async run(flags: Flags) {
    const path = flags.text("model");
    if (path === undefined) {
      throw new UsageError("Cannot measure: expected --model M, a local file");
    }
    checkModelPath(path);
    const found = await measureQuantize(path, {
      method: (flags.text("method") ?? "nearest") as QuantizeMethod,
      type: flags.text("type") ?? "Q4_0",
      tokens: flags.number("tokens") ?? 4096,
      threads: flags.number("threads"),
    });
    if (flags.on("json")) {
      return writeOut(`${JSON.stringify({ machine: describeMachine(), result: found })}\n`);
    }
    const { method, type, tokens, seconds, rate, readRate, peak } = found;
    writeOut([
      `${method} to ${type}${tokens > 0 ? ` on ${tokens} tokens` : ""}: ${seconds.toFixed(1)} s`,
      `  ${rate.toFixed(2)} GB/s of the source; it is read at ${readRate.toFixed(2)} GB/s`,
      ...(peak === undefined ? [] : [`  ${(peak / 2 ** 30).toFixed(2)} GiB resident at most`]),
      "",
    ].join("\n"));
  },
};
