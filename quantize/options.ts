/**
 * How a model is quantized, and what comes of it.
 *
 * @module
 */

import { InputError } from "../errors.ts";
import { quote } from "../escape.ts";
import {
  CALLBACK,
  FLAG,
  isA,
  numberIn,
  oneOf,
  readOptions,
  type Rules,
  SIGNAL,
  TEXT,
  TEXTS,
  wholeNumberIn,
} from "../options.ts";
import { QUANTIZED_TYPES } from "../quant/quantize.ts";
import type { CalibrationOption } from "./calibration.ts";
import type { Comparison } from "./compare.ts";
import { MIXTURE_NAMES } from "./mixtures.ts";
import type { SourceFacts } from "./report/hashes.ts";
import type { TensorError } from "./report/tensor_errors.ts";
import type { TensorPlan, TensorWish } from "./types.ts";

/** Ways of rounding, the simplest first. */
export const METHODS = ["nearest", "importance", "awq", "gptq"] as const;

/** A way of rounding. */
export type QuantizeMethod = (typeof METHODS)[number];

/** How a model is quantized. */
export interface QuantizeOptions {
  /**
   * Type of the matrices, one of `QUANTIZED_TYPES`, or the name of a mixture of llama.cpp, such as
   * `"Q4_K_M"`: then each tensor's type is chosen so that the file is no larger than that mixture's.
   * With method `nearest`, which reads no texts, tensors get the mixture's own types. Default `"Q4_K_M"`.
   */
  readonly type?: string;
  /**
   * Most bits per weight, over all tensors, in place of a type: what rounding each tensor costs is
   * measured on texts, and bits are spent where they help.
   */
  readonly targetBpw?: number;
  /** Most bytes of the file, in place of a type, as `targetBpw`. */
  readonly targetSize?: number;
  /**
   * How numbers are rounded. `nearest`: each to its nearest code. `importance`: so that errors count as
   * much as what they are multiplied with. `awq`: that, with scales for large channels, folded into
   * the norms before. `gptq`: those scales too, and later columns make up for errors of earlier ones.
   * Default `gptq`; with types of floats, F32, F16 and BF16, `nearest`.
   */
  readonly method?: QuantizeMethod;
  /**
   * What the model reads to find out what its weights are multiplied with: `{ text }`, one or several,
   * texts as lists of token ids, or `"self"`, which lets the model write them. Default `"self"`.
   */
  readonly calibration?: CalibrationOption;
  /**
   * An importance file of llama.cpp (`imatrix` in GGUF form), in place of reading texts; `method` is
   * `importance` then.
   */
  readonly imatrix?: string | URL;
  /** Where to write such a file of what was read. */
  readonly saveImatrix?: string;
  /** Tokens to calibrate on. Default 4096. */
  readonly tokens?: number;
  /** Types of tensors whose names patterns find; the last that finds one counts. */
  readonly tensors?: readonly TensorWish[];
  /** Makes what the model writes repeatable. Default 1. */
  readonly seed?: number;
  /**
   * Whether the file is compared with its source, on texts that it was not calibrated on; the figures
   * go into its metadata. Texts as lists of token ids are compared on in place of the model's own.
   * Default: where it was calibrated.
   */
  readonly verify?: boolean | readonly (readonly number[])[];
  /** Worker threads of the runs; all cores where absent. */
  readonly threads?: number;
  /** Whether a file that is there already is replaced. Default false. */
  readonly force?: boolean;
  /**
   * Whether to go on with what an earlier call with the same options had left unfinished, and to leave
   * this one's unfinished file where it does not come to its end. Default false.
   */
  readonly resume?: boolean;
  /**
   * Told what the caller should know of, such as what of a folder has no place in GGUF, or was lost before.
   * Default `console.warn`, which writes to stderr.
   */
  readonly onWarning?: (message: string) => void;
  /** Told once what will be done and about what it takes, before any tensor is made. */
  readonly onEstimate?: (estimate: QuantizeEstimate) => void;
  /** Told how far it has come. */
  readonly onProgress?: (progress: QuantizeProgress) => void;
  /**
   * Ends it; without `resume` nothing is left behind. The promise rejects with the signal's reason.
   */
  readonly signal?: AbortSignal;
}

/** What a run is going to do, and about what it takes. */
export interface QuantizeEstimate {
  /** Tensors that get another type, of those that are not made yet. */
  readonly tensors: number;
  /** Bytes of all tensors of the file. */
  readonly bytes: number;
  /** Seconds, by the speed of this machine now; reading from a slow disk or a network comes on top. */
  readonly seconds: number;
  /** Bytes of memory that are resident at most. */
  readonly memory: number;
}

/** How far quantizing has come. */
export interface QuantizeProgress {
  /** What is being done. */
  readonly phase: "calibrate" | "measure" | "quantize" | "verify";
  /** What is worked on. */
  readonly name: string;
  /** Tokens, layers or tensors that are done. */
  readonly done: number;
  /** How many there are. */
  readonly total: number;
}

/** Experts of a tensor to which no text came. */
export interface Unreached {
  /** Name of the tensor. */
  readonly name: string;
  /** Their numbers in it. */
  readonly experts: readonly number[];
  /** How many there are in it. */
  readonly of: number;
}

/** What was made. */
export interface QuantizeResult {
  /** Bytes of the file. */
  readonly bytes: number;
  /** What became of each tensor, in the order of the file. */
  readonly tensors: readonly TensorPlan[];
  /** How it was rounded. */
  readonly method: QuantizeMethod;
  /** Tokens that it was calibrated on. */
  readonly tokens: number;
  /** Experts that no text came to: they were rounded by what all experts of their layer read. */
  readonly unreached: readonly Unreached[];
  /** Tensors that an importance file did not have: every number of theirs counted alike. */
  readonly uncovered: readonly string[];
  /** Bits per weight, over all tensors. */
  readonly bitsPerWeight: number;
  /** What it was made from, where it was calibrated or verified. */
  readonly source?: SourceFacts;
  /** How far its predictions are from the source's, where that was verified. */
  readonly comparison?: Comparison;
  /** Token ids of the texts that both were compared on, where that was verified. */
  readonly heldOut?: readonly (readonly number[])[];
  /** How far each rounded tensor is from the source's, the largest error first, where that was verified. */
  readonly errors?: readonly TensorError[];
}

const RULES: Rules<QuantizeOptions> = {
  type: oneOf([...QUANTIZED_TYPES, ...MIXTURE_NAMES]),
  targetBpw: numberIn(0.1, 64),
  targetSize: wholeNumberIn(1, Number.MAX_SAFE_INTEGER),
  method: oneOf(METHODS),
  calibration: {
    expected: '"self", { text } of one or several, or lists of token ids',
    accepts: (value) =>
      value === "self" || Array.isArray(value) ||
      [TEXT, TEXTS].some((it) => it.accepts((value as { text?: unknown } | null)?.text)),
  },
  imatrix: {
    expected: "a path or a URL",
    accepts: (value) => typeof value === "string" || isA(value, URL),
  },
  saveImatrix: TEXT,
  tokens: wholeNumberIn(1, 1 << 24),
  tensors: { expected: "a list of { pattern, type }", accepts: Array.isArray },
  seed: wholeNumberIn(0, 0xffffffff),
  threads: wholeNumberIn(1, 1024),
  verify: {
    expected: "true, false or lists of token ids",
    accepts: (value) => typeof value === "boolean" || Array.isArray(value) && value.length > 0,
  },
  force: FLAG,
  resume: FLAG,
  onWarning: CALLBACK,
  onEstimate: CALLBACK,
  onProgress: CALLBACK,
  signal: SIGNAL,
};

/**
 * The type where none is asked for. `bench quality` says why: in as many bytes as Q4_0, and in a
 * twentieth more all the more so, a mixture moves predictions a half to an eighth as far (bench/README.md).
 */
export const DEFAULT_TYPE = "Q4_K_M";

/** Tokens to calibrate on where nobody says how many. */
export const DEFAULT_TOKENS = 4096;

/** Types that need no calibration, as a converter writes them. */
export const FLOATS: readonly string[] = ["F32", "F16", "BF16"];

/** Options of which those that decide most are there. */
export type ChosenOptions = QuantizeOptions & Required<Pick<QuantizeOptions, "type" | "method">>;

/**
 * Checks options, and fills in what decides most.
 *
 * @throws InputError when one is unknown or wrong
 */
export function readQuantizeOptions(given: QuantizeOptions): ChosenOptions {
  const options = readOptions("quantize", given, RULES);
  for (const { pattern, type } of options.tensors ?? []) {
    if (pattern instanceof RegExp && QUANTIZED_TYPES.includes(type)) continue;
    throw new InputError(
      `Cannot quantize with tensors ${quote(pattern)} as ${
        quote(type)
      }: expected a RegExp and one of ` +
        QUANTIZED_TYPES.join(", "),
    );
  }
  const { imatrix, saveImatrix, type = "" } = options;
  const isFloat = FLOATS.includes(type) && options.calibration === undefined &&
    saveImatrix === undefined && !options.tensors?.length;
  const usual = imatrix !== undefined ? "importance" : isFloat ? "nearest" : "gptq";
  const method = options.method ?? usual;
  if (imatrix !== undefined && (method !== "importance" || saveImatrix !== undefined)) {
    throw new InputError(
      `Cannot quantize with an imatrix and ${
        method !== "importance" ? `method ${quote(method)}` : "saveImatrix"
      }: it only says how large inputs are; use method "importance"`,
    );
  }
  if (saveImatrix !== undefined && method === "nearest") {
    throw new InputError(
      'Cannot quantize with saveImatrix and method "nearest": no text is read; use method "importance"',
    );
  }
  const chosen = ["type", "targetBpw", "targetSize"].filter((it) => Object.hasOwn(options, it));
  if (chosen.length > 1) {
    throw new InputError(
      `Cannot quantize with ${
        chosen.join(" and ")
      }: each says which types tensors get; expected one ` +
        `of them`,
    );
  }
  const isMeasured = chosen.some((it) => it !== "type");
  if (
    options.calibration !== undefined && !isMeasured &&
    (method === "nearest" || imatrix !== undefined)
  ) {
    throw new InputError(
      `Cannot quantize with a calibration and ${
        imatrix === undefined ? 'method "nearest"' : "an imatrix"
      }: no text is read; leave one of them away`,
    );
  }
  return { ...options, type: options.type ?? (isMeasured ? "mixed" : DEFAULT_TYPE), method };
}
