/**
 * From the messages of a request to token ids.
 *
 * @module
 */

import type { ChatMessage } from "../mod.ts";
import { badRequest, refusalOf } from "./errors.ts";
import { checkLength, checkPrompt } from "./generation.ts";
import type { ServedModel } from "./models.ts";

/** A message whose content is a text. */
export interface TextMessage extends ChatMessage {
  readonly content: string;
}

/**
 * Token ids of a conversation, by the model's chat template. A last message of the assistant is a
 * beginning, which is gone on with.
 *
 * @throws ApiError 400 when the template refuses the messages, or they do not fit
 */
export async function conversationIds(
  served: ServedModel,
  messages: readonly TextMessage[],
  variables: Readonly<Record<string, unknown>> | undefined,
): Promise<readonly number[]> {
  const { model } = served, isBegun = messages.at(-1)?.role === "assistant";
  const said = isBegun ? messages.slice(0, -1) : messages;
  if (said.length === 0) {
    throw badRequest("Cannot answer: there is no message but the assistant's own", {
      param: "messages",
    });
  }
  checkLength(served, messages.reduce((sum, it) => sum + it.content.length, 0), "messages");
  try {
    const ids = await model.chatPrompt(said, variables ? { variables } : {});
    if (isBegun) {
      ids.push(...model.tokenizer.encode(messages.at(-1)!.content, { addSpecial: false }));
    }
    checkPrompt(served, ids, "messages");
    return ids;
  } catch (error) {
    throw refusalOf(error);
  }
}
