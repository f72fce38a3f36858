/**
 * Flags that every command with a model takes, and loading the model that they name.
 *
 * @module
 */

import { InputError, loadModel, type LoadOptions, type Model, sampler } from "../mod.ts";
import { quote } from "../escape.ts";
import type { GenerateOptions } from "../runtime/generate.ts";
import { type Flags, type FlagSpec, given } from "./command.ts";
import { GPU_KERNELS_HELP, gpuOptions } from "./gpu_flags.ts";
import { hubOptionsFromEnv } from "./hub_env.ts";
import { type ProgressLine, progressLine } from "./progress.ts";

/** Flags of `openModel`. */
export const MODEL_FLAGS = {
  boolean: ["offline"],
  string: ["model", "backend", "gpu-kernels", "weights", "cache-type"],
  number: ["threads", "context", "gpu-layers"],
} satisfies FlagSpec;

/** Help text of `MODEL_FLAGS`. */
export const MODEL_HELP = `Model:
  --model M           GGUF file, safetensors directory, URL, or hf:ORG/REPO[@REVISION][:FILE-or-QUANT-TAG]
                      (default: the model that comes with Sparrow)
  --backend B         auto, wasm, webgpu, reference; auto is webgpu where there is a GPU, and goes
                      on with wasm when it fails (default auto)
  --gpu-layers N      run the first N layers on the GPU and the rest with wasm (default: all on one)
${GPU_KERNELS_HELP}
  --threads N         worker threads (default: all cores)
  --context N         most tokens of prompt and answer (default: the model's own, at most 4096)
  --weights W         as-is, int4, int8, f32: how matrices are stored (default as-is)
  --cache-type T      f32, f16, int8: how keys and values are stored (default f32)
  --offline           use downloaded models only`;

/** Flags of `samplingOptions`. */
export const SAMPLING_FLAGS = {
  boolean: ["slide", "ignore-eos"],
  collect: ["stop"],
  number: [
    "max-tokens",
    "temperature",
    "top-k",
    "top-p",
    "min-p",
    "repeat-penalty",
    "seed",
  ],
} satisfies FlagSpec;

/** Help text of `SAMPLING_FLAGS`. */
export const SAMPLING_HELP = `Generation:
  --max-tokens N      most tokens to generate (default: until a stop token or the end of the context)
  --temperature T     0 takes the most likely token, higher is bolder (default 0.8)
  --top-k K           choose among the K most likely tokens, 0 for all (default 40)
  --top-p P           choose among the fewest tokens whose probabilities reach P (default 0.95)
  --min-p P           choose among tokens at least P times as likely as the best (default 0)
  --repeat-penalty R  make the last 64 tokens less likely (default 1: off)
  --seed S            whole number that makes the text repeatable
  --stop TEXT         end before this text; may be given again
  --ignore-eos        go on after stop tokens
  --slide             when the context is full, forget the middle and go on, instead of stopping`;

/** Loads the model that the flags name, with a progress line on a terminal. */
export async function openModel(flags: Flags, signal?: AbortSignal): Promise<Model> {
  const options = given({
    backend: flags.text("backend") as LoadOptions["backend"],
    weights: flags.text("weights") as LoadOptions["weights"],
    cacheType: flags.text("cache-type") as LoadOptions["cacheType"],
    threads: flags.number("threads"),
    contextLength: flags.number("context"),
    gpuLayers: flags.number("gpu-layers"),
    webgpu: gpuOptions(flags),
    signal,
  });
  hushDisplay();
  using line = progressLine();
  const source = await locateModel(flags, line);
  return await loadModel(source, {
    ...options as LoadOptions,
    onWarning: line.note,
    onProgress: ({ loaded, total }) =>
      line.update({ phase: "download", file: String(source ?? "default model"), loaded, total }),
  });
}

/** Looking for a GPU, libraries complain on stderr where a Linux without a display lacks a folder. */
function hushDisplay(): void {
  const variable = "XDG_RUNTIME_DIR";
  const { state } = Deno.permissions.querySync({ name: "env", variable });
  if (Deno.build.os !== "linux" || state !== "granted") return;
  if (!Deno.env.has(variable)) Deno.env.set(variable, "/tmp");
}

/** Path or URL of the model that the flags name; hub models and GGUF URLs are downloaded first. */
export async function locateModel(
  flags: Flags,
  line: ProgressLine,
): Promise<string | undefined> {
  const spec = flags.text("model");
  if (spec === undefined || !/^(hf:|https?:[^?#]*\.gguf([?#]|$))/i.test(spec)) return spec;
  const { resolveModel } = await import("../runtime/hub/resolve.ts");
  const environment = hubOptionsFromEnv();
  return await resolveModel(spec, {
    ...environment,
    offline: environment.offline || flags.on("offline"),
    onProgress: line.update,
    onWarning: line.note,
  });
}

/** Options of generation that the flags name. */
export function samplingOptions(flags: Flags): GenerateOptions {
  const options: GenerateOptions = given({
    maxTokens: flags.number("max-tokens"),
    temperature: flags.number("temperature"),
    topK: flags.number("top-k"),
    topP: flags.number("top-p"),
    minP: flags.number("min-p"),
    repeatPenalty: flags.number("repeat-penalty"),
    seed: flags.number("seed"),
    stop: flags.texts("stop"),
    stopIds: flags.on("ignore-eos") ? [] : undefined,
    overflow: flags.on("slide") ? "slide" as const : undefined,
  });
  sampler(options); // refuses what is out of range before a model is loaded
  return options;
}

/**
 * Token ids written as numbers between commas or blanks.
 *
 * @throws InputError when one is not a whole number
 */
export function parseIds(text: string): number[] {
  return text.split(/[\s,]+/).filter((part) => part !== "").map((part) => {
    if (/^\d{1,15}$/.test(part)) return Number(part);
    throw new InputError(
      `Cannot read token id ${quote(part)}: expected whole numbers, as in 1,2,3`,
    );
  });
}
