/**
 * A conversation: who said what, how it becomes a prompt, and its form in a file.
 *
 * @module
 */

import { type ChatMessage, FormatError, InputError, type Model } from "../../mod.ts";
import { quote } from "../../escape.ts";

/** What has been said. Messages of the user and the model follow each other. */
export interface Conversation {
  /** Instructions at the start, or undefined where there are none. */
  system: string | undefined;
  /** Questions and answers, oldest first. */
  messages: ChatMessage[];
}

/**
 * The prompt whose continuation is the next answer: token ids from the chat template of the model, or,
 * for a model without one, the text so far, in which each message of the user begins a line.
 *
 * @throws InputError when the template refuses the messages
 */
export async function promptOf(
  model: Model,
  { system, messages }: Conversation,
): Promise<string | readonly number[]> {
  if (!model.hasChatTemplate) return textOf(messages);
  const opening: ChatMessage[] = system === undefined ? [] : [{ role: "system", content: system }];
  return await model.chatPrompt([...opening, ...messages]);
}

/** Messages as one text, for a model that only continues. */
export function textOf(messages: readonly ChatMessage[]): string {
  let text = "";
  for (const { role, content } of messages) {
    if (role === "user" && text !== "" && !text.endsWith("\n")) text += "\n";
    text += content;
  }
  return text;
}

/** A conversation as `/save` writes it: JSON with a list of messages, as model servers take it. */
export function toJson({ system, messages }: Conversation): string {
  const all = system === undefined ? messages : [{ role: "system", content: system }, ...messages];
  return JSON.stringify({ messages: all }, null, 2) + "\n";
}

/**
 * The conversation in what `/save` wrote.
 *
 * @throws FormatError when it is no such file
 */
export function fromJson(text: string, name: string): Conversation {
  const refuse = (found: string): FormatError =>
    new FormatError(
      `Cannot load the conversation ${quote(name)}: ${found}, expected what /save writes: ` +
        `{"messages": [{"role": "user", "content": "…"}, …]}`,
    );
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw refuse("it is not JSON");
  }
  const list = (value as { messages?: unknown } | null)?.messages;
  if (!Array.isArray(list)) throw refuse("it has no list of messages");
  const messages: ChatMessage[] = list.map((it, i) => {
    if (!isMessage(it)) throw refuse(`message ${i} is ${quote(it)}`);
    return { role: it.role, content: it.content };
  });
  const system = messages[0]?.role === "system" ? messages.shift()!.content : undefined;
  messages.forEach(({ role }, i) => {
    const wanted = i % 2 === 0 ? "user" : "assistant";
    if (role !== wanted) throw refuse(`found a message of ${quote(role)} where ${wanted} follows`);
  });
  if (messages.length % 2 === 1) throw refuse("the last question has no answer");
  return { system: system as string | undefined, messages };
}

function isMessage(value: unknown): value is { role: string; content: string } {
  const { role, content } = Object(value) as Record<string, unknown>;
  return typeof role === "string" && typeof content === "string";
}

/** Takes the last answer away, so that its question can be answered again. */
export function withoutAnswer(conversation: Conversation): void {
  if (conversation.messages.at(-1)?.role !== "assistant") {
    throw new InputError("Cannot answer again: there is no answer yet");
  }
  conversation.messages.pop();
}
