/**
 * `deno task generate`: continues a prompt and streams the text.
 *
 * @module
 */

import { formatBytes, quote, safeJson } from "../escape.ts";
import { type GenerationResult, InputError, type Model, type OpenedModel } from "../mod.ts";
import { readIds } from "../options.ts";
import {
  checkOptions,
  type GenerateOptions,
  type Token,
} from "../runtime/generation/generate_options.ts";
import { tokenText } from "../runtime/text/decoding/token_text.ts";
import {
  commandName,
  type Flags,
  given,
  INTERRUPTED,
  peakMemoryBytes,
  runCommand,
  UsageError,
  writeNote,
  writeOut,
} from "./command.ts";
import { idNotes, samplingNotes } from "./effects.ts";
import { Interrupted } from "./errors.ts";
import { atRate, counted, formatMs } from "./format.ts";
import { interrupt } from "./interrupt.ts";
import {
  MODEL_FLAGS,
  MODEL_HELP,
  MOST_TOKENS,
  openModel,
  parseIds,
  SAMPLING_FLAGS,
  samplingHelp,
  samplingOptions,
  tokenizerOf,
} from "./model_flags.ts";
import { readPrompt } from "./prompt.ts";
import { promptProgress } from "./prompt_progress.ts";

const NAME = commandName("generate");

/** What `--help` prints. */
export const help: string = `Usage: ${NAME} [options] PROMPT
       ${NAME} [options] --file FILE
       … | ${NAME} [options]

Continues PROMPT and streams the text to stdout; timings and warnings go to stderr. Without PROMPT the
prompt is read from a pipe, with "-" from stdin in any case; a newline at the end of a file or a pipe
is not part of it. Where PROMPT is given, stdin is not read. Ctrl-C ends the text, with exit code 130.

${MODEL_HELP}

${samplingHelp(MOST_TOKENS.generate)}

Input and output:
  -f, --file FILE     read the prompt from a file
  --ids               PROMPT is token ids; generated ids are printed instead of text
  --special           recognize special tokens such as <|im_start|> in PROMPT
  --show-special      print special tokens of the answer too, which are left out otherwise; with --special
                      this is how T5 fills a text: ${NAME} --special --show-special "the <extra_id_0> sat"
                      A text for GLM-130B goes on at its end, unless --special finds a mask to fill in it:
                      [MASK] for a few words, [sMASK] for a sentence; ChatGLM-6B knows [MASK] alone
  --logprobs N        print a line for each token instead of text: the natural logarithm of its
                      probability by the model's own distribution, its id, its text, and the N most likely
                      tokens (0 to 128) with theirs
  --json              print one JSON object instead: { model, backend, threads, promptIds, ids, text,
                      stopReason, loadMs, firstTokenMs, promptTokensPerSecond, tokensPerSecond,
                      peakMemoryBytes }, and with --logprobs logprobs: for each of ids
                      { id, text, bytes, logprob, top: [{ id, text, bytes, logprob }, …] }, where the
                      bytes join to the text and a logprob of null is -Infinity
  -h, --help          print this

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.`;

/** Runs the command; the result is its exit code. */
export function run(args: string[]): Promise<number> {
  const spec = {
    boolean: [
      "json",
      "ids",
      "special",
      "show-special",
      ...MODEL_FLAGS.boolean,
      ...SAMPLING_FLAGS.boolean,
    ],
    string: ["file", ...MODEL_FLAGS.string],
    collect: SAMPLING_FLAGS.collect,
    number: ["logprobs", ...MODEL_FLAGS.number, ...SAMPLING_FLAGS.number],
    choice: MODEL_FLAGS.choice,
  };
  return runCommand("generate", help, args, spec, generate);
}

async function generate(flags: Flags): Promise<number> {
  const [given_, ...others] = flags.rest;
  if (others.length > 0) {
    throw new UsageError(
      `Cannot generate from ${flags.rest.length} prompts: expected one PROMPT, in quotes if it ` +
        `has blanks; "${NAME} --help" shows the options`,
    );
  }
  const logprobs = given({ logprobs: flags.number("logprobs") });
  checkOptions(logprobs);
  const options = { ...samplingOptions(flags, MOST_TOKENS.generate), ...logprobs };
  for (const note of [...samplingNotes(flags), ...idNotes(flags)]) writeNote(`generate: ${note}`);
  const text = await readPrompt({ command: "generate", text: given_, file: flags.text("file") });
  const prompt = flags.on("ids") ? parseIds(text) : text;
  const special = given({ parseSpecial: flags.on("special") || undefined });
  const shown = given({ skipSpecial: flags.on("show-special") ? false : undefined });

  using stopped = interrupt("Interrupted while the model was loading");
  const started = performance.now();
  await using model = await openModel(flags, {
    command: "generate",
    signal: stopped.signal,
    check: (opened) => checkPrompt(opened, prompt, special),
  });
  const loadMs = performance.now() - started;
  return await stream(
    flags,
    model,
    prompt,
    { ...options, ...special, ...shown, signal: stopped.signal },
    loadMs,
  );
}

/**
 * Refuses a prompt that the model cannot have, before its weights are there.
 *
 * @throws InputError when it is empty, too long or holds ids that the model does not know
 */
function checkPrompt(
  opened: OpenedModel,
  prompt: string | readonly number[],
  special: { parseSpecial?: boolean },
): void {
  const { config, contextLength } = opened;
  const ids = typeof prompt === "string"
    ? tokenizerOf(opened, true).encode(prompt, special)
    : prompt;
  readIds(ids, config.vocabSize);
  if (ids.length <= contextLength) return;
  throw new InputError(
    `Cannot generate from a prompt of ${ids.length} tokens: the context holds ${contextLength}; ` +
      `shorten the prompt or raise contextLength`,
  );
}

/** Streams the text to stdout, then says how it went; returns the exit code. */
async function stream(
  flags: Flags,
  model: Model,
  prompt: string | readonly number[],
  options: GenerateOptions & { readonly signal: AbortSignal },
  loadMs: number,
): Promise<number> {
  const asIds = flags.on("ids"), json = flags.on("json");
  // The stop token comes out only for the text that it makes certain.
  const stops = options.stopIds ?? model.stopIds;
  let result: GenerationResult | undefined;
  const begun = performance.now();
  let first = NaN, last = begun, count = 0;
  using progress = promptProgress();
  options.signal.addEventListener("abort", progress.stopping);
  const tokens = model.session().generate(prompt, {
    ...options,
    onPrompt: progress.update,
    onFinish: (it) => result = it,
  });
  try {
    for await (const token of tokens) {
      const { id, text } = token;
      progress[Symbol.dispose]();
      last = performance.now();
      if (count++ === 0) first = last;
      if (json || asIds && stops.includes(id)) continue;
      if (options.logprobs !== undefined) {
        if (token.top) writeOut(likelihoodLine(model, token as LikelyToken));
        continue;
      }
      writeOut(asIds ? `${count > 1 ? " " : ""}${id}` : text);
    }
  } catch (error) {
    if (!(error instanceof Interrupted) || !result) throw error;
    progress[Symbol.dispose]();
  }
  if (!json && options.logprobs === undefined) writeOut("\n");

  const { promptIds, ids, stopReason } = result!;
  const perSecond = (tokens: number, ms: number): number | null =>
    tokens > 0 && ms > 0 ? round(tokens / ms * 1000) : null;
  if (json) {
    const report = {
      model: model.name,
      backend: model.backend,
      threads: model.threads,
      promptIds,
      ids,
      text: result!.text,
      ...given({ logprobs: result!.logprobs }),
      stopReason,
      loadMs: round(loadMs),
      firstTokenMs: count > 0 ? round(first - begun) : null,
      promptTokensPerSecond: count > 0 ? perSecond(promptIds.length, first - begun) : null,
      tokensPerSecond: perSecond(count - 1, last - first),
      peakMemoryBytes: peakMemoryBytes(),
    };
    writeOut(safeJson(report) + "\n");
  } else {
    const full = promptIds.length + ids.length > model.contextLength;
    const limit = full
      ? `the context of ${model.contextLength}`
      : `--max-tokens ${options.maxTokens}`;
    const ended = {
      stop: "ended by stop",
      length: `ended by length (${limit})`,
      abort: "interrupted",
    }[stopReason];
    writeNote(
      `${model.backend}, ${counted(model.threads, "thread")}: loaded in ${formatMs(loadMs)}, ` +
        placed(model) +
        `prompt of ${counted(promptIds.length, "token")}` +
        `${atRate(count > 0 ? promptIds.length : 0, first - begun)}, ` +
        `${counted(ids.length, "token")}${atRate(count - 1, last - first)}, ${ended}`,
    );
  }
  return stopReason === "abort" ? INTERRUPTED : 0;
}

/** From how many bytes on the memory of a model is told. */
const LARGE = 1e9;

/** What a large model takes, for the line at the end. */
function placed({ placedBytes }: Model): string {
  const bytes = Object.values(placedBytes).reduce((sum, it) => sum + it, 0);
  return bytes < LARGE ? "" : `${formatBytes(bytes)} of weights and caches, `;
}

/** A token of which log-probabilities were asked for. */
type LikelyToken = Required<Pick<Token, "id" | "logprob" | "top">>;

/** A line that shows how likely a token was, and the most likely ones. */
function likelihoodLine(model: Model, { id, logprob, top }: LikelyToken): string {
  const own = model.hasTokenizer ? tokenText(model.tokenizer, id) : "";
  const others = top.map((it) => `${it.id} ${quote(it.text)} ${it.logprob.toFixed(4)}`);
  return `${logprob.toFixed(4).padStart(10)}  ${String(id).padStart(7)}  ${quote(own)}` +
    `${others.length > 0 ? `  of ${others.join(", ")}` : ""}\n`;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
