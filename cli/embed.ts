/**
 * `deno task embed`: vectors of texts.
 *
 * @module
 */

import { jsonNumbers, safeJson } from "../escape.ts";
import type { EmbedOptions } from "../mod.ts";
import { POOLINGS } from "../runtime/tasks/pooling.ts";
import { commandName, type Flags, given, runCommand, UsageError, writeOut } from "./command.ts";
import { MODEL_HELP } from "./model_flags.ts";
import { checkNpyPlace, writeNpy } from "./npy.ts";
import { readTexts, textFlags, withModel } from "./texts.ts";

const NAME = commandName("embed");

/** What `--help` prints. */
export const help: string = `Usage: ${NAME} [options] [FILE]
       ${NAME} [options] --text TEXT [--text TEXT …]
       … | ${NAME} [options]

Makes a vector of each text, one text a line, and prints a line of JSON for each: { index, text,
embedding }. Without FILE the texts are read from a pipe, with "-" from stdin in any case; an empty line
is an empty text. Vectors are pooled and normalized as the model's own files say (the modules.json of
sentence-transformers, pooling_type of GGUF); where they say nothing, by the mean of an encoder's states
or by a decoder's last one, with length 1. A text that is too long is an error.

  -f, --file FILE     texts from a file, as FILE is
  --text TEXT         a text; may be given again
  --pooling P         ${POOLINGS.join(", ")}
                      (default: the model's own)
  --normalize         scale vectors to length 1 (default: as the model's files say)
  --no-normalize      leave vectors as they are
  --dimensions N      keep the first N numbers of each vector, for models that were trained for it
                      (Matryoshka); scaled to length 1 as whole ones would be (default: all)
  --prefix TEXT       put this before every text, as "query: "
  --prompt-name NAME  put there what config_sentence_transformers.json has under this name, as query
                      (default: the one that it names as default)
  --truncate          read the beginning of texts that are too long
  --npy FILE          write the vectors as a NumPy array [texts, width] of f32 instead; "-" for stdout,
                      where that is no terminal
  -h, --help          print this

${MODEL_HELP}

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.`;

/** Runs the command; the result is its exit code. */
export function run(args: string[]): Promise<number> {
  const spec = textFlags({
    boolean: ["normalize", "no-normalize", "truncate"],
    string: ["file", "prefix", "prompt-name", "npy"],
    collect: ["text"],
    whole: { dimensions: [1, 1_000_000_000] },
    choice: { pooling: POOLINGS },
  });
  return runCommand("embed", help, args, spec, embed);
}

async function embed(flags: Flags): Promise<void> {
  const [file, ...more] = flags.rest, listed = flags.texts("text");
  const sources = [file, flags.text("file")].filter((it) => it !== undefined);
  if (more.length > 0 || sources.length > 1 || sources.length > 0 && listed.length > 0) {
    throw new UsageError(
      `Cannot embed: expected one of FILE, --file and --text, of which only --text may be given ` +
        `again; "${NAME} --help" shows the options`,
    );
  }
  if (flags.on("normalize") && flags.on("no-normalize")) {
    throw new UsageError("Cannot embed with --normalize and --no-normalize: give one of them");
  }
  const npy = flags.text("npy");
  if (npy !== undefined) await checkNpyPlace(npy, Deno.stdout.isTerminal());
  const form = "FILE with one text a line";
  const texts = await readTexts("embed", listed, sources[0], form);
  const normalize = flags.on("normalize") ? true : flags.on("no-normalize") ? false : undefined;
  const { answer: vectors } = await withModel(flags, "embed", texts, (model, signal) => {
    const options = given({
      pooling: flags.text("pooling") as EmbedOptions["pooling"],
      normalize,
      dimensions: flags.number("dimensions"),
      prefix: flags.text("prefix"),
      promptName: flags.text("prompt-name"),
      truncate: flags.on("truncate") || undefined,
      signal,
    });
    return model.embed(texts, options);
  });
  if (npy !== undefined) return await writeNpy(npy, vectors);
  vectors.forEach((vector, index) => {
    const embedding = jsonNumbers(vector);
    writeOut(`${safeJson({ index, text: texts[index], embedding })}\n`);
  });
}
