/**
 * `deno task quantize`: a model with small weights, and what they cost.
 *
 * @module
 */

import { plain, quote, safeJson } from "../escape.ts";
import { QUANTIZED_TYPES } from "../quant/quantize.ts";
import { MIXTURE_NAMES } from "../quantize/mixtures.ts";
import { DEFAULT_TYPE } from "../quantize/options.ts";
import {
  type Comparison,
  METHODS,
  type QuantizeEstimate,
  type QuantizeMethod,
  quantizeModel,
  type QuantizeOptions,
  type QuantizeProgress,
  type QuantizeResult,
  type TensorPlan,
  type TensorWish,
} from "../quantize/quantize_model.ts";
import {
  commandName,
  type Flags,
  given,
  runCommand,
  UsageError,
  writeNote,
  writeOut,
} from "./command.ts";
import { quantizeNotes } from "./effects.ts";
import { counted, formatMs } from "./format.ts";
import { readCalibration } from "./calibration_file.ts";
import { interrupt } from "./interrupt.ts";
import { Interrupted } from "./errors.ts";
import { formatBytes } from "./progress.ts";
import { readTries, tryTypes } from "./report/tries.ts";
import { checkReport, writeReport } from "./report/write.ts";
import { stepLine } from "./step_line.ts";

const NAME = commandName("quantize");
const TYPES = QUANTIZED_TYPES.map((it) => it.toLowerCase());
const MIXTURES = MIXTURE_NAMES.map((it) => it.toLowerCase());

/** What `--help` prints. */
export const help: string = `Usage: ${NAME} [options] SOURCE OUT.gguf

Writes the model SOURCE with smaller weights to OUT.gguf. SOURCE is a GGUF file, or a folder of
safetensors or torch files (also hf:ORG/REPO), which becomes GGUF whole, with its tokenizer: bert,
distilbert, gpt2, llama, mistral, mixtral, qwen2, qwen3, their mixtures of experts, roberta. --type f16,
bf16 or f32 converts and does nothing else.

Otherwise the model reads texts that it writes itself, so that what its weights are multiplied with is
known; every layer is rounded on what comes out of the rounded ones before it. The result is compared
with the source on other texts; the figures are printed, and kept in the file. Before anything is made
it says about how long it will take, on a machine with nothing else to do, and how much memory.

  --type T            ${TYPES.slice(0, 6).join(", ")},
                      ${TYPES.slice(6).join(", ")}: type of the matrices;
                      tables of words and heads get at least q6_k, norms stay as they are; or a mixture,
                      ${MIXTURES.join(", ")} (default q4_k_m): of at most the size
                      of llama.cpp's, each tensor's type chosen by measuring (its own with method
                      nearest)
  --target-bpw B      in place of a type: at most B bits per weight over all tensors; what rounding
                      each tensor costs is measured, and bits are spent where they help most
  --target-size S     in place of a type: at most S bytes of file, as in 700000, 700k, 350M or 4.1G
  --method M          nearest: every number to its nearest code; importance: errors count as much as
                      what they are multiplied with; awq: that, with scales for large channels, folded
                      into the norms before; gptq: those scales, and later columns make up for earlier
                      ones (default gptq, which moved predictions least where "bench quality" was
                      run; with --type f16, bf16, f32: nearest)
  --tensor REGEX=T    type of the tensors whose names REGEX finds; may be given again, the last that
                      finds one counts
  --calibration FILE  what to read in place of the model's own texts: a text, lines of JSON as
                      {"text": "…"}, or lines of token ids between brackets
  --imatrix FILE      importance file of llama.cpp (GGUF form) in place of texts; method importance
  --save-imatrix FILE write such a file of what was read, without any rounding
  --tokens N          tokens to read (default 4096)
  -s, --seed S        whole number that makes the model's texts repeatable (default 1)
  --verify            compare with the source also where --method is nearest
  --no-verify         do not compare
  -t, --threads N     worker threads (default: all cores)
  --report FILE       write the figures and plots as a page (.html), or all of them as .json
  --try T,…           for the report: what other types would cost, to nearest, or as TYPE:METHOD
  --force             replace OUT.gguf if it is there
  --resume            go on with what a run with the same options left unfinished (OUT.gguf.part and its
                      journal), and keep that when this run ends early too
  --json              print one JSON object: { path, bytes, bitsPerWeight, method, tokens, tensors,
                      source, comparison, errors, seconds }
  -h, --help          print this

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted (nothing is left behind, unless --resume
was given, or OUT.gguf was whole already and --try went on).`;

/** Runs the command; the result is its exit code. */
export function run(args: string[]): Promise<number> {
  const spec = {
    boolean: ["verify", "no-verify", "force", "resume", "json"],
    string: ["calibration", "imatrix", "save-imatrix", "target-size", "report", "try"],
    number: ["target-bpw"],
    collect: ["tensor"],
    whole: { tokens: [2, 1 << 24], seed: [0, 0xffffffff], threads: [1, 1024] },
    choice: { type: [...TYPES, ...MIXTURES], method: METHODS },
  } as const;
  return runCommand("quantize", help, args, spec, quantize);
}

async function quantize(flags: Flags): Promise<void> {
  const [source, path, ...more] = flags.rest;
  if (source === undefined || path === undefined || more.length > 0) {
    throw new UsageError(
      `Cannot quantize: expected a source and the name of the file to write; "${NAME} --help" shows ` +
        `the options`,
    );
  }
  if (flags.on("verify") && flags.on("no-verify")) {
    throw new UsageError("Cannot quantize with --verify and --no-verify: expected one of them");
  }
  for (const note of quantizeNotes(flags)) writeNote(`quantize: ${note}`);
  const calibration = flags.text("calibration"), reportPath = flags.text("report");
  const tries = readTries(flags.text("try"));
  if (tries.length > 0 && (reportPath === undefined || flags.on("no-verify"))) {
    throw new UsageError("Cannot use --try: expected a --report that compares them, too");
  }
  if (reportPath !== undefined) {
    const others = [path, flags.text("save-imatrix")];
    await checkReport(reportPath, others.filter((it) => it !== undefined), flags.on("force"));
  }
  using stopped = interrupt(
    flags.on("resume")
      ? "Interrupted: --resume goes on from here"
      : "Interrupted: nothing was written",
  );
  using line = stepLine();
  const begun = performance.now();
  const options: QuantizeOptions = {
    ...given({
      method: flags.text("method") as QuantizeMethod | undefined,
      type: flags.text("type")?.toUpperCase(),
      targetBpw: flags.number("target-bpw"),
      targetSize: readSize(flags.text("target-size")),
      imatrix: flags.text("imatrix"),
      saveImatrix: flags.text("save-imatrix"),
      tokens: flags.number("tokens"),
      seed: flags.number("seed"),
      threads: flags.number("threads"),
      force: flags.on("force") || undefined,
      resume: flags.on("resume") || undefined,
      verify: flags.on("verify") || (flags.on("no-verify") ? false : undefined),
      calibration: calibration === undefined ? undefined : await readCalibration(calibration),
    }),
    tensors: flags.texts("tensor").map(readWish),
    signal: stopped.signal,
    onWarning: (text) => {
      line[Symbol.dispose]();
      writeNote(`quantize: ${text}`);
    },
    onEstimate: (estimate) => {
      if (flags.on("json")) return;
      line[Symbol.dispose]();
      writeNote(`quantize: ${describeEstimate(estimate)}`);
    },
    onProgress: (progress) => {
      if (progress.phase === "measure" && !isMeasuring) {
        isMeasuring = true;
        if (!flags.on("json")) writeNote(`quantize: ${MEASURING}`);
      }
      line.update(stepOf(progress));
    },
  };
  let isMeasuring = false;
  // A report without figures would be none.
  const verified = reportPath !== undefined && !flags.on("no-verify") ? { verify: true } : {};
  const { heldOut, ...result } = await quantizeModel(source, path, { ...options, ...verified });
  const seconds = Math.round(performance.now() - begun) / 1000;
  if (reportPath !== undefined) {
    const tried = await tryTypes(source, path, tries, heldOut ?? [], options).catch((error) => {
      if (!stopped.signal.aborted) throw error;
      throw new Interrupted(`Interrupted: ${quote(path)} is whole, its report was not written`);
    });
    const hasTarget = options.targetBpw !== undefined || options.targetSize !== undefined;
    const type = options.type ?? (hasTarget ? "mixed" : DEFAULT_TYPE), told = toldOptions(flags);
    await writeReport(reportPath, { path, type, ...result, options: told, seconds, tried });
  }
  line[Symbol.dispose]();
  writeOut(
    flags.on("json")
      ? `${safeJson({ path, ...result, seconds })}\n`
      : report(path, result, seconds),
  );
}

/** What is said where types are measured first, which no run can tell the time of. */
const MEASURING =
  "what rounding costs is measured for each tensor first, which takes as long as it " +
  "takes; then follows how long the rest will take";

/** What will be done, and about what it takes. */
export function describeEstimate(estimate: QuantizeEstimate): string {
  const { tensors, bytes, seconds, memory } = estimate;
  return `${counted(tensors, "tensor")} to round for a file of ${formatBytes(bytes)}: about ${
    aboutTime(seconds)
  }, about ${formatBytes(Number(memory.toPrecision(2)))} of memory`;
}

/** A time of which no more than its size is known. */
function aboutTime(seconds: number): string {
  if (seconds < 99.5) return counted(Math.max(1, Math.round(seconds)), "second");
  if (seconds < 5970) return counted(Math.round(seconds / 60), "minute");
  return counted(Number((seconds / 3600).toPrecision(2)), "hour");
}

/** What was asked for, for a report. */
function toldOptions(flags: Flags): Record<string, unknown> {
  const names = [
    ...["type", "target-bpw", "target-size", "method", "calibration", "imatrix"],
    ...["tokens", "seed", "threads"],
  ];
  const values = names.map((name) => [name, flags.text(name) ?? flags.number(name)]);
  const wishes = flags.texts("tensor");
  return Object.fromEntries([
    ...values.filter(([, value]) => value !== undefined),
    ...(wishes.length > 0 ? [["tensor", wishes]] : []),
  ]);
}

/** `REGEX=TYPE` of `--tensor`. */
function readWish(text: string): TensorWish {
  const at = text.lastIndexOf("="), type = text.slice(at + 1).toUpperCase();
  if (at < 1 || !QUANTIZED_TYPES.includes(type)) {
    throw new UsageError(
      `Cannot read --tensor ${quote(text)}: expected REGEX=TYPE, with one of ${TYPES.join(", ")}`,
    );
  }
  try {
    return { pattern: new RegExp(text.slice(0, at)), type };
  } catch {
    throw new UsageError(
      `Cannot read --tensor ${quote(text)}: ${quote(text.slice(0, at))} is no regular expression`,
    );
  }
}

/** Bytes of `--target-size`, with the decimal units that sizes are printed in. */
function readSize(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const [, number, unit = ""] = /^(\d+(?:\.\d+)?) ?([kKMGT]?)B?$/.exec(text) ?? [];
  const bytes = Math.floor(Number(number) * 1000 ** " kMGT".indexOf(unit.replace("K", "k") || " "));
  if (number !== undefined && bytes >= 1 && Number.isSafeInteger(bytes)) return bytes;
  throw new UsageError(
    `Cannot read --target-size ${quote(text)}: expected bytes, as in 700000, 700k, 350M or 4.1G`,
  );
}

function stepOf({ phase, name, done, total }: QuantizeProgress) {
  const what = {
    ...{ calibrate: "writing texts", measure: `measuring ${plain(name)}` },
    ...{ quantize: plain(name), verify: "comparing" },
  }[phase];
  return { what, done, total };
}

/** What was made, for people. */
function report(path: string, result: QuantizeResult, seconds: number): string {
  const { bytes, bitsPerWeight, method, tokens, tensors, comparison } = result;
  const types = Map.groupBy(
    tensors,
    ({ from, type, why }) =>
      `${from === type ? `${type} as it was` : `${from} → ${type}`}${why ? ` (${why})` : ""}`,
  );
  const rows = Array.from(
    types,
    ([what, list]) =>
      `  ${counted(list.length, "tensor").padStart(12)}  ${plain(what)}${
        list.length <= 2 ? `: ${list.map(({ name }) => plain(name)).join(", ")}` : ""
      }`,
  );
  const lost = tensors.filter(wasQuantized);
  return [
    `${plain(path)}: ${formatBytes(bytes)}, ${bitsPerWeight.toFixed(2)} bits per weight, ` +
    `${method}${tokens > 0 ? ` on ${counted(tokens, "token")}` : ""}, ${formatMs(1000 * seconds)}`,
    ...rows,
    ...costsOf(tensors),
    ...(lost.length > 0
      ? [
        `  ${counted(lost.length, "tensor")} had been rounded before (${
          Array.from(new Set(lost.map(({ from }) => from))).join(", ")
        }): what that lost is not in these figures`,
      ]
      : []),
    ...result.unreached.map(({ name, experts, of }) =>
      `  ${plain(name)}: no text came to ${
        of === 1 ? "this expert" : `${experts.length} of ${of} experts (${experts.join(", ")})`
      }; rounded by what the others read`
    ),
    ...(result.uncovered.length > 0
      ? [
        `  ${
          counted(result.uncovered.length, "tensor")
        } the importance file does not have (each number ` +
        `counted alike): ${result.uncovered.map((it) => plain(it)).join(", ")}`,
      ]
      : []),
    ...(comparison ? figures(comparison) : []),
    ...largest(result),
    "",
  ].join("\n");
}

/** The tensors that are furthest from what they were. */
function largest({ errors = [] }: QuantizeResult): string[] {
  if (errors.length === 0) return [];
  const shown = errors.slice(0, 5).map(({ name, type, error }) =>
    `${plain(name)} (${type}) ${(100 * error).toFixed(2)} %`
  );
  return [`  largest errors  ${shown.join(", ")}`];
}

/** Where bits were spent, for tensors of each kind, and what each kind costs then. */
function costsOf(tensors: readonly TensorPlan[]): string[] {
  const measured = tensors.filter(({ cost }) => cost !== undefined);
  if (measured.length === 0) return [];
  const kinds = Map.groupBy(measured, ({ name }) => name.replace(/\b\d+\b/, "*"));
  const wide = Math.max(...kinds.keys().map((it) => plain(it).length));
  const sum = (list: readonly TensorPlan[]): number => list.reduce((s, it) => s + it.cost!, 0);
  return [
    `  types by what rounding each tensor alone was measured to cost, in nats a token:`,
    ...Array.from(kinds, ([kind, list]) => {
      const types = Array.from(
        Map.groupBy(list, ({ type }) => type),
        ([type, { length }]) => length > 1 || list.length > 1 ? `${length} × ${type}` : type,
      );
      return `    ${plain(kind).padEnd(wide)}  ${sum(list).toExponential(1)}  ${types.join(", ")}`;
    }),
    `    ${"all".padEnd(wide)}  ${sum(measured).toExponential(1)}`,
  ];
}

/** Whether a tensor was quantized already in the source, and is again. */
function wasQuantized({ from, type }: TensorPlan): boolean {
  return from !== type && !["F32", "F16", "BF16", "F64"].includes(from);
}

/** Figures of a comparison, for people. */
export function figures({ kl, sameTop, perplexity: [base, model], tokens }: Comparison): string[] {
  const digits = (value: number): string => value.toPrecision(3);
  return [
    `compared on ${counted(tokens, "token")}:`,
    `  KL divergence   mean ${digits(kl.mean)}, median ${digits(kl.median)}, 99 % ${
      digits(kl.p99)
    }, ` +
    `99.9 % ${digits(kl.p999)}, most ${digits(kl.max)} nats`,
    `  same best token ${(100 * sameTop).toFixed(2)} %`,
    `  perplexity      ${base.toFixed(4)} → ${model.toFixed(4)} (× ${(model / base).toFixed(4)})`,
  ];
}
