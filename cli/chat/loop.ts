/**
 * The conversation itself: a message comes in, an answer goes out, until the input ends.
 *
 * @module
 */

import { type GenerationResult, InputError, type Model, type Session } from "../../mod.ts";
import type { GenerateOptions } from "../../runtime/generation/generate_options.ts";
import { INTERRUPTED, writeNote, writeOut } from "../command.ts";
import { isAnotherPress } from "../interrupt.ts";
import { atRate, counted } from "../format.ts";
import { withFlags } from "../option_names.ts";
import { promptProgress } from "../prompt_progress.ts";
import { isCommand, runChatCommand } from "./commands.ts";
import { type Conversation, promptOf } from "./conversation.ts";
import { type MessageInput, pipedInput } from "./input.ts";
import { terminalInput } from "./terminal.ts";

/** What a conversation is held with. */
export interface ChatSetup {
  /** Who answers. */
  readonly model: Model;
  /** Instructions at the start. */
  readonly system: string | undefined;
  /** Whether a model without a chat template goes on with what was said before. */
  readonly keeps: boolean;
  /** How answers are made. */
  readonly options: GenerateOptions;
  /** Whether the limit of `options.maxTokens` was asked for, so that reaching it is no news. */
  readonly limitGiven: boolean;
}

/**
 * Holds a conversation on stdin, stdout and stderr.
 *
 * @returns whether every message of a pipe was answered; on a terminal, who typed has seen it
 */
export async function talk(setup: ChatSetup): Promise<boolean> {
  const { model } = setup;
  using session = model.session();
  const conversation: Conversation = { system: setup.system, messages: [] };
  const context = { conversation, hasTemplate: model.hasChatTemplate };
  let answering: AbortController | undefined, pressed = -Infinity, failed = false;
  const onInterrupt = (): void => {
    if (!answering) return input.close();
    if (answering.signal.aborted) { // it waits for a part of a long prompt
      if (!isAnotherPress(pressed)) return;
      input[Symbol.dispose]();
      Deno.exit(INTERRUPTED);
    }
    pressed = performance.now();
    answering.abort();
  };
  const isTerminal = Deno.stdin.isTerminal() && Deno.stderr.isTerminal();
  using input: MessageInput = isTerminal ? terminalInput({ interrupt: onInterrupt }) : pipedInput();
  Deno.addSignalListener("SIGINT", onInterrupt);
  try {
    /** How often the last question has been answered, which gives another seed each time. */
    let attempt = 0;
    for (let message; (message = await input.next());) {
      if (!message.literal && isCommand(message.text)) {
        const outcome = await runChatCommand(message.text, context);
        if (outcome === "exit") break;
        if (outcome === "go on") continue;
        attempt++;
      } else {
        const text = message.literal ? message.text : message.text.trim();
        if (text.trim() === "") continue;
        conversation.messages.push({ role: "user", content: text });
        attempt = 0;
      }
      answering = new AbortController();
      const answer = await reply(setup, session, conversation, attempt, answering.signal);
      answering = undefined;
      if (answer === undefined) {
        failed = true;
        conversation.messages.pop();
      } else conversation.messages.push({ role: "assistant", content: answer });
    }
  } finally {
    Deno.removeSignalListener("SIGINT", onInterrupt);
  }
  return isTerminal || !failed;
}

/** Streams the answer and returns it; undefined where the question could not be put. */
async function reply(
  { model, keeps, options, limitGiven }: ChatSetup,
  session: Session,
  conversation: Conversation,
  attempt: number,
  signal: AbortSignal,
): Promise<string | undefined> {
  let answer = "", result: GenerationResult | undefined, first = NaN, last = NaN;
  using progress = promptProgress();
  signal.addEventListener("abort", progress.stopping);
  const seed = options.seed === undefined ? {} : { seed: options.seed + attempt };
  try {
    const prompt = keeps
      ? await promptOf(model, conversation)
      : conversation.messages.at(-1)!.content as string;
    const tokens = session.generate(prompt, {
      ...{ ...options, ...seed, signal },
      onPrompt: progress.update,
      onFinish: (it) => result = it,
    });
    for await (const { text } of tokens) {
      progress[Symbol.dispose]();
      last = performance.now();
      if (Number.isNaN(first)) first = last;
      answer += text;
      writeOut(text);
    }
  } catch (error) {
    progress[Symbol.dispose]();
    if (error instanceof InputError) {
      writeNote(`chat: ${withFlags(error.message)}; /reset forgets the conversation`);
      return undefined;
    }
    if (!signal.aborted) throw error;
    writeOut(" …");
  }
  writeOut("\n");
  const { ids, promptIds, stopReason } = result!;
  if (stopReason === "abort") {
    const speed = atRate(ids.length - 1, last - first);
    writeNote(`chat: interrupted after ${counted(ids.length, "token")}${speed}`);
  } else if (stopReason === "length") {
    const full = promptIds.length + ids.length > model.contextLength;
    if (full) writeNote(`chat: the context of ${model.contextLength} tokens is full (--context)`);
    else if (!limitGiven) {
      writeNote(`chat: the answer was cut after ${ids.length} tokens (--max-tokens)`);
    }
  }
  return answer;
}
