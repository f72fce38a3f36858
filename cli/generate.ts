/**
 * `deno task generate`: continues a prompt and streams the text.
 *
 * @module
 */

import type { GenerationResult } from "../mod.ts";
import {
  type Flags,
  given,
  peakMemoryBytes,
  readStdin,
  runCommand,
  UsageError,
  writeOut,
} from "./command.ts";
import {
  MODEL_FLAGS,
  MODEL_HELP,
  openModel,
  parseIds,
  SAMPLING_FLAGS,
  SAMPLING_HELP,
  samplingOptions,
} from "./model_flags.ts";

/** What `--help` prints. */
export const help: string = `Usage: deno task generate [options] PROMPT

Continues PROMPT and streams the text to stdout; timings and warnings go to stderr.
PROMPT "-" is read from stdin.

${MODEL_HELP}

${SAMPLING_HELP}

Input and output:
  --ids               PROMPT is token ids; generated ids are printed instead of text
  --special           recognize special tokens such as <|im_start|> in PROMPT
  --json              print one JSON object instead: { model, backend, threads, promptIds, ids, text,
                      stopReason, loadMs, firstTokenMs, promptTokensPerSecond, tokensPerSecond,
                      peakMemoryBytes }
  --help              print this

Exit codes: 0 done, 1 failed, 2 wrong usage.`;

/** Runs the command; the result is its exit code. */
export function run(args: string[]): Promise<number> {
  const spec = {
    boolean: ["json", "ids", "special", ...MODEL_FLAGS.boolean, ...SAMPLING_FLAGS.boolean],
    string: MODEL_FLAGS.string,
    collect: SAMPLING_FLAGS.collect,
    number: [...MODEL_FLAGS.number, ...SAMPLING_FLAGS.number],
  };
  return runCommand("generate", help, args, spec, generate);
}

async function generate(flags: Flags): Promise<void> {
  if (flags.rest.length !== 1) {
    throw new UsageError(
      `Cannot generate from ${flags.rest.length} prompts: expected one PROMPT, in quotes if it ` +
        `has blanks; "deno task generate --help" shows the options`,
    );
  }
  const options = samplingOptions(flags);
  const started = performance.now();
  await using model = await openModel(flags);
  const loadMs = performance.now() - started;
  const text = flags.rest[0] === "-" ? await readStdin() : flags.rest[0]!;
  const asIds = flags.on("ids"), json = flags.on("json");

  // The stop token comes out only for the text that it makes certain.
  const stops = options.stopIds ?? model.stopIds;
  let result: GenerationResult | undefined;
  const begun = performance.now();
  let first = NaN, last = begun, count = 0;
  const stream = model.session().generate(asIds ? parseIds(text) : text, {
    ...options,
    ...given({ parseSpecial: flags.on("special") || undefined }),
    onFinish: (it) => result = it,
  });
  for await (const { id, text } of stream) {
    last = performance.now();
    if (count++ === 0) first = last;
    if (json || asIds && stops.includes(id)) continue;
    writeOut(asIds ? `${count > 1 ? " " : ""}${id}` : text);
  }
  if (!json) writeOut("\n");

  const { promptIds, ids, stopReason } = result!;
  const perSecond = (tokens: number, ms: number): number | null =>
    tokens > 0 && ms > 0 ? round(tokens / ms * 1000) : null;
  const report = {
    model: model.name,
    backend: model.backend,
    threads: model.threads,
    promptIds,
    ids,
    text: result!.text,
    stopReason,
    loadMs: round(loadMs),
    firstTokenMs: count > 0 ? round(first - begun) : null,
    promptTokensPerSecond: count > 0 ? perSecond(promptIds.length, first - begun) : null,
    tokensPerSecond: perSecond(count - 1, last - first),
    peakMemoryBytes: peakMemoryBytes(),
  };
  if (json) writeOut(JSON.stringify(report) + "\n");
  else {
    console.error(
      `${model.backend}, ${model.threads} threads: loaded in ${report.loadMs} ms, prompt of ` +
        `${promptIds.length} tokens at ${report.promptTokensPerSecond ?? "-"}/s, ` +
        `${ids.length} tokens at ${report.tokensPerSecond ?? "-"}/s, ended by ${stopReason}`,
    );
  }
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
