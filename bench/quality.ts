/**
 * `deno task bench quality`: what quantizing costs models, by method and type, beside what
 * llama.cpp's quantizer makes of the same files.
 *
 * @module
 */

import { type Flags, UsageError, writeOut } from "../cli/command.ts";
import { quote } from "../escape.ts";
import { loadModel } from "../mod.ts";
import { ownTexts } from "../quantize/calibration.ts";
import {
  compareModels,
  type Comparison,
  METHODS,
  type QuantizeMethod,
  quantizeModel,
} from "../quantize/quantize_model.ts";
import { MIXTURE_NAMES } from "../quantize/mixtures.ts";
import { QUANTIZED_TYPES } from "../quant/quantize.ts";
import { type BenchCommand, checkModelPath } from "./command.ts";
import { LLAMA_TYPES, llamaQuantize } from "./peers/llama_quantize.ts";
import { Absent } from "./peers/peer.ts";
import { describeMachine, digits } from "./stats.ts";

const TYPES = ["Q4_0", "Q4_K", "Q4_K_M", "Q5_K_M", "Q8_0"];

const help = `Usage: deno task bench quality [options] MODEL.gguf…

Quantizes each model to each type by each method, and by llama.cpp, to nearest and with the importances
that the model's own texts gave, and prints size and Kullback–Leibler divergence from the model itself,
on other texts that it writes. All models run with the numbers that the files hold, in f32.

  --types LIST     types and mixtures (default ${TYPES.map((it) => it.toLowerCase()).join(",")})
  --methods LIST   of ${METHODS.join(", ")} (default: all)
  --tokens N       tokens to compare on (default 5000)
  --calibration N  tokens to calibrate on (default 4096)
  --backend B      reference, wasm (default reference, the definition; wasm is much faster)
  --packages DIR   a folder with node_modules/node-llama-cpp (default: that of "bench peers")
  --json           print { machine, results }
  -h, --help       print this`;

/** One file. */
export interface QualityResult {
  /** The model that it was made from. */
  readonly model: string;
  /** Who made it. */
  readonly program: "sparrow" | "llama.cpp";
  readonly type: string;
  readonly method: string;
  readonly bytes?: number;
  readonly comparison?: Comparison;
  readonly seconds?: number;
  /** Its divergence as a part of that of llama.cpp's file of the same type, to nearest. */
  readonly ratio?: number;
  /** Why there is none. */
  readonly absent?: string;
}

/** What is measured. */
export interface QualityOptions {
  readonly types: readonly string[];
  readonly methods: readonly QuantizeMethod[];
  readonly tokens: number;
  readonly calibration: number;
  readonly backend: "reference" | "wasm";
  readonly packages?: string | undefined;
}

/** The command. */
export const quality: BenchCommand = {
  help,
  takesFiles: true,
  flags: {
    boolean: ["json"],
    string: ["types", "methods", "packages"],
    whole: { tokens: [2, 1 << 24], calibration: [1, 1 << 24] },
    choice: { backend: ["reference", "wasm"] },
  },
  async run(flags) {
    const types = wordsOf(flags, "types", [...QUANTIZED_TYPES, ...MIXTURE_NAMES], TYPES);
    const methods = wordsOf(flags, "methods", METHODS, METHODS);
    if (flags.rest.length === 0) {
      throw new UsageError(
        'Cannot measure no model; "deno task bench quality --help" says more',
      );
    }
    flags.rest.forEach(checkModelPath);
    const results: QualityResult[] = [];
    for (const model of flags.rest) {
      const options: QualityOptions = {
        ...{ types, methods: methods as QuantizeMethod[] },
        tokens: flags.number("tokens") ?? 5000,
        calibration: flags.number("calibration") ?? 4096,
        backend: (flags.text("backend") ?? "reference") as "reference",
        packages: flags.text("packages"),
      };
      for await (const row of measureQuality(model, options)) {
        results.push(row);
        if (!flags.on("json")) writeOut(`${describeRow(row)}\n`);
      }
    }
    if (flags.on("json")) writeOut(`${JSON.stringify({ machine: describeMachine(), results })}\n`);
  },
};

/** Words between commas, of those that there are. */
function wordsOf(
  flags: Flags,
  flag: string,
  known: readonly string[],
  usual: readonly string[],
): readonly string[] {
  return flags.text(flag)?.split(",").map((word) => {
    const found = known.find((it) => it.toLowerCase() === word.toLowerCase());
    if (found !== undefined) return found;
    throw new UsageError(
      `Cannot read --${flag}: ${quote(word)} is none of ${known.join(", ").toLowerCase()}`,
    );
  }) ?? usual;
}

/** Makes all files of one model, one after another, and compares each with it. */
export async function* measureQuality(
  model: string,
  { types, methods, tokens, calibration, backend, packages }: QualityOptions,
): AsyncIterable<QualityResult> {
  const folder = await Deno.makeTempDir({ prefix: "sparrow-quality-" });
  const [made, imatrix] = [`${folder}/made.gguf`, `${folder}/imatrix.gguf`];
  const load = { contextLength: 256, weights: "f32", onWarning: () => {} } as const;
  try {
    await using base = await loadModel(model, { ...load, backend });
    const texts = await writeTexts();
    const rowOf = async (
      about: Pick<QualityResult, "program" | "type" | "method">,
      make: () => Promise<unknown>,
      over?: Comparison,
    ): Promise<QualityResult> => {
      const begun = performance.now();
      try {
        await make();
      } catch (error) {
        if (!(error instanceof Absent)) throw error;
        return { model, ...about, absent: error.message };
      }
      const seconds = digits((performance.now() - begun) / 1000, 3);
      await using quantized = await loadModel(made, { ...load, backend });
      const comparison = await compareModels(base, quantized, texts);
      return {
        ...{ model, ...about, seconds, comparison, bytes: (await Deno.stat(made)).size },
        ...(over && { ratio: digits(comparison.kl.mean / over.kl.mean, 3) }),
      };
    };
    const ours = { tokens: calibration, verify: false, force: true } as const;
    await quantizeModel(model, made, { ...ours, method: "importance", saveImatrix: imatrix });
    for (const type of types) {
      let nearest: QualityResult | undefined;
      if (Object.hasOwn(LLAMA_TYPES, type)) {
        const work = { source: model, destination: made, type, packages };
        const about = { program: "llama.cpp", type } as const;
        yield nearest = await rowOf({ ...about, method: "nearest" }, () => llamaQuantize(work));
        yield await rowOf(
          { ...about, method: "importance" },
          () => llamaQuantize({ ...work, imatrix }),
          nearest.comparison,
        );
      }
      for (const method of methods) {
        const about = { program: "sparrow", type, method } as const;
        const make = () => quantizeModel(model, made, { ...ours, type, method });
        yield await rowOf(about, make, nearest?.comparison);
      }
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }

  /** Texts of the model itself, which nobody is calibrated on. */
  async function writeTexts(): Promise<number[][]> {
    await using writer = await loadModel(model, { ...load, backend: "wasm" });
    const textTokens = Math.min(250, writer.contextLength);
    return await ownTexts(writer, { tokens, textTokens, seed: 0x7e57, onProgress: () => {} });
  }
}

/** A row for people. */
export function describeRow(row: QualityResult): string {
  const { program, type, method, bytes, comparison, seconds, ratio, absent } = row;
  const who = `${program.padEnd(9)}  ${type.padEnd(6)}  ${method.padEnd(10)}`;
  if (!comparison) return `${who}  ${absent}`;
  const { kl, sameTop } = comparison;
  return `${who}  ${String(bytes).padStart(11)} bytes  KL ${kl.mean.toExponential(2)} (99 % ${
    kl.p99.toExponential(1)
  })  same best ${(100 * sameTop).toFixed(1)} %${
    ratio === undefined ? "" : `  × ${ratio}`
  }  ${seconds} s`;
}
