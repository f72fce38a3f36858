/**
 * Chat templates: from messages to the prompt that a model was trained on. A template is a Jinja
 * program that comes with the model (`chat_template` in tokenizer_config.json, `tokenizer.chat_template`
 * in GGUF), so it is untrusted: `@huggingface/jinja` interprets it under the bounds of
 * template_interpreter.ts. Encode the result with `{ addSpecial: false, parseSpecial: true }`: templates write
 * their own begin token.
 *
 * @module
 */

import { FormatError, InputError, SparrowError } from "../../errors.ts";
import { plain, quote } from "../../escape.ts";
import { loadJinjaLibrary } from "../deps.ts";
import type { JinjaLibrary } from "../deps.ts";
import { reasonOf } from "./tokenizer_fields.ts";
import { boundedInterpreter, boundedRange, formatTime } from "./template_interpreter.ts";

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
  /** The begin-of-sequence token as text; "" when the model has none. */
  readonly bosToken?: string | undefined;
  /** The end-of-sequence token as text; "" when the model has none. */
  readonly eosToken?: string | undefined;
  /** The longest time that rendering may take, in milliseconds. Default 5000. */
  readonly timeLimitMs?: number | undefined;
}

/** What one rendering is given beside the messages. */
export interface RenderOptions {
  /** End with the beginning of an answer, for the model to go on. Default true. */
  readonly addGenerationPrompt?: boolean | undefined;
  /** Tools that the model may call, as JSON schemas of functions. */
  readonly tools?: readonly unknown[] | undefined;
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
   * message is then the template's), or when it takes too long
   * @throws FormatError when the template fails
   */
  render(messages: readonly ChatMessage[], options?: RenderOptions): string;
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
 * console.log(template.render([{ role: "user", content: "Hi" }])); // "<user>Hi<assistant>"
 * ```
 */
export async function chatTemplate(
  source: unknown,
  options: ChatTemplateOptions = {},
): Promise<ChatTemplate> {
  const sources = namedSources(source);
  const library = await loadJinjaLibrary();
  const programs = new Map<string, Program>();
  for (const [name, text] of sources) {
    try {
      programs.set(
        name,
        library.parse(library.tokenize(text, { lstrip_blocks: true, trim_blocks: true })),
      );
    } catch (cause) {
      throw templateError(`Cannot compile the chat template ${quote(name)}`, cause);
    }
  }
  return {
    names: [...programs.keys()],
    render(messages, renderOptions = {}) {
      const program = chooseProgram(programs, renderOptions);
      return run(library, program, checkMessages(messages), options, renderOptions);
    },
  };
}

type Program = ReturnType<JinjaLibrary["parse"]>;

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

function chooseProgram(
  programs: ReadonlyMap<string, Program>,
  { template, tools }: RenderOptions,
): Program {
  const names = [...programs.keys()];
  const name = template ??
    (tools && programs.has("tool_use") ? "tool_use" : undefined) ??
    (programs.has("default") ? "default" : names[0]);
  const program = programs.get(name);
  if (program === undefined) {
    throw new InputError(
      `Cannot format a conversation: there is no chat template ${quote(name)}, expected one of ` +
        names.map((known) => `${quote(known)}`).join(", "),
    );
  }
  return program;
}

function checkMessages(messages: readonly ChatMessage[]): readonly ChatMessage[] {
  if (!Array.isArray(messages)) {
    throw new InputError("Cannot format a conversation: expected a list of { role, content }");
  }
  messages.forEach((message, i) => {
    if (typeof message !== "object" || message === null || typeof message.role !== "string") {
      throw new InputError(
        `Cannot format a conversation: message ${i} has no role, expected { role, content }`,
      );
    }
  });
  return messages;
}

/** What a template's own `raise_exception` throws; it passes through the interpreter unchanged. */
class TemplateRefusal extends Error {}

function run(
  library: JinjaLibrary,
  program: Program,
  messages: readonly ChatMessage[],
  options: ChatTemplateOptions,
  { addGenerationPrompt = true, tools, now = new Date(), variables = {} }: RenderOptions,
): string {
  const scope = new library.Environment();
  const set = (values: Readonly<Record<string, unknown>>): void => {
    for (const [name, value] of Object.entries(values)) scope.set(name, value);
  };
  try {
    const own = {
      true: true,
      True: true,
      false: false,
      False: false,
      none: null,
      None: null,
      raise_exception: (message: unknown) => {
        throw new TemplateRefusal(String(message));
      },
      range: boundedRange,
      strftime_now: (format: unknown) => formatTime(now, String(format)),
      messages,
      add_generation_prompt: addGenerationPrompt,
      bos_token: options.bosToken ?? "",
      eos_token: options.eosToken ?? "",
      // Templates ask `if tools`, some `is not none`: null answers both as "there are none".
      tools: tools ?? null,
      documents: null,
    };
    set(
      Object.fromEntries(Object.entries(own).filter(([name]) => !Object.hasOwn(variables, name))),
    );
    set(variables);
    const interpreter = boundedInterpreter(library, scope, options.timeLimitMs ?? TIME_LIMIT_MS);
    return String(interpreter.run(program).value);
  } catch (cause) {
    if (cause instanceof SparrowError) throw cause;
    if (cause instanceof TemplateRefusal) {
      throw new InputError(
        `Cannot format a conversation: the chat template refuses it: ${plain(cause.message, 500)}`,
        { cause },
      );
    }
    throw templateError("Cannot run the chat template", cause);
  }
}

function templateError(action: string, cause: unknown): FormatError {
  return new FormatError(
    `${action}: ${reasonOf(cause)}; pass a template of your own, or a plain prompt`,
    { cause },
  );
}

/**
 * The chat templates in GGUF metadata, as {@linkcode chatTemplate} takes them: `tokenizer.chat_template`
 * is "default", `tokenizer.chat_template.NAME` has a name. Undefined when there are none.
 */
export function ggufChatTemplates(metadata: Readonly<Record<string, unknown>>): unknown {
  const key = "tokenizer.chat_template";
  const named = Object.entries(metadata)
    .filter(([name]) => name === key || name.startsWith(`${key}.`))
    .map(([name, template]) => ({ name: name.slice(key.length + 1) || "default", template }));
  return named.length > 0 ? named : undefined;
}
