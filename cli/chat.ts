/**
 * `deno task chat`: a conversation on the terminal.
 *
 * @module
 */

import { createInterface } from "node:readline";
import { quote } from "../escape.ts";
import { type ChatMessage, InputError, type Model, type Session } from "../mod.ts";
import type { GenerateOptions } from "../runtime/generate.ts";
import { type Flags, runCommand, UsageError, writeOut } from "./command.ts";
import {
  MODEL_FLAGS,
  MODEL_HELP,
  openModel,
  SAMPLING_FLAGS,
  SAMPLING_HELP,
  samplingOptions,
} from "./model_flags.ts";

/** What `--help` prints. */
export const help: string = `Usage: deno task chat [options]

Talks with a model, using the chat template that came with it. Lines from a pipe are answered in
turn. While the model answers, Ctrl-C stops the answer; at the prompt it ends the program.

Lines that are commands:
  /reset              forget the conversation
  /help               list these commands
  /exit               end the program, as does the end of input

  --system TEXT       instructions at the start of the conversation
  --help              print this

${MODEL_HELP}

${SAMPLING_HELP}

Exit codes: 0 done, 1 failed, 2 wrong usage.`;

const COMMANDS = "/reset forgets the conversation, /exit ends the program";

/** Runs the command; the result is its exit code. */
export function run(args: string[]): Promise<number> {
  const spec = {
    boolean: [...MODEL_FLAGS.boolean, ...SAMPLING_FLAGS.boolean],
    string: ["system", ...MODEL_FLAGS.string],
    collect: SAMPLING_FLAGS.collect,
    number: [...MODEL_FLAGS.number, ...SAMPLING_FLAGS.number],
  };
  return runCommand("chat", help, args, spec, chat);
}

async function chat(flags: Flags): Promise<void> {
  if (flags.rest.length > 0) {
    throw new UsageError(
      `Cannot chat about ${quote(flags.rest[0])}: type it at the prompt instead`,
    );
  }
  const options = samplingOptions(flags);
  const system = flags.text("system");
  const opening: ChatMessage[] = system === undefined ? [] : [{ role: "system", content: system }];
  await using model = await openModel(flags);
  // Fails now, not after the first question, where the model has no template.
  await model.chatPrompt([...opening, { role: "user", content: "" }]);
  using session = model.session();
  let messages = [...opening];

  const lines = createInterface({
    input: (await import("node:process")).stdin,
    output: (await import("node:process")).stderr,
    terminal: Deno.stdin.isTerminal() && Deno.stderr.isTerminal(),
    prompt: Deno.stdin.isTerminal() ? "> " : "",
  });
  let answering: AbortController | undefined;
  // Input may end while an answer is written; the lines that came before are answered all the same.
  let open = true;
  lines.on("close", () => open = false);
  const prompt = (): void => {
    if (open) lines.prompt();
  };
  const interrupt = (): void => answering ? answering.abort() : lines.close();
  lines.on("SIGINT", interrupt);
  Deno.addSignalListener("SIGINT", interrupt);
  try {
    prompt();
    for await (const line of lines) {
      const text = line.trim();
      if (text === "/exit") break;
      if (text === "/reset") {
        messages = [...opening];
        session.reset();
        console.error("The conversation is forgotten.");
      } else if (text.startsWith("/")) console.error(COMMANDS);
      else if (text !== "") {
        answering = new AbortController();
        messages.push({ role: "user", content: text });
        const answer = await reply(model, session, messages, options, answering.signal);
        answering = undefined;
        if (answer === undefined) messages.pop();
        else messages.push({ role: "assistant", content: answer });
      }
      prompt();
    }
  } finally {
    Deno.removeSignalListener("SIGINT", interrupt);
    lines.close();
  }
}

/** Streams the answer and returns it; undefined where the question could not be put. */
async function reply(
  model: Model,
  session: Session,
  messages: readonly ChatMessage[],
  options: GenerateOptions,
  signal: AbortSignal,
): Promise<string | undefined> {
  let answer = "";
  try {
    const prompt = await model.chatPrompt(messages);
    for await (const { text } of session.generate(prompt, { ...options, signal })) {
      answer += text;
      writeOut(text);
    }
  } catch (error) {
    if (error instanceof InputError) {
      console.error(`chat: ${error.message}; /reset forgets the conversation`);
      return undefined;
    }
    if (!signal.aborted) throw error;
    writeOut(" …");
  }
  writeOut("\n");
  return answer;
}
