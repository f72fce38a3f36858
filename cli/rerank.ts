/**
 * `deno task rerank`: texts in the order in which they answer a query.
 *
 * @module
 */

import { quote, safeJson } from "../escape.ts";
import { commandName, type Flags, given, runCommand, UsageError, writeOut } from "./command.ts";
import { MODEL_HELP } from "./model_flags.ts";
import { readTexts, textFlags, withModel } from "./texts.ts";

const NAME = commandName("rerank");

/** What `--help` prints. */
export const help: string = `Usage: ${NAME} [options] QUERY TEXT [TEXT …]
       ${NAME} [options] QUERY --file FILE
       … | ${NAME} [options] QUERY

Prints texts in the order in which they answer QUERY, for cross-encoders (encoders whose classifier gives
one score for a pair): the score, its sigmoid, the place among what was given, from 0, and the text.
A file or a pipe has one text a line. A query and a text that are too long together are an error.

  -f, --file FILE     texts from a file, "-" for stdin
  --top N             print the best N (default: all)
  --task NAME         which classifier, for a model with several: as for classify
  --truncate          read the beginning of what is too long, the longer one of query and text first
  --json              print one JSON object: { model, backend, query, results: [{ index, text, score,
                      probability }, …] }
  -h, --help          print this

${MODEL_HELP}

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.`;

/** Runs the command; the result is its exit code. */
export function run(args: string[]): Promise<number> {
  const spec = textFlags({
    boolean: ["json", "truncate"],
    string: ["file", "task"],
    whole: { top: [1, 1_000_000_000] },
  });
  return runCommand("rerank", help, args, spec, rerank);
}

async function rerank(flags: Flags): Promise<void> {
  const [query, ...listed] = flags.rest;
  if (query === undefined) {
    throw new UsageError(
      `Cannot rerank without a query: expected QUERY, in quotes if it has blanks, and texts`,
    );
  }
  const texts = await readTexts("rerank", listed, flags.text("file"), "TEXT after QUERY");
  const top = flags.number("top"), task = flags.text("task");
  const truncate = flags.on("truncate") || undefined;
  const { model, answer: results } = await withModel(
    flags,
    "rerank",
    [query, ...texts],
    (model, signal) => model.rerank(query, texts, given({ top, task, truncate, signal })),
  );
  if (flags.on("json")) {
    writeOut(`${safeJson({ model: model.name, backend: model.backend, query, results })}\n`);
    return;
  }
  for (const { index, text, score, probability } of results) {
    writeOut(
      `${score.toFixed(4).padStart(9)}  ${probability.toFixed(4)}  ${String(index).padStart(5)}  ` +
        `${quote(text)}\n`,
    );
  }
}
