/**
 * Conversations as prompts, by the chat template that came with a model.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { readOptions } from "../../options.ts";
import type {
  ChatMessage,
  ChatTemplate,
  ChatTemplateOptions,
  RenderOptions,
} from "../text/chat_template.ts";
import type { Tokenizer } from "../text/tokenizer/tokenizer.ts";
import { readMessages, RENDER_RULES } from "./complete.ts";

/** What a model's files say of conversations. */
export interface ChatFacts {
  /** Path or URL. */
  readonly name: string;
  /** One Jinja program or several under names, as the files have them. */
  readonly chatTemplate: unknown;
  /** Special tokens by the names that templates know. */
  readonly specialTokens?: Readonly<Record<string, unknown>> | undefined;
}

/** Makes token ids of a conversation. Errors as `Model.chatPrompt`. */
export type ChatPrompter = (
  conversation: readonly ChatMessage[],
  options: RenderOptions,
) => Promise<number[]>;

/** The prompter of a model, which compiles the template when it is first needed. */
export function chatPrompter(facts: ChatFacts, tokenizerOf: () => Tokenizer): ChatPrompter {
  let template: Promise<ChatTemplate> | undefined;
  return async (conversation, given) => {
    const messages = readMessages(conversation);
    const options = readOptions("chat", given, RENDER_RULES);
    const { name, chatTemplate: source, specialTokens = {} } = facts;
    if (source === undefined || source === null) {
      throw new ModelError(
        `Cannot chat with ${quote(name)}: it came without a chat template; use generate`,
      );
    }
    const tokenizer = tokenizerOf();
    const token = (id: number | undefined): string | undefined =>
      id === undefined ? undefined : tokenizer.idToToken(id);
    template ??= compileTemplate(source, {
      bosToken: specialTokens.bos_token as string | undefined ?? token(tokenizer.bosId),
      eosToken: specialTokens.eos_token as string | undefined ?? token(tokenizer.eosIds[0]),
      specialTokens,
    });
    const pieces = (await template).pieces(messages, options);
    return tokenizer.encode(pieces, { addSpecial: false });
  };
}

/** The interpreter of templates is loaded with the first conversation. */
async function compileTemplate(
  source: unknown,
  options: ChatTemplateOptions,
): Promise<ChatTemplate> {
  const { chatTemplate } = await import("../text/chat_template.ts");
  return await chatTemplate(source, options);
}
