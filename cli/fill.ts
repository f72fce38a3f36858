/**
 * `deno task fill`: words for the masks of a text.
 *
 * @module
 */

import { quote, safeJson } from "../escape.ts";
import { commandName, type Flags, given, runCommand, writeOut } from "./command.ts";
import { MODEL_HELP } from "./model_flags.ts";
import { readPrompt } from "./prompt.ts";
import { onlyText, textFlags, withModel } from "./texts.ts";

const NAME = commandName("fill");

/** What `--help` prints. */
export const help: string = `Usage: ${NAME} [options] TEXT
       ${NAME} [options] --file FILE
       … | ${NAME} [options]

Prints the most likely words for each [MASK] of TEXT, for encoders with a head for masked words (BERT,
RoBERTa, ERNIE and their kin): the probability, the token's id, the word. A mask is written [MASK] or
<mask>, whatever the model calls it. T5 fills <extra_id_0>: see "${commandName("generate")} --help".

  -f, --file FILE     read TEXT from a file, "-" for stdin
  --top N             words for each mask (default 5)
  --json              print one JSON object: { model, backend, text, masks: [{ position,
                      words: [{ id, text, token, probability }, …] }, …] }
  -h, --help          print this

${MODEL_HELP}

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.`;

/** Runs the command; the result is its exit code. */
export function run(args: string[]): Promise<number> {
  const spec = textFlags({ boolean: ["json"], string: ["file"], whole: { top: [1, 1_000_000] } });
  return runCommand("fill", help, args, spec, fill);
}

async function fill(flags: Flags): Promise<void> {
  const text = await readPrompt({
    ...{ command: "fill", text: onlyText("fill", flags.rest), file: flags.text("file") },
    wanted: { what: "a text", form: "TEXT, in quotes if it has blanks" },
  });
  const top = flags.number("top");
  const { model, answer: masks } = await withModel(
    flags,
    "fill",
    [text],
    (model, signal) => model.fillMask(text, given({ top, signal })),
  );
  if (flags.on("json")) {
    writeOut(`${safeJson({ model: model.name, backend: model.backend, text, masks })}\n`);
    return;
  }
  masks.forEach(({ position, words }, i) => {
    if (masks.length > 1) writeOut(`${i > 0 ? "\n" : ""}mask ${i + 1}, token ${position}\n`);
    for (const { id, text, probability } of words) {
      writeOut(
        `${probability.toFixed(4).padStart(8)}  ${String(id).padStart(7)}  ${quote(text)}\n`,
      );
    }
  });
}
