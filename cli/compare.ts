/**
 * `deno task compare`: how far one model's predictions are from another's.
 *
 * @module
 */

import { plain, quote, safeJson } from "../escape.ts";
import { InputError, loadModel } from "../mod.ts";
import { ownTexts, windowsOf } from "../quantize/calibration.ts";
import { compareModels } from "../quantize/quantize_model.ts";
import { checkVocabularies, differences } from "../quantize/vocabularies.ts";
import {
  commandName,
  type Flags,
  given,
  runCommand,
  UsageError,
  writeNote,
  writeOut,
} from "./command.ts";
import { withFlags } from "./option_names.ts";
import { interrupt } from "./interrupt.ts";
import { readPrompt } from "./prompt.ts";
import { figures } from "./quantize.ts";
import { stepLine } from "./step_line.ts";

const NAME = commandName("compare");

/** What `--help` prints. */
export const help: string = `Usage: ${NAME} [options] BASE MODEL

Prints how far the predictions of MODEL are from those of BASE, a model of the same vocabulary, on a
text, or on texts that BASE writes: Kullback–Leibler divergence, how often both find the same token
most likely, and perplexity.

  --text TEXT         text to read; "-" reads stdin
  -f, --file FILE     text to read, from a file
  --tokens N          tokens that BASE writes where there is no text (default 4096)
  -s, --seed S        whole number that makes what it writes repeatable (default 1)
  --backend B         auto, wasm, webgpu, reference (default auto)
  -t, --threads N     worker threads (default: all cores)
  -c, --context N     most tokens of one text; longer ones are read in pieces (default 512)
  --json              print one JSON object: { base, model, tokens, kl, sameTop, perplexity }
  -h, --help          print this

Exit codes: 0 done, 1 failed, 2 wrong usage.`;

/** Most tokens of one text where nothing else is said. */
const TEXT_TOKENS = 512;

/** Runs the command; the result is its exit code. */
export function run(args: string[]): Promise<number> {
  const spec = {
    boolean: ["json"],
    string: ["text", "file"],
    whole: {
      tokens: [2, 1 << 24],
      seed: [0, 0xffffffff],
      threads: [1, 1024],
      context: [2, 1 << 24],
    },
    choice: { backend: ["auto", "wasm", "webgpu", "reference"] },
  } as const;
  return runCommand("compare", help, args, spec, compare);
}

async function compare(flags: Flags): Promise<void> {
  const [first, second, ...more] = flags.rest;
  if (first === undefined || second === undefined || more.length > 0) {
    throw new UsageError(
      `Cannot compare: expected two models; "${NAME} --help" shows the options`,
    );
  }
  const text = flags.text("text"), file = flags.text("file");
  const read = text === undefined && file === undefined
    ? undefined
    : await readPrompt({ command: "compare", text, file });
  if (text !== undefined && await isFile(text)) {
    writeNote(`compare: ${quote(text)} is read as a text; --file reads the file of that name`);
  }
  const tokens = flags.number("tokens") ?? 4096;
  using stopped = interrupt("Interrupted");
  using line = stepLine();
  const { signal } = stopped;
  const options = {
    ...given({
      backend: flags.text("backend") as "auto" | undefined,
      threads: flags.number("threads"),
      contextLength: flags.number("context"),
    }),
    signal,
  };
  await using base = await loadModel(first, options);
  await using model = await loadModel(second, options);
  const textTokens = Math.min(
    flags.number("context") ?? TEXT_TOKENS,
    base.contextLength,
    model.contextLength,
  );
  checkVocabularies(base, model);
  for (const it of await differences(base, model)) writeNote(`compare: ${withFlags(it)}`);
  const step = (what: string, total: number) => (done: number): void =>
    line.update({ what, done, total });
  const texts = read !== undefined ? windowsOf(base, read, textTokens) : await ownTexts(base, {
    ...{ tokens, textTokens, seed: flags.number("seed") ?? 1, signal },
    onProgress: step("writing texts", tokens),
  });
  if (!texts.some((it) => it.length > 1)) {
    throw new InputError("Cannot compare models on no text: expected one of at least two tokens");
  }
  const count = texts.reduce((sum, it) => sum + it.length, 0);
  const result = await compareModels(base, model, texts, {
    signal,
    onProgress: step("comparing", count),
  });
  line[Symbol.dispose]();
  writeOut(
    flags.on("json")
      ? `${safeJson({ base: base.name, model: model.name, ...result })}\n`
      : `${plain(model.name)} beside ${plain(base.name)}, ${figures(result).join("\n")}\n`,
  );
}

/** Whether there is a file of that name, which was perhaps meant. */
async function isFile(text: string): Promise<boolean> {
  return await Deno.stat(text).then((it) => it.isFile, () => false);
}
