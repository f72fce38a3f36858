/**
 * `deno task score`: the log-probability of every token of a text, and its perplexity.
 *
 * @module
 */

import { type Flags, readStdin, runCommand, UsageError, writeOut } from "./command.ts";
import { MODEL_FLAGS, MODEL_HELP, openModel, parseIds } from "./model_flags.ts";

/** What `--help` prints. */
export const help: string = `Usage: deno task score [options] (--text TEXT | --ids IDS)

Prints how likely the model finds a text: the natural logarithm of each token's probability given
the tokens before it, and the perplexity. The first token has none before it and is not scored.

  --text TEXT         text to score; "-" reads stdin
  --ids IDS           token ids to score, between commas or blanks
  --json              print one JSON object: { model, backend, ids, tokens, logProbabilities,
                      totalLogProbability, perplexity }
  --help              print this

${MODEL_HELP}

Exit codes: 0 done, 1 failed, 2 wrong usage.`;

/** Runs the command; the result is its exit code. */
export function run(args: string[]): Promise<number> {
  const spec = {
    boolean: ["json", ...MODEL_FLAGS.boolean],
    string: ["text", "ids", ...MODEL_FLAGS.string],
    number: MODEL_FLAGS.number,
  };
  return runCommand("score", help, args, spec, score);
}

async function score(flags: Flags): Promise<void> {
  const text = flags.text("text"), idText = flags.text("ids");
  if ((text === undefined) === (idText === undefined) || flags.rest.length > 0) {
    throw new UsageError(
      'Cannot score: expected one of --text and --ids; "deno task score --help" shows the options',
    );
  }
  await using model = await openModel(flags);
  const ids = text === undefined
    ? parseIds(idText!)
    : model.tokenizer.encode(text === "-" ? await readStdin() : text);
  if (ids.length < 2) {
    throw new UsageError(`Cannot score ${ids.length} tokens: at least 2 are needed`);
  }
  const logits = await model.logits({ ids }); // [tokens, vocab]
  const { vocabSize } = model.config;
  const logProbabilities = ids.slice(1).map((id, i) =>
    logProbability(logits.subarray(i * vocabSize, (i + 1) * vocabSize), id)
  );
  const total = logProbabilities.reduce((sum, value) => sum + value, 0);
  const perplexity = Math.exp(-total / logProbabilities.length);
  const tokens = ids.map((id) => model.hasTokenizer ? model.tokenizer.idToToken(id) : undefined);
  if (flags.on("json")) {
    writeOut(
      JSON.stringify({
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
    JSON.stringify(tokens[i + 1] ?? "")
  );
  writeOut(
    `${rows.join("\n")}\ntotal ${total.toFixed(4)} over ${logProbabilities.length} tokens, ` +
      `perplexity ${perplexity.toFixed(4)}\n`,
  );
}

/** Natural logarithm of the softmax of `logits` at `id`. */
function logProbability(logits: Float32Array, id: number): number {
  const max = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  let sum = 0;
  for (const value of logits) sum += Math.exp(value - max);
  return logits[id]! - max - Math.log(sum);
}
