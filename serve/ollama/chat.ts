/**
 * `POST /api/chat`, as Ollama describes it (https://github.com/ollama/ollama/blob/main/docs/api.md).
 *
 * @module
 */

import type { Answer } from "../answer.ts";
import { conversationIds } from "../conversation.ts";
import { z } from "../deps.ts";
import type { ServedModel } from "../models.ts";
import { COMMON, ollamaOptions } from "./options.ts";
import { answerOllama } from "./pieces.ts";

const NO_CALLS = "tools are not supported yet", NO_IMAGES = "images are not supported";

const MESSAGE = z.strictObject({
  role: z.enum(["system", "user", "assistant"]),
  content: z.string(),
  images: z.array(z.unknown()).max(0, NO_IMAGES).nullish(),
  tool_calls: z.array(z.unknown()).max(0, NO_CALLS).nullish(),
});

/** What a request may say. */
export const OLLAMA_CHAT_FIELDS = z.strictObject({
  ...COMMON,
  messages: z.array(MESSAGE).min(1),
  tools: z.array(z.unknown()).max(0, NO_CALLS).optional(),
});

/** Answers a conversation. */
export async function answerOllamaChat(
  served: ServedModel,
  fields: z.output<typeof OLLAMA_CHAT_FIELDS>,
  signal: AbortSignal,
): Promise<Answer> {
  const messages = fields.messages.map(({ role, content }) => ({ role, content }));
  const variables = fields.think === false ? { enable_thinking: false } : undefined;
  const ids = await conversationIds(served, messages, variables);
  const wrap = (content: string): object => ({ message: { role: "assistant", content } });
  const options = ollamaOptions(served, fields);
  return await answerOllama(served, ids, options, fields.stream ?? true, wrap, signal);
}
