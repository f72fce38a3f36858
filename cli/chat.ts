/**
 * `deno task chat`: a conversation on the terminal; its parts are in `chat/`.
 *
 * @module
 */

import type { OpenedModel } from "../mod.ts";
import { quote } from "../escape.ts";
import { COMMANDS_HELP } from "./chat/commands.ts";
import { talk } from "./chat/loop.ts";
import { commandName, type Flags, runCommand, UsageError, writeNote } from "./command.ts";
import { samplingNotes } from "./effects.ts";
import { interrupt } from "./interrupt.ts";
import {
  MODEL_FLAGS,
  MODEL_HELP,
  MOST_TOKENS,
  openModel,
  SAMPLING_FLAGS,
  samplingHelp,
  samplingOptions,
  tokenizerOf,
} from "./model_flags.ts";

/** Small models that answer, for whoever has none yet. */
const SMALL_MODELS = [
  "hf:HuggingFaceTB/SmolLM2-360M-Instruct-GGUF:Q8_0 (0.4 GB)",
  "hf:Qwen/Qwen3-0.6B-GGUF:Q8_0 (0.6 GB)",
  "hf:bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M (0.8 GB)",
] as const;

const NAME = commandName("chat");

/** What `--help` prints. */
export const help: string = `Usage: ${NAME} [options]

Talks with a model, using the chat template that came with it. A model without one, such as the one
that comes with Sparrow, continues what you write instead, turn by turn, each time for at most a
quarter of its context where --max-tokens says nothing else. Small models that answer:
${SMALL_MODELS.map((it) => `  ${it}`).join("\n")}

Lines from a pipe are answered in turn. Ctrl-C stops an answer, clears a typed line, and on an empty
line ends the program. What is typed during an answer is there when it is done. Pasted lines are one
message. Lines that are commands:
${COMMANDS_HELP}

  --system TEXT       instructions at the start of the conversation
  -h, --help          print this

${MODEL_HELP}

${samplingHelp(MOST_TOKENS.chat)}

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted while the model was loading.`;

/** Runs the command; the result is its exit code. */
export function run(args: string[]): Promise<number> {
  const spec = {
    boolean: [...MODEL_FLAGS.boolean, ...SAMPLING_FLAGS.boolean],
    string: ["system", ...MODEL_FLAGS.string],
    collect: SAMPLING_FLAGS.collect,
    number: [...MODEL_FLAGS.number, ...SAMPLING_FLAGS.number],
    choice: MODEL_FLAGS.choice,
  };
  return runCommand("chat", help, args, spec, chat);
}

async function chat(flags: Flags): Promise<void> {
  if (flags.rest.length > 0) {
    throw new UsageError(
      `Cannot chat about ${quote(flags.rest[0])}: type it at the prompt instead`,
    );
  }
  const options = samplingOptions(flags, MOST_TOKENS.chat);
  for (const note of samplingNotes(flags)) writeNote(`chat: ${note}`);
  const system = flags.text("system");
  const loading = interrupt("Interrupted while the model was loading");
  await using model = await openModel(flags, {
    command: "chat",
    signal: loading.signal,
    check: (opened) => checkTemplate(opened, system),
  }).finally(() => loading[Symbol.dispose]());
  if (model.hasChatTemplate) {
    // Fails now, not after the first question, where the template is broken or takes no instructions.
    const opening = system === undefined ? [] : [{ role: "system", content: system }];
    await model.chatPrompt([...opening, { role: "user", content: "" }]);
  } else {
    writeNote(
      `chat: this model came without a chat template: it continues what you write, turn by turn. ` +
        `Models that answer, for --model: ${SMALL_MODELS.join(", ")}`,
    );
  }
  const limitGiven = flags.number("max-tokens") !== undefined;
  // Text has no end as answers have: one turn leaves room for the next ones.
  const isEndless = !model.hasChatTemplate && !limitGiven;
  const maxTokens = isEndless
    ? Math.min(MOST_TOKENS.chat, Math.ceil(model.contextLength / 4))
    : options.maxTokens!;
  await talk({ model, system, options: { ...options, maxTokens }, limitGiven });
}

/** Refuses a model that cannot talk, and instructions for one that would not see them. */
function checkTemplate(opened: OpenedModel, system: string | undefined): void {
  tokenizerOf(opened);
  if (opened.hasChatTemplate || system === undefined) return;
  throw new UsageError(
    `Cannot use --system with ${quote(opened.name)}: it came without a chat template, and only ` +
      `continues text`,
  );
}
