/**
 * Chat templates: from messages to the prompt that a model was trained on. A template is a Jinja
 * program that comes with the model (`chat_template.jinja` or tokenizer_config.json beside safetensors,
 * `tokenizer.chat_template` in GGUF), so it is untrusted: jinja/ interprets it under a budget of time
 * and memory. Give the pieces of a prompt to `encode` with `{ addSpecial: false }`: templates write their own
 * begin token, and only what they wrote themselves is read as special tokens.
 *
 * @module
 */

import { FormatError, InputError } from "../../errors.ts";
import { plain, quote } from "../../escape.ts";
import { Budget, TemplateError, TemplateLimit, TemplateRefusal } from "./jinja/budget.ts";
import { conversion } from "./jinja/from_javascript.ts";
import { compileTemplate, type Template } from "./jinja/template.ts";
import { own, Text, type TextPiece } from "./jinja/text.ts";
import { Dict, Items, type Value } from "./jinja/values.ts";

export type { TextPiece } from "./jinja/text.ts";

/** One message of a conversation. */
export interface ChatMessage {
  /** Who speaks: "system", "user", "assistant", "tool", or what else the template knows. */
  readonly role: string;
  /** What is said; a list of parts where the template takes one. */
  readonly content?: unknown;
  /** Whatever else the template reads, as `tool_calls`. */
  readonly [field: string]: unknown;
}

/** What the model's files say about the template's surroundings. */
export interface ChatTemplateOptions {
  /** The begin-of-sequence token as text; left out when the model has none. */
  readonly bosToken?: string | undefined;
  /** The end-of-sequence token as text; left out when the model has none. */
  readonly eosToken?: string | undefined;
  /** More tokens by the names that templates know, as `pad_token`; they count as the template's. */
  readonly specialTokens?: Readonly<Record<string, unknown>> | undefined;
  /** The longest time that compiling or rendering may take, in milliseconds. Default 5000. */
  readonly timeLimitMs?: number | undefined;
}

/** What one rendering is given beside the messages. */
export interface RenderOptions {
  /** End with the beginning of an answer, for the model to go on. Default true. */
  readonly addGenerationPrompt?: boolean | undefined;
  /** Tools that the model may call, as JSON schemas of functions. */
  readonly tools?: readonly unknown[] | undefined;
  /** Texts that the answer may draw on, where the template takes them. */
  readonly documents?: readonly unknown[] | undefined;
  /** The time that `strftime_now` tells. Default the present. */
  readonly now?: Date | undefined;
  /** Which of several named templates; default "tool_use" with tools if there is one, else "default". */
  readonly template?: string | undefined;
  /** More variables for the template, as `enable_thinking`. */
  readonly variables?: Readonly<Record<string, unknown>> | undefined;
}

/** A compiled template, or several under names. */
export interface ChatTemplate {
  /** The names that `render` knows; a single template is "default". */
  readonly names: readonly string[];
  /**
   * The prompt for a conversation.
   *
   * @throws InputError when the messages are malformed or the template itself refuses them (the
   * message is then the template's), or when it takes too long or makes too much
   * @throws FormatError when the template fails
   */
  render(messages: readonly ChatMessage[], options?: RenderOptions): string;
  /**
   * The same prompt in pieces that tell who wrote them, the template or the caller, as a tokenizer's
   * `encode` takes them. Errors as `render`.
   */
  pieces(messages: readonly ChatMessage[], options?: RenderOptions): readonly TextPiece[];
}

const MAX_TEMPLATE = 1 << 20; // UTF-16 units
const TIME_LIMIT_MS = 5000;

/**
 * Compiles chat templates.
 *
 * @param source one template; or several, as tokenizer_config.json lists them:
 * `[{ name, template }]`; or nothing, when the model has none
 * @throws InputError when there is no template: the message tells how to go on
 * @throws FormatError when a template does not parse
 *
 * @example
 * ```ts
 * import { chatTemplate } from "./chat_template.ts";
 *
 * const template = await chatTemplate(
 *   "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}" +
 *     "{% if add_generation_prompt %}<assistant>{% endif %}",
 * );
 * const messages = [{ role: "user", content: "Hi" }];
 * console.log(template.render(messages)); // "<user>Hi<assistant>"
 * console.log(template.pieces(messages)[1]); // { text: "Hi", trusted: false }
 * ```
 */
export function chatTemplate(
  source: unknown,
  options: ChatTemplateOptions = {},
): Promise<ChatTemplate> {
  return new Promise((resolve) => resolve(compile(source, options)));
}

function compile(source: unknown, options: ChatTemplateOptions): ChatTemplate {
  const timeMs = options.timeLimitMs ?? TIME_LIMIT_MS;
  const templates = new Map<string, Template>();
  for (const [name, text] of namedSources(source)) {
    try {
      templates.set(name, compileTemplate(text, timeMs));
    } catch (cause) {
      throw templateError(`Cannot compile the chat template ${quote(name)}`, cause);
    }
  }
  const run = (messages: readonly ChatMessage[], renderOptions: RenderOptions): Text =>
    render(chooseTemplate(templates, renderOptions), messages, options, renderOptions);
  return {
    names: [...templates.keys()],
    render: (messages, renderOptions = {}) => run(messages, renderOptions).value,
    pieces: (messages, renderOptions = {}) => run(messages, renderOptions).pieces(),
  };
}

function namedSources(source: unknown): Map<string, string> {
  if (source === undefined || source === null || source === "") {
    throw new InputError(
      "Cannot format a conversation: the model has no chat template; " +
        "pass one of your own, or give the model a plain prompt",
    );
  }
  const named = new Map<string, string>();
  const add = (name: unknown, text: unknown): void => {
    if (typeof name !== "string" || typeof text !== "string" || text.length > MAX_TEMPLATE) {
      throw new FormatError(
        `Cannot read chat_template: found ${typeof text} under the name ${quote(name)}, ` +
          `expected a text of at most ${MAX_TEMPLATE} characters, or a list of { name, template }`,
      );
    }
    named.set(name, text);
  };
  if (!Array.isArray(source)) add("default", source);
  else for (const entry of source) add(entry?.name, entry?.template);
  if (named.size === 0) add("default", undefined);
  return named;
}

function chooseTemplate(
  templates: ReadonlyMap<string, Template>,
  { template, tools }: RenderOptions,
): Template {
  const names = [...templates.keys()];
  const name = template ??
    (tools && templates.has("tool_use") ? "tool_use" : undefined) ??
    (templates.has("default") ? "default" : names[0]);
  const found = templates.get(name);
  if (found === undefined) {
    throw new InputError(
      `Cannot format a conversation: there is no chat template ${quote(name)}, expected one of ` +
        names.map((known) => quote(known)).join(", "),
    );
  }
  return found;
}

function checkMessages(messages: readonly ChatMessage[]): void {
  if (!Array.isArray(messages)) {
    throw new InputError("Cannot format a conversation: expected a list of { role, content }");
  }
  // Not `forEach`, which passes over what a list only has room for.
  for (let i = 0; i < messages.length; i++) {
    const message = messages[i];
    if (typeof message !== "object" || message === null || typeof message.role !== "string") {
      throw new InputError(
        `Cannot format a conversation: message ${i} has no role, expected { role, content }`,
      );
    }
  }
}

function render(
  template: Template,
  messages: readonly ChatMessage[],
  { bosToken, eosToken, specialTokens = {}, timeLimitMs = TIME_LIMIT_MS }: ChatTemplateOptions,
  options: RenderOptions,
): Text {
  checkMessages(messages);
  const { addGenerationPrompt = true, tools, documents, now = new Date() } = options;
  const input = conversion();
  const variables = new Map<string, Value>();
  const tokens = { ...specialTokens, bos_token: bosToken, eos_token: eosToken };
  for (const [name, token] of Object.entries(tokens)) {
    if (token !== undefined && token !== null) {
      variables.set(name, trusted(input.convert(token, name)));
    }
  }
  variables.set("messages", withTrustedRoles(input.convert(messages, "a message"), template));
  // Templates ask `if tools`, some `is not none`: None answers both as "there are none".
  variables.set("tools", input.convert(tools, "a tool"));
  variables.set("documents", input.convert(documents, "a document"));
  variables.set("add_generation_prompt", addGenerationPrompt);
  for (const [name, given] of Object.entries(options.variables ?? {})) {
    if (given === undefined) continue;
    const value = input.convert(given, `the variable ${quote(name)}`);
    variables.set(name, name.endsWith("_token") ? trusted(value) : value);
  }
  const size = input.characters + template.length;
  const budget = new Budget({
    timeMs: timeLimitMs,
    text: LEAST_TEXT + TEXT_PER_CHARACTER * size,
    items: LEAST_ITEMS + ITEMS_PER_ITEM * input.items + ITEMS_PER_CHARACTER * size,
  });
  try {
    return template.render(variables, budget, now);
  } catch (cause) {
    if (cause instanceof TemplateRefusal) {
      throw new InputError(
        `Cannot format a conversation: the chat template refuses it: ${plain(cause.message, 500)}`,
      );
    }
    if (cause instanceof TemplateLimit) {
      throw new InputError(
        `Cannot format a conversation: the chat template ${cause.message}; ` +
          `shorten the conversation or pass another template`,
      );
    }
    throw templateError("Cannot run the chat template", cause);
  }
}

// What a rendering may make, by what it was given: templates repeat messages and tools a few times,
// and write JSON with indentation, but no more.
const LEAST_TEXT = 1 << 20; // UTF-16 units
const TEXT_PER_CHARACTER = 16;
const LEAST_ITEMS = 1 << 20;
const ITEMS_PER_ITEM = 64;
const ITEMS_PER_CHARACTER = 4;

/** A text as the template's own: special tokens that the model's files name. */
function trusted(value: Value): Value {
  if (value instanceof Text) return own(value.value);
  return value instanceof Items ? new Items(value.items.map(trusted), value.type) : value;
}

/** Roles of messages in use. */
const ROLES: ReadonlySet<string> = new Set(
  ("system user assistant tool developer function model human gpt bot ipython environment context " +
    "document documents observation tools tool_call tool_calls tool_response tool_result").split(
      " ",
    ),
);

/**
 * Messages whose roles are the template's: many templates write tokens like `<|user|>` around the role.
 * Only roles in use and those that the template names are: another word could make the end of a turn,
 * as "end" does in `<|{{ message.role }}|>`.
 */
function withTrustedRoles(messages: Value, template: Template): Value {
  if (!(messages instanceof Items)) return messages;
  return new Items(messages.items.map((message) => {
    const role = message instanceof Dict ? message.entries.get("trole") : undefined;
    const word = role?.[1];
    if (!(message instanceof Dict) || !role || !(word instanceof Text)) return message;
    if (!ROLES.has(word.value) && !template.names(word.value)) return message;
    return new Dict(new Map([...message.entries, ["trole", [role[0], own(word.value)]]]));
  }));
}

function templateError(action: string, cause: unknown): Error {
  if (!(cause instanceof TemplateError || cause instanceof TemplateLimit)) return cause as Error;
  const reason = cause instanceof TemplateLimit ? `it ${cause.message}` : cause.message;
  return new FormatError(
    `${action}: ${plain(reason, 500)}; pass a template of your own, or a plain prompt`,
  );
}
