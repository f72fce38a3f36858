/**
 * What the commands that read texts share: where texts come from, one a line, and a model with a
 * tokenizer.
 *
 * @module
 */

import type { Model } from "../mod.ts";
import type { Tokenizer } from "../runtime/text/tokenizer/tokenizer.ts";
import { type Flags, type FlagSpec, UsageError } from "./command.ts";
import { counted } from "./format.ts";
import { interrupt } from "./interrupt.ts";
import { MODEL_FLAGS, openModel, tokenizerOf } from "./model_flags.ts";
import { readPrompt } from "./prompt.ts";
import { promptProgress } from "./prompt_progress.ts";

/** Flags of a command with texts: those of the model, and its own. */
export function textFlags(own: FlagSpec): FlagSpec {
  return {
    boolean: [...own.boolean ?? [], ...MODEL_FLAGS.boolean],
    string: [...own.string ?? [], ...MODEL_FLAGS.string],
    collect: own.collect ?? [],
    number: MODEL_FLAGS.number,
    whole: own.whole ?? {},
    choice: { ...own.choice, ...MODEL_FLAGS.choice },
  };
}

/**
 * Texts of the command line where it has some; else the lines of a file or of a pipe, empty ones too, so
 * that the nth answer is that of the nth line. The newline at the end begins no line.
 *
 * @throws UsageError when there are none, or both
 */
export async function readTexts(
  command: string,
  given: readonly string[],
  file: string | undefined,
  form: string,
): Promise<readonly string[]> {
  if (given.length > 0 && file === undefined && given.join() !== "-") {
    // As a prompt is, for what is not UTF-8.
    return await Promise.all(given.map((text) => readPrompt({ command, text, file: undefined })));
  }
  const text = given.length > 0 ? given[0] : undefined;
  const whole = await readPrompt({ command, text, file, wanted: { what: "texts", form } });
  return whole.split(/\r?\n/);
}

/** Asks a model about texts: loads it, shows how long it takes, ends with Ctrl-C. */
export async function withModel<T>(
  flags: Flags,
  command: string,
  texts: readonly string[],
  ask: (model: Model, signal: AbortSignal) => Promise<T>,
): Promise<{ model: Pick<Model, "name" | "backend">; answer: T }> {
  using stopped = interrupt("Interrupted");
  let total = 0;
  const count = (tokenizer: Tokenizer): void => {
    total = texts.reduce((sum, text) => sum + tokenizer.encode(text).length, 0);
  };
  await using model = await openModel(flags, {
    command,
    signal: stopped.signal,
    check: (opened) => count(tokenizerOf(opened)),
  });
  const progress = promptProgress(`reading ${counted(texts.length, "text")}`);
  progress.update({ done: 0, total });
  const answer = await ask(model, stopped.signal).finally(() => progress[Symbol.dispose]());
  return { model: { name: model.name, backend: model.backend }, answer };
}

/**
 * The one text of a command.
 *
 * @throws UsageError when there are several
 */
export function onlyText(command: string, rest: readonly string[]): string | undefined {
  if (rest.length <= 1) return rest[0];
  throw new UsageError(
    `Cannot ${command} ${rest.length} texts: expected one; put it in quotes if it has blanks`,
  );
}
