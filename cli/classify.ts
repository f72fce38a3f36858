/**
 * `deno task classify`: labels of a text or a pair of texts.
 *
 * @module
 */

import { quote, safeJson } from "../escape.ts";
import { commandName, type Flags, given, runCommand, writeNote, writeOut } from "./command.ts";
import { MODEL_HELP } from "./model_flags.ts";
import { readPrompt } from "./prompt.ts";
import { onlyText, textFlags, withModel } from "./texts.ts";

const NAME = commandName("classify");

/** What `--help` prints. */
export const help: string = `Usage: ${NAME} [options] TEXT
       ${NAME} [options] TEXT --pair SECOND
       … | ${NAME} [options]

Prints the labels of a text, or of a pair such as a premise and a hypothesis, the likeliest first, each
after its probability, for encoders with a classifier (BertForSequenceClassification and its kin). Where
several labels can be right, each has a probability of its own; a regression has values in their place.
A text that is too long is an error.

  -f, --file FILE     read TEXT from a file, "-" for stdin
  --pair SECOND       the second text of a pair, which goes in as given; the first MT-DNNs were trained
                      with a hypothesis before its premise
  --task NAME         which classifier, for a model with several (MT-DNN): a name of task_specific_params
                      of config.json, or a number
  --truncate          read the beginning of what is too long, of a pair the longer text first
  --json              print one JSON object: { model, backend, kind, labels: [{ label, score,
                      probability }, …] }, where kind is single-label, multi-label or regression
  -h, --help          print this

${MODEL_HELP}

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.`;

/** Runs the command; the result is its exit code. */
export function run(args: string[]): Promise<number> {
  const spec = textFlags({ boolean: ["json", "truncate"], string: ["file", "pair", "task"] });
  return runCommand("classify", help, args, spec, classify);
}

async function classify(flags: Flags): Promise<void> {
  const text = await readPrompt({
    ...{ command: "classify", text: onlyText("classify", flags.rest), file: flags.text("file") },
    wanted: { what: "a text", form: "TEXT, in quotes if it has blanks" },
  });
  const second = flags.text("pair"), task = flags.text("task");
  const truncate = flags.on("truncate") || undefined;
  const { model, answer } = await withModel(
    flags,
    "classify",
    [text, ...(second === undefined ? [] : [second])],
    (model, signal) =>
      model.classify(
        second === undefined ? text : [text, second],
        given({ task, truncate, signal }),
      ),
  );
  const { kind, labels } = answer;
  if (flags.on("json")) {
    writeOut(`${safeJson({ model: model.name, backend: model.backend, kind, labels })}\n`);
    return;
  }
  if (kind === "regression") writeNote("classify: the model is a regression: its values are shown");
  for (const { label, score, probability = score } of labels) {
    writeOut(`${probability.toFixed(4).padStart(8)}  ${quote(label)}\n`);
  }
}
