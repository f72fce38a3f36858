/**
 * Whole answers as promises: a generation run to its end, of a prompt or of a conversation.
 *
 * @module
 */

import { InputError, ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { FLAG, isListOf, LIST, OBJECT, readOptions, type Rules, TEXT } from "../../options.ts";
import {
  GENERATE_RULES,
  type GenerateOptions,
  type GenerationResult,
  type Token,
} from "./generate_options.ts";
import type { Prompt } from "../models/prompt.ts";
import type { ChatPrompt } from "./text_session.ts";
import type { ChatMessage, RenderOptions } from "../text/chat_template.ts";

/** Whatever streams a continuation, as `Session.generate` does. */
interface Generating {
  generate(
    prompt: string | readonly number[] | Prompt,
    options?: GenerateOptions,
  ): AsyncGenerator<Token, void, void>;
}

/** How many tokens an answer cost. */
export interface Usage {
  /** Tokens of the prompt. */
  readonly promptTokens: number;
  /** How many of them were still cached from before and not computed again. */
  readonly cachedTokens: number;
  /** Generated tokens, without the stop token. */
  readonly completionTokens: number;
  /** Tokens of prompt and answer. */
  readonly totalTokens: number;
}

/** A whole answer. */
export interface Completion extends GenerationResult {
  /** How many tokens it cost. */
  readonly usage: Usage;
}

/** How to answer a conversation: what generation takes, and what the chat template takes. */
export interface ChatOptions
  extends
    Omit<GenerateOptions, "addSpecial" | "parseSpecial">,
    Omit<RenderOptions, "addGenerationPrompt"> {}

/** A whole answer in a conversation. */
export interface ChatCompletion extends Completion {
  /** The answer as a message, to be appended to the conversation. */
  readonly message: ChatMessage & { readonly role: "assistant"; readonly content: string };
}

/** What each option of a chat template may be. */
export const RENDER_RULES: Rules<RenderOptions> = {
  addGenerationPrompt: FLAG,
  tools: LIST,
  documents: LIST,
  now: { expected: "a Date", accepts: (value) => value instanceof Date && !isNaN(+value) },
  template: TEXT,
  variables: OBJECT,
};

const { addSpecial: _add, parseSpecial: _parse, ...GENERATE_CHAT_RULES } = GENERATE_RULES;
const { addGenerationPrompt: _begin, ...RENDER_CHAT_RULES } = RENDER_RULES;

/** What each option may be. */
const CHAT_RULES: Rules<ChatOptions> = { ...GENERATE_CHAT_RULES, ...RENDER_CHAT_RULES };

/**
 * A copy of a conversation.
 *
 * @throws InputError when it cannot be copied: no list of messages, functions in it, getters that throw
 */
export function readMessages(messages: readonly ChatMessage[]): readonly ChatMessage[] {
  let copy: unknown;
  try {
    copy = structuredClone(messages);
  } catch (cause) {
    throw new InputError("Cannot chat: the messages cannot be read; expected plain values", {
      cause,
    });
  }
  const isList = isListOf(
    copy,
    (it) => OBJECT.accepts(it) && typeof (it as ChatMessage).role === "string",
  );
  if (!isList) {
    throw new InputError(
      `Cannot chat with messages ${quote(messages)}: expected a list of { role, content }`,
    );
  }
  return copy as readonly ChatMessage[];
}

/** Runs a generation to its end; see `Session.complete`. */
export async function complete(
  session: Generating,
  prompt: string | readonly number[] | Prompt,
  options: GenerateOptions,
): Promise<Completion> {
  const given = readOptions("generate", options, GENERATE_RULES);
  let result: GenerationResult | undefined;
  const stream = session.generate(prompt, {
    ...given,
    onFinish: (it) => {
      result = it;
      given.onFinish?.(it);
    },
  });
  let next = await stream.next();
  while (!next.done) next = await stream.next();
  if (!result) throw new InputError("Cannot generate: it ended before it began");
  const { promptIds, reusedTokens, ids } = result;
  const usage = {
    promptTokens: promptIds.length,
    cachedTokens: reusedTokens,
    completionTokens: ids.length,
    totalTokens: promptIds.length + ids.length,
  };
  return { ...result, usage };
}

/** Answers a conversation; see `Session.chat`. */
export async function chat(
  session: Generating,
  chatPrompt: ChatPrompt | undefined,
  messages: readonly ChatMessage[],
  options: ChatOptions,
): Promise<ChatCompletion> {
  const [render, generation] = divide(options);
  const answer = await complete(session, await promptOf(chatPrompt, messages, render), generation);
  return { ...answer, message: { role: "assistant", content: answer.text } };
}

/** Streams an answer; see `Session.chatStream`. */
export async function* chatStream(
  session: Generating,
  chatPrompt: ChatPrompt | undefined,
  messages: readonly ChatMessage[],
  options: ChatOptions,
): AsyncGenerator<Token, void, void> {
  const [render, generation] = divide(options);
  yield* session.generate(await promptOf(chatPrompt, messages, render), generation);
}

async function promptOf(
  chatPrompt: ChatPrompt | undefined,
  messages: readonly ChatMessage[],
  options: RenderOptions,
): Promise<number[]> {
  if (!chatPrompt) {
    throw new ModelError("Cannot chat: the model came without a chat template; use generate");
  }
  return await chatPrompt(messages, options);
}

/** The options of the template, and those of generation. */
function divide(options: ChatOptions): [RenderOptions, GenerateOptions] {
  const given = Object.entries(readOptions("chat", options, CHAT_RULES));
  const isOfTemplate = ([name]: [string, unknown]): boolean => Object.hasOwn(RENDER_RULES, name);
  return [
    Object.fromEntries(given.filter(isOfTemplate)),
    Object.fromEntries(given.filter((entry) => !isOfTemplate(entry))),
  ];
}
