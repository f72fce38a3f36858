/**
 * `POST /v1/chat/completions`, as OpenAI describes it
 * (https://platform.openai.com/docs/api-reference/chat).
 *
 * @module
 */

import type { GenerationResult } from "../../mod.ts";
import { z } from "../deps.ts";
import { conversationIds, type TextMessage } from "../conversation.ts";
import { badRequest } from "../errors.ts";
import { SAMPLING } from "../fields.ts";
import {
  type ChoiceEvent,
  finishReason,
  generateRuns,
  resultsOf,
  runsOf,
  samplingOf,
  topOf,
  usageOf,
} from "../generation.ts";
import type { ServedModel } from "../models.ts";
import { logprobEntry, ownToken } from "./logprobs.ts";
import type { Answer } from "../answer.ts";

const TEXT_PART = z.strictObject({
  type: z.literal("text", 'expected "text": other parts are not supported'),
  text: z.string(),
});
const CONTENT = z.union([z.string(), z.array(TEXT_PART).min(1)]);

const MESSAGE = z.discriminatedUnion("role", [
  z.strictObject({
    role: z.enum(["system", "developer", "user"]),
    content: CONTENT,
    name: z.string().nullish(),
  }),
  z.strictObject({
    role: z.literal("assistant"),
    content: CONTENT,
    name: z.string().nullish(),
    refusal: z.null().optional(),
    reasoning_content: z.string().nullish(),
    tool_calls: z.array(z.unknown()).max(0, "tool calls are not supported yet").nullish(),
  }),
]);

/** What a request may say. */
export const CHAT_FIELDS = z.strictObject({
  ...SAMPLING,
  messages: z.array(MESSAGE).min(1),
  max_tokens: z.int().min(0).optional(),
  max_completion_tokens: z.int().min(0).optional(),
  logprobs: z.boolean().optional(),
  top_logprobs: z.int().min(0).max(20).optional(),
  response_format: z.strictObject({
    type: z.literal("text", "only text: a format cannot be held to yet"),
  }).optional(),
  tools: z.array(z.unknown()).max(0, "tools are not supported yet").optional(),
  tool_choice: z.enum(["none", "auto"], "without tools only none and auto mean anything")
    .optional(),
  parallel_tool_calls: z.boolean().optional(),
  chat_template_kwargs: z.record(z.string(), z.unknown()).optional(),
});

/** The fields of a request. */
export type ChatFields = z.output<typeof CHAT_FIELDS>;

/** Answers a conversation. */
export async function answerChat(
  served: ServedModel,
  fields: ChatFields,
  signal: AbortSignal,
): Promise<Answer> {
  const ids = await conversationIds(served, messagesOf(fields), fields.chat_template_kwargs);
  const { n = 1, stream = false, stream_options: streaming } = fields;
  const limit = limitOf(fields), top = topOf(fields);
  const runs = runsOf(ids, {
    ...samplingOf(fields),
    ...(limit !== undefined && { maxTokens: limit }),
    ...(top !== undefined && { logprobs: top }),
  }, n);
  const head = {
    id: `chatcmpl-${crypto.randomUUID()}`,
    object: stream ? "chat.completion.chunk" : "chat.completion",
    created: Math.floor(Date.now() / 1000),
    model: served.name,
  };
  served.sessions.admit(n);
  const events = generateRuns(served, runs, signal);
  if (!stream) return { whole: await whole(head, events, ids, top !== undefined) };
  return { events: chunks(served, head, events, n, ids, streaming?.include_usage === true) };
}

/** The messages as templates take them. */
function messagesOf({ messages }: ChatFields): TextMessage[] {
  return messages.map(({ role, content, ...rest }) => ({
    ...rest,
    role: role === "developer" ? "system" : role,
    content: typeof content === "string" ? content : content.map(({ text }) => text).join("\n"),
  }));
}

function limitOf(
  { max_tokens: old, max_completion_tokens: limit }: ChatFields,
): number | undefined {
  if (old === undefined || limit === undefined || old === limit) return limit ?? old;
  throw badRequest(
    `Cannot answer: max_tokens is ${old} and max_completion_tokens ${limit}; give one of them`,
    { param: "max_tokens" },
  );
}

/** The answer as one object. */
async function whole(
  head: object,
  events: AsyncGenerator<ChoiceEvent, void, void>,
  ids: readonly number[],
  hasLogprobs: boolean,
): Promise<object> {
  const results = await resultsOf(events);
  return {
    ...head,
    choices: results.map(({ text, stopReason, logprobs = [] }, index) => ({
      index,
      message: { role: "assistant", content: text, refusal: null },
      logprobs: hasLogprobs ? { content: logprobs.map(logprobEntry), refusal: null } : null,
      finish_reason: finishReason(stopReason),
    })),
    usage: usageOf(results, [ids]),
  };
}

/** The answer in pieces: who speaks, then text, then why it ends, for each choice. */
async function* chunks(
  served: ServedModel,
  head: object,
  events: AsyncGenerator<ChoiceEvent, void, void>,
  n: number,
  ids: readonly number[],
  includesUsage: boolean,
): AsyncGenerator<object, void, void> {
  const usage = includesUsage ? { usage: null } : {};
  const chunk = (
    index: number,
    delta: object,
    reason: string | null,
    logprobs?: object,
  ): object => ({
    ...head,
    choices: [{ index, delta, logprobs: logprobs ?? null, finish_reason: reason }],
    ...usage,
  });
  const results: GenerationResult[] = [];
  const begun = new Set<number>();
  for await (const { index, event } of events) {
    if (!begun.has(index)) {
      begun.add(index);
      yield chunk(index, { role: "assistant", content: "" }, null);
    }
    if ("result" in event) {
      results.push(event.result);
      yield chunk(index, {}, finishReason(event.result.stopReason));
    } else if (event.logprob !== undefined) {
      const entry = logprobEntry(ownToken(served.model, event));
      yield chunk(index, { content: event.text }, null, { content: [entry], refusal: null });
    } else if (event.text !== "") yield chunk(index, { content: event.text }, null);
  }
  if (includesUsage && results.length === n) {
    yield { ...head, choices: [], usage: usageOf(results, [ids]) };
  }
}
