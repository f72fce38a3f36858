/**
 * `POST /api/generate`, as Ollama describes it (https://github.com/ollama/ollama/blob/main/docs/api.md): a
 * prompt is a message for a model that has a chat template, and goes on as it is with `raw` or without
 * one.
 *
 * @module
 */

import type { Answer } from "../answer.ts";
import { conversationIds } from "../conversation.ts";
import { z } from "../deps.ts";
import { badRequest, refusalOf } from "../errors.ts";
import { checkLength, checkPrompt } from "../generation.ts";
import type { ServedModel } from "../models.ts";
import { COMMON, ollamaOptions } from "./options.ts";
import { answerOllama } from "./pieces.ts";

/** What a request may say. */
export const GENERATE_FIELDS = z.strictObject({
  ...COMMON,
  prompt: z.string().optional(),
  system: z.string().optional(),
  raw: z.boolean().optional(),
  suffix: z.literal("", "texts cannot be filled in between").optional(),
  template: z.literal("", "the model's own template is used").optional(),
  images: z.array(z.unknown()).max(0, "images are not supported").optional(),
});

/** Continues a prompt, or answers it. */
export async function answerGenerate(
  served: ServedModel,
  fields: z.output<typeof GENERATE_FIELDS>,
  signal: AbortSignal,
): Promise<Answer> {
  const options = ollamaOptions(served, fields);
  const wrap = (response: string): object => ({ response });
  const ids = await promptIds(served, fields);
  return await answerOllama(served, ids, options, fields.stream ?? true, wrap, signal);
}

async function promptIds(
  served: ServedModel,
  { prompt = "", system, raw = false, think }: z.output<typeof GENERATE_FIELDS>,
): Promise<readonly number[]> {
  const { model } = served;
  if (!raw && model.hasChatTemplate) {
    const user = { role: "user", content: prompt };
    const messages = system === undefined ? [user] : [{ role: "system", content: system }, user];
    const variables = think === false ? { enable_thinking: false } : undefined;
    return await conversationIds(served, messages, variables);
  }
  if (system !== undefined) {
    throw badRequest(
      "Cannot answer with a system message: the prompt goes on as it is, because it is raw or the " +
        "model has no chat template",
      { param: "system" },
    );
  }
  if (model.hasTokenizer) checkLength(served, prompt.length, "prompt");
  try {
    const ids = model.tokenizer.encode(prompt);
    checkPrompt(served, ids, "prompt");
    return ids;
  } catch (error) {
    throw refusalOf(error);
  }
}
