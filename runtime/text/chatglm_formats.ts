/**
 * The chat formats of ChatGLM-6B, ChatGLM2, ChatGLM3 and GLM-4, for files without a chat template: their
 * authors published them as code. Which one a model has is told by its tokens. They are written as
 * templates, so that only what a format writes is read as special tokens.
 *
 * Source: the `chat` and `build_prompt` functions published with each model.
 *
 * @module
 */

import type { Tokenizer } from "./tokenizer/core.ts";

/** Rounds of question and answer take turns, and there is no other role. */
const TURNS = "{% if message.role != ('assistant' if loop.index0 % 2 else 'user') %}" +
  "{{ raise_exception('messages take turns: user, assistant, user; there is no ' ~ " +
  "'other role in this format') }}{% endif %}";

/** Rounds from a number on; `gap` is what stands between their parts. */
const rounds = (first: number, gap: string): string =>
  `{% for message in messages %}${TURNS}{% if message.role == 'user' %}` +
  `{{ '[Round ' ~ (loop.index0 // 2 + ${first}) ~ ']${gap}问：' }}{{ message.content }}` +
  `{{ '${gap}答：' }}{% else %}{{ message.content }}{{ '${gap}' }}{% endif %}{% endfor %}`;

/** A lone question is asked as it is; the prompt ends in the tokens that begin an answer. */
const CHATGLM = "{% if messages | length == 1 and messages[0].role == 'user' %}" +
  `{{ messages[0].content }}{% else %}${rounds(0, "\\n")}{% endif %}` +
  "{% if add_generation_prompt %}[gMASK]<sop>{% endif %}";

const CHATGLM2 = `[gMASK]sop${rounds(1, "\\n\\n")}`;

/** Roles are tokens. What a turn begins with depends on how its text was made to tokens. */
const roles = (start: string, before: string): string =>
  "{% for message in messages %}" +
  "{% if message.role not in ['system', 'user', 'assistant', 'observation'] %}" +
  "{{ raise_exception('the roles of this format are system, user, assistant and observation') }}" +
  `{% endif %}{% if loop.first %}${start}{% endif %}` +
  `<|{{ message.role }}|>{{ '${before}' }}{{ message.content }}{% endfor %}` +
  "{% if add_generation_prompt %}<|assistant|>{% endif %}";

// The line break and the message were encoded apart, each with a space before it.
const CHATGLM3 = roles("[gMASK]sop", "\\n ");
const GLM4 = roles("[gMASK]<sop>", "\\n");

/**
 * The chat format of a ChatGLM or GLM-4 model, as a template; undefined for other models.
 *
 * @param family `model_type` of config.json, or `general.architecture` of GGUF
 * @param tokenizer the model's
 */
export function chatglmFormat(family: unknown, tokenizer: Tokenizer): string | undefined {
  if (family !== "chatglm" && family !== "glm" && family !== "glm4") return undefined;
  const has = (token: string): boolean => tokenizer.tokenToId(token) !== undefined;
  if (!has("[gMASK]")) return undefined;
  if (has("<|user|>")) return has("<sop>") ? GLM4 : has("sop") ? CHATGLM3 : undefined;
  if (has("sop")) return CHATGLM2;
  return has("<sop>") ? CHATGLM : undefined;
}
