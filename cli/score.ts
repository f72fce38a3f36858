/**
 * `deno task score`: the log-probability of every token of a text, and its perplexity.
 *
 * @module
 */

import { quote, safeJson } from "../escape.ts";
import { InputError, type OpenedModel } from "../mod.ts";
import { readIds } from "../options.ts";
import { tokenText } from "../runtime/text/decoding/token_text.ts";
import { commandName, type Flags, runCommand, UsageError, writeOut } from "./command.ts";
import { counted } from "./format.ts";
import { interrupt } from "./interrupt.ts";
import { MODEL_FLAGS, MODEL_HELP, openModel, parseIds, tokenizerOf } from "./model_flags.ts";
import { readPrompt } from "./prompt.ts";
import { promptProgress } from "./prompt_progress.ts";

const NAME = commandName("score");

/** What `--help` prints. */
export const help: string = `Usage: ${NAME} [options] (--text TEXT | --file FILE | --ids IDS)

Prints how likely the model finds a text: the natural logarithm of each token's probability given
the tokens before it, and the perplexity. The first token has none before it and is not scored.
Encoders and encoder–decoders, which continue no text, are refused.
A token is shown as its own text, bytes that are no whole character as <E6><98>; the "tokens" of
--json join to the text.

  --text TEXT         text to score; "-" reads stdin
  -f, --file FILE     text to score, from a file; a newline at its end, as at that of stdin, is no part
  --ids IDS           token ids to score, between commas or blanks
  --json              print one JSON object: { model, backend, ids, tokens, logProbabilities,
                      totalLogProbability, perplexity }
  -h, --help          print this

${MODEL_HELP}

Exit codes: 0 done, 1 failed, 2 wrong usage.`;

/** Runs the command; the result is its exit code. */
export function run(args: string[]): Promise<number> {
  const spec = {
    boolean: ["json", ...MODEL_FLAGS.boolean],
    string: ["text", "file", "ids", ...MODEL_FLAGS.string],
    number: MODEL_FLAGS.number,
    choice: MODEL_FLAGS.choice,
  };
  return runCommand("score", help, args, spec, score);
}

async function score(flags: Flags): Promise<void> {
  const sources = ["text", "file", "ids"].filter((name) => flags.text(name) !== undefined);
  if (sources.length !== 1 || flags.rest.length > 0) {
    throw new UsageError(
      `Cannot score: expected one of --text, --file and --ids; "${NAME} --help" shows the options`,
    );
  }
  const place = { command: "score", text: flags.text("text"), file: flags.text("file") };
  const listed = flags.text("ids");
  const input = listed === undefined ? await readPrompt(place) : parseIds(listed);
  using stopped = interrupt("Interrupted");
  let ids: readonly number[] = [];
  await using model = await openModel(flags, {
    command: "score",
    signal: stopped.signal,
    check: (opened) => {
      ids = idsOf(opened, input);
    },
  });
  const progress = promptProgress("scoring");
  progress.update({ done: 0, total: ids.length });
  const result = await model.score(ids, { signal: stopped.signal })
    .finally(() => progress[Symbol.dispose]());
  const { texts: tokens, logProbabilities, totalLogProbability: total, perplexity } = result;
  if (flags.on("json")) {
    writeOut(
      safeJson({
        model: model.name,
        backend: model.backend,
        ids,
        tokens,
        logProbabilities,
        totalLogProbability: total,
        perplexity,
      }) + "\n",
    );
    return;
  }
  const rows = logProbabilities.map((value, i) =>
    `${value.toFixed(4).padStart(10)}  ${String(ids[i + 1]).padStart(7)}  ` +
    quote(model.hasTokenizer ? tokenText(model.tokenizer, ids[i + 1]) : "")
  );
  writeOut(
    `${rows.join("\n")}\ntotal ${total.toFixed(4)} over ${
      counted(logProbabilities.length, "token")
    }, ` +
      `perplexity ${perplexity.toFixed(4)}\n`,
  );
}

/**
 * Token ids of what is to be scored.
 *
 * @throws InputError when there are too few, too many, or some that the model does not know
 */
function idsOf(opened: OpenedModel, input: string | readonly number[]): readonly number[] {
  const ids = typeof input === "string" ? tokenizerOf(opened, true).encode(input) : input;
  if (ids.length < 2) {
    throw new InputError(`Cannot score ${counted(ids.length, "token")}: at least 2 are needed`);
  }
  readIds(ids, opened.config.vocabSize);
  if (ids.length > opened.contextLength) {
    throw new InputError(
      `Cannot score ${ids.length} tokens: the context holds ${opened.contextLength}; shorten the ` +
        `text or raise contextLength`,
    );
  }
  return ids;
}
