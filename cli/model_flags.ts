/**
 * Flags that every command with a model takes, and loading the model that they name.
 *
 * @module
 */

import {
  InputError,
  loadModel,
  type LoadOptions,
  type Model,
  ModelError,
  type OpenedModel,
} from "../mod.ts";
import { quote } from "../escape.ts";
import { CACHE_TYPES } from "../kernels/op.ts";
import { checkOptions, type GenerateOptions } from "../runtime/generation/generate_options.ts";
import { LOOKUP_TABLES } from "../runtime/engine/lookup_tables.ts";
import { DEFAULT_MODEL } from "../runtime/load.ts";
import { WEIGHTS_OPTIONS } from "../runtime/models/weights.ts";
import { type Flags, type FlagSpec, given, UsageError, writeNote } from "./command.ts";
import { loadingNotes, runningNotes } from "./effects.ts";
import { GPU_KERNELS_HELP, gpuOptions } from "./gpu_flags.ts";
import { hubOptionsFromEnv } from "./hub_env.ts";
import { withFlags } from "./option_names.ts";
import { giveUpNetwork } from "./permissions.ts";
import { type ProgressLine, progressLine } from "./progress.ts";

/** Flags of `openModel`. */
export const MODEL_FLAGS = {
  boolean: ["offline", "reproducible"],
  string: ["model", "gpu-kernels"],
  number: ["threads", "context", "gpu-layers"],
  choice: {
    "backend": ["auto", "wasm", "webgpu", "reference"],
    "weights": WEIGHTS_OPTIONS,
    "word-tables": WEIGHTS_OPTIONS,
    "lookup-tables": LOOKUP_TABLES,
    "cache-type": CACHE_TYPES,
  },
} satisfies FlagSpec;

/** Help text of `MODEL_FLAGS`. */
export const MODEL_HELP = `Model:
  -m, --model M       GGUF file, safetensors or torch directory, URL, or hf:ORG/REPO[@REVISION][:FILE-or-QUANT-TAG]
                      (default: the model that comes with Sparrow)
  --backend B         auto, wasm, webgpu, reference; auto is webgpu where there is a GPU, and goes
                      on with wasm when it fails (default auto)
  --gpu-layers N      run the first N layers on the GPU and the rest with wasm (default: all on one)
${GPU_KERNELS_HELP}
  -t, --threads N     worker threads (default: all cores)
  -c, --context N     most tokens of prompt and answer (default: the model's own, at most 4096)
  --weights W         as-is, int4, int4m, int8, f32: how matrices are stored (default as-is)
  --word-tables W     the same for the embedding table and the head alone (default: the head as
                      --weights says, a table that is only looked up as it is in the file)
  --lookup-tables W   memory, file: where a table of words is that is only looked up: its rows can be read
                      from a local file as words come (default: file where it is large)
  --cache-type T      f32, f16, int8: how keys and values are stored (default f32)
  --reproducible      the same numbers to the bit on every processor, with any number of threads, at
                      a price in speed; runs with wasm
  --offline           use downloaded models only`;

/** Flags of `samplingOptions`. */
export const SAMPLING_FLAGS = {
  boolean: ["slide", "ignore-eos"],
  collect: ["stop", "logit-bias"],
  number: [
    "max-tokens",
    "temperature",
    "top-k",
    "top-p",
    "min-p",
    "repeat-penalty",
    "presence-penalty",
    "frequency-penalty",
    "seed",
  ],
} satisfies FlagSpec;

/** Most tokens of an answer where nothing else is said. */
export const MOST_TOKENS = { generate: 512, chat: 2048 } as const;

/** Help text of `SAMPLING_FLAGS`. */
export function samplingHelp(mostTokens: number): string {
  return `Generation:
  -n, --max-tokens N  most tokens to generate, -1 for no limit but the context's (default ${mostTokens})
  --temperature T     0 takes the most likely token, higher is bolder (default 0.8)
  --top-k K           choose among the K most likely tokens, 0 for all (default 40)
  --top-p P           choose among the fewest tokens whose probabilities reach P (default 0.95)
  --min-p P           choose among tokens at least P times as likely as the best (default 0)
  --repeat-penalty R  make the last 64 tokens less likely (default 1: off)
  --presence-penalty P  subtract P from the logits of tokens that have been generated (default 0)
  --frequency-penalty P  subtract P for each time that a token has been generated (default 0)
  --logit-bias ID=B   add B to the logit of token ID, -inf rules it out; may be given again
  -s, --seed S        whole number that makes the text repeatable; on other processors too with
                      --reproducible
  --stop TEXT         end before this text; may be given again
  --ignore-eos        go on after stop tokens
  --slide             when the context is full, forget the middle and go on, instead of stopping`;
}

/** What a command wants of loading beside the flags. */
export interface OpenModelOptions {
  /** The command, for notes. */
  readonly command: string;
  /** Ends loading. */
  readonly signal?: AbortSignal;
  /** Sequences whose caches are kept at the same time; 1 where absent. */
  readonly sequences?: number;
  /** Refuses what the model cannot do, before its weights are there. */
  readonly check?: (opened: OpenedModel) => void | Promise<void>;
}

/** Loads the model that the flags name, with a progress line on a terminal. */
export async function openModel(
  flags: Flags,
  { command, signal, sequences, check }: OpenModelOptions,
): Promise<Model> {
  const options = given({
    backend: flags.text("backend") as LoadOptions["backend"],
    weights: flags.text("weights") as LoadOptions["weights"],
    wordTables: flags.text("word-tables") as LoadOptions["wordTables"],
    lookupTables: flags.text("lookup-tables") as LoadOptions["lookupTables"],
    cacheType: flags.text("cache-type") as LoadOptions["cacheType"],
    threads: flags.number("threads"),
    contextLength: flags.number("context"),
    sequences,
    gpuLayers: flags.number("gpu-layers"),
    webgpu: gpuOptions(flags),
    reproducible: flags.on("reproducible") || undefined,
    onOpened: check,
    signal,
  });
  const loading = loadingNotes(flags);
  for (const note of loading) writeNote(`${command}: ${note}`);
  using line = progressLine();
  const source = await locateModel(flags, line);
  const model = await loadModel(source, {
    ...options as LoadOptions,
    ...hubFlags(flags),
    onWarning: (message) => line.note(`${command}: ${withFlags(message)}`),
    onProgress: ({ phase, file = String(source ?? "default model"), loaded, total }) =>
      line.update({ phase: phase === "weights" ? "download" : phase, file, loaded, total }),
  });
  for (const note of runningNotes(flags, model)) {
    if (!loading.includes(note)) line.note(`${command}: ${note}`);
  }
  return model;
}

/** What the flags say of hubs; the environment says the rest. */
export function hubFlags(flags: Flags): Pick<LoadOptions, "hub"> {
  return flags.on("offline") ? { hub: { offline: true } } : {};
}

/**
 * What loading the model that the flags name begins with: its path, URL or name on a hub. What lies
 * behind a GGUF URL is downloaded first, to be kept. Where the model is a local file, the program gives
 * up the network.
 */
export async function locateModel(
  flags: Flags,
  line: ProgressLine,
): Promise<string | undefined> {
  const spec = flags.text("model");
  const isRemote = /^(hf:|https?:)/i.test(spec ?? DEFAULT_MODEL.href);
  if (!isRemote) giveUpNetwork();
  if (spec === undefined) return spec;
  if (!/^https?:[^?#]*\.gguf([?#]|$)/i.test(spec)) {
    if (flags.on("offline") && /^https?:/i.test(spec)) {
      throw new UsageError(
        `Cannot load ${
          quote(spec)
        } with --offline: only GGUF files and hf: models are kept after ` +
          `a download; leave --offline away`,
      );
    }
    return spec;
  }
  const { resolveModel } = await import("../runtime/hub/resolve.ts");
  const environment = hubOptionsFromEnv();
  return await resolveModel(spec, {
    ...environment,
    offline: environment.offline || flags.on("offline"),
    onProgress: line.update,
    onWarning: line.note,
  });
}

/**
 * Options of generation that the flags name.
 *
 * @throws UsageError or InputError when one is out of range, before a model is loaded
 */
export function samplingOptions(flags: Flags, mostTokens: number): GenerateOptions {
  const limit = flags.number("max-tokens") ?? mostTokens;
  if (!Number.isInteger(limit) || limit < -1) {
    throw new UsageError(
      `Cannot generate with --max-tokens ${limit}: expected a whole number from 0, or -1 for no limit`,
    );
  }
  const options: GenerateOptions = given({
    maxTokens: limit === -1 ? Infinity : limit,
    temperature: flags.number("temperature"),
    topK: flags.number("top-k"),
    topP: flags.number("top-p"),
    minP: flags.number("min-p"),
    repeatPenalty: flags.number("repeat-penalty"),
    presencePenalty: flags.number("presence-penalty"),
    frequencyPenalty: flags.number("frequency-penalty"),
    logitBias: biases(flags.texts("logit-bias")),
    seed: flags.number("seed"),
    stop: flags.texts("stop"),
    stopIds: flags.on("ignore-eos") ? [] : undefined,
    overflow: flags.on("slide") ? "slide" as const : undefined,
  });
  checkOptions(options);
  return options;
}

/**
 * Biases written as `ID=BIAS`.
 *
 * @throws UsageError when one is not
 */
function biases(given: readonly string[] | undefined): Record<number, number> | undefined {
  return given && Object.fromEntries(given.map((text) => {
    const [, id, bias] = /^(\d{1,10})=([+-]?(?:\d+(?:\.\d*)?|\.\d+)|-inf(?:inity)?)$/i.exec(text) ??
      [];
    if (bias !== undefined) return [id, /inf/i.test(bias) ? -Infinity : Number(bias)];
    throw new UsageError(
      `Cannot generate with --logit-bias ${
        quote(text)
      }: expected a token id and a number, as in 42=-1.5 or 42=-inf`,
    );
  }));
}

/**
 * Token ids written as numbers between commas or blanks.
 *
 * @throws InputError when one is not a whole number
 */
export function parseIds(text: string): number[] {
  if (text.trim() === "") return [];
  return text.trim().split(/\s*,\s*|\s+/).map((part) => {
    if (/^\d{1,15}$/.test(part)) return Number(part);
    throw new InputError(
      `Cannot read token id ${quote(part)}: expected whole numbers of up to 15 digits, as in 1,2,3`,
    );
  });
}

/** The tokenizer of a model that is asked to read text; `takesIds` of a command that has `--ids`. */
export function tokenizerOf(
  { name, tokenizer }: OpenedModel,
  takesIds = false,
): NonNullable<OpenedModel["tokenizer"]> {
  if (tokenizer) return tokenizer;
  const instead = takesIds ? "use token ids (--ids), or put" : "put";
  throw new ModelError(
    `Cannot read text with ${quote(name)}: it came without a tokenizer; ${instead} ` +
      `the tokenizer's files, as tokenizer.json or vocab.txt, beside its config.json`,
  );
}
