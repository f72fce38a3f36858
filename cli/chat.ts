/**
 * `deno task chat`: a conversation on the terminal; its parts are in `chat/`.
 *
 * @module
 */

import { ModelError, type OpenedModel } from "../mod.ts";
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
quarter of its context where --max-tokens says nothing else. One that turns a text into another, as
T5 and Marian, does so with each message by itself. Small models that answer:
${SMALL_MODELS.map((it) => `  ${it}`).join("\n")}

Lines from a pipe are answered in turn. Ctrl-C stops an answer, clears a typed line, and on an empty
line ends the program. What is typed during an answer is there when it is done. Pasted lines are one
message. Lines that are commands:
${COMMANDS_HELP}

  --system TEXT       instructions at the start of the conversation
  -h, --help          print this

${MODEL_HELP}

${samplingHelp(MOST_TOKENS.chat)}

A message of a pipe that cannot be answered, as one that does not fit, is told and counts as failed.
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

async function chat(flags: Flags): Promise<number> {
  if (flags.rest.length > 0) {
    throw new UsageError(
      `Cannot chat about ${quote(flags.rest[0])}: type it at the prompt instead`,
    );
  }
  const options = samplingOptions(flags, MOST_TOKENS.chat);
  for (const note of samplingNotes(flags)) writeNote(`chat: ${note}`);
  const system = flags.text("system");
  const loading = interrupt("Interrupted while the model was loading");
  let keeps = true;
  await using model = await openModel(flags, {
    command: "chat",
    signal: loading.signal,
    check(opened) {
      checkTalks(opened, system);
      keeps = opened.hasChatTemplate || !opened.programs.includes("encode");
    },
  }).finally(() => loading[Symbol.dispose]());
  if (model.hasChatTemplate) {
    // Fails now, not after the first question, where the template is broken or takes no instructions.
    const opening = system === undefined ? [] : [{ role: "system", content: system }];
    await model.chatPrompt([...opening, { role: "user", content: "" }]);
  } else if (!keeps) {
    writeNote(
      `chat: this is a model of architecture ${
        quote(model.config.architecture)
      }, which turns one text into ` +
        `another: each message is a text of its own, and what was said before is forgotten; ` +
        `"${commandName("generate")}" does it with one text`,
    );
  } else {
    writeNote(
      `chat: this model came without a chat template: it continues what you write, turn by turn. ` +
        `Models that answer, for --model: ${SMALL_MODELS.join(", ")}`,
    );
  }
  const limitGiven = flags.number("max-tokens") !== undefined;
  // Text has no end as answers have: one turn leaves room for the next ones.
  const isEndless = !model.hasChatTemplate && keeps && !limitGiven;
  const maxTokens = isEndless
    ? Math.min(MOST_TOKENS.chat, Math.ceil(model.contextLength / 4))
    : options.maxTokens!;
  const done = await talk({ model, system, keeps, options: { ...options, maxTokens }, limitGiven });
  return done ? 0 : 1;
}

/** Refuses a model that cannot talk, and instructions for one that would not see them. */
function checkTalks(opened: OpenedModel, system: string | undefined): void {
  const { name, programs, config, hasChatTemplate } = opened;
  if (!programs.includes("decode")) {
    const commands = ["embed", "fill", "classify", "rerank"].map((it) => `"${commandName(it)}"`);
    throw new ModelError(
      `Cannot chat with ${quote(name)}: it is of architecture ${
        quote(config.architecture)
      }, which ` +
        `reads texts and writes none; use ${commands.slice(0, -1).join(", ")} or ${
          commands.at(-1)
        }, ` +
        `or a model that writes`,
    );
  }
  tokenizerOf(opened);
  if (hasChatTemplate || system === undefined) return;
  const does = programs.includes("encode") ? "turns one text into another" : "continues text";
  throw new UsageError(
    `Cannot use --system with ${quote(name)}: it came without a chat template, and only ${does}`,
  );
}
