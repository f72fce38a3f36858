/**
 * What a model's files say about text: its tokenizer, its chat template, the tokens that end an
 * answer.
 *
 * @module
 */

import { quote } from "../../escape.ts";
import { checkedTokenizer } from "./tokenizer/checked.ts";
import { chatglmFormat } from "./chatglm_formats.ts";
import type { ModelFile } from "../files/model_file.ts";
import { type Tokenizer, tokenizerFromJson, unusedSettings } from "./tokenizer/tokenizer.ts";
import { tokenizerFromGguf } from "./tokenizer/gguf.ts";

/** The text side of a model. */
export interface ModelText {
  /** Text to tokens and back. */
  readonly tokenizer: Tokenizer;
  /** What `chatTemplate` compiles: the files' own, else the family's; undefined where there is none. */
  readonly chatTemplate: unknown;
  /** Special tokens by the names that templates know, as `pad_token`. */
  readonly specialTokens: Readonly<Record<string, unknown>>;
}

/**
 * Reads the tokenizer of a model file; undefined for a model that came without one.
 *
 * @throws FormatError when the tokenizer is damaged or of a kind that is not supported
 */
export async function readModelText(file: ModelFile): Promise<ModelText | undefined> {
  if (file.format === "gguf") {
    if (file.metadata["tokenizer.ggml.tokens"] === undefined) return undefined;
    const tokenizer = await tokenizerFromGguf(file.metadata);
    const family = file.metadata["general.architecture"];
    return {
      tokenizer: checkedTokenizer(tokenizer),
      chatTemplate: ggufChatTemplates(file.metadata) ?? chatglmFormat(family, tokenizer),
      specialTokens: ggufSpecialTokens(file.metadata),
    };
  }
  const tokenizer = await folderTokenizer(file);
  if (!tokenizer) return undefined;
  return {
    tokenizer: checkedTokenizer(tokenizer),
    chatTemplate: chosenTemplate(file) ?? chatglmFormat(file.metadata.model_type, tokenizer),
    specialTokens: configuredTokens(file.tokenizerConfig ?? {}),
  };
}

/** What the tokenizer of a folder is read from. */
export type TokenizerSource = Pick<
  ModelFile,
  "name" | "metadata" | "tokenizerJson" | "tokenizerConfig" | "tokenizerFiles"
>;

/** The tokenizer of a folder: of its `tokenizer.json`, else of the files of its class. */
export async function folderTokenizer(file: TokenizerSource): Promise<Tokenizer | undefined> {
  const { tokenizerJson, tokenizerFiles: files, tokenizerConfig: config = {} } = file;
  if (tokenizerJson !== undefined) return await tokenizerFromJson(tokenizerJson, config);
  if (!files) return undefined;
  const { tokenizerFromFolder } = await import("./tokenizer/published/kinds.ts");
  return await tokenizerFromFolder({ name: file.name, files, config, model: file.metadata });
}

/**
 * The tokenizer that a folder without tokenizer.json has, in words; undefined for other models.
 *
 * @throws FormatError when it is damaged or of a kind that is not supported
 */
export async function describeTokenizer(file: ModelFile): Promise<string | undefined> {
  const { name, tokenizerFiles: files, tokenizerConfig: config = {}, metadata: model } = file;
  if (!files) return undefined;
  const { describeFolder } = await import("./tokenizer/published/kinds.ts");
  const kind = describeFolder({ name, files, config, model });
  const tokenizer = kind && await folderTokenizer(file);
  return tokenizer ? `${kind}, ${tokenizer.vocabSize} tokens` : undefined;
}

/** Files of their own stand before tokenizer_config.json, as transformers has it. */
function chosenTemplate({ chatTemplates, tokenizerConfig }: ModelFile): unknown {
  if (chatTemplates && chatTemplates.files.length > 0) return chatTemplates.files;
  return tokenizerConfig?.chat_template ?? chatTemplates?.legacy;
}

const TOKEN_NAMES = ["unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/** The tokens that tokenizer_config.json names, as texts. */
function configuredTokens(config: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const textOf = (value: unknown): unknown =>
    typeof value === "object" && value !== null ? (value as { content?: unknown }).content : value;
  const tokens: Record<string, unknown> = {};
  for (const name of [...TOKEN_NAMES, "bos_token", "eos_token"]) {
    const text = textOf(config[name]);
    if (typeof text === "string") tokens[name] = text;
  }
  const more = config.additional_special_tokens ?? config.extra_special_tokens;
  if (Array.isArray(more) && more.length > 0) {
    tokens.additional_special_tokens = more.map(textOf).filter((text) => typeof text === "string");
  }
  return tokens;
}

const GGUF_TOKENS: Readonly<Record<string, string>> = {
  unk_token: "unknown_token_id",
  sep_token: "seperator_token_id", // spelled so in the format
  pad_token: "padding_token_id",
  cls_token: "cls_token_id",
  mask_token: "mask_token_id",
};

/** The tokens that GGUF metadata names, as texts. */
function ggufSpecialTokens(metadata: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const list = metadata["tokenizer.ggml.tokens"];
  const found: Record<string, unknown> = {};
  for (const [name, key] of Object.entries(GGUF_TOKENS)) {
    const id = metadata[`tokenizer.ggml.${key}`];
    const text = Array.isArray(list) && typeof id === "number" ? list[id] : undefined;
    if (typeof text === "string") found[name] = text;
  }
  return found;
}

/** What a model's tokenizer files ask for and no text gets, as sentences; usually none. */
export async function unusedTextSettings(file: TokenizerSource): Promise<string[]> {
  const { name, tokenizerJson, tokenizerFiles: files, tokenizerConfig: config = {} } = file;
  if (tokenizerJson === undefined && files) {
    const { folderNotes } = await import("./tokenizer/published/kinds.ts");
    return folderNotes({ name, files, config, model: file.metadata });
  }
  const unused = unusedSettings(file.tokenizerJson);
  if (unused.length === 0) return [];
  return [
    `The tokenizer.json of ${quote(file.name)} asks for ${unused.join(", ")}: texts are encoded ` +
    `whole, without it`,
  ];
}

/**
 * A model often has more rows than its tokenizer has tokens, because their number is rounded up: in
 * published models up to 2.3 % of them (DeepSeek LLM, 102,400 for 100,015). More than this are no padding.
 */
const MOST_PADDING = { rows: 1024, part: 1 / 16 };

/**
 * Whether a tokenizer gives ids for which a model has no row, or has so few that it may be another
 * model's, as sentences; usually none.
 *
 * @param name path or URL of the model
 * @param rows words of the model
 */
export function tokenizerMismatch(name: string, tokenizer: Tokenizer, rows: number): string[] {
  const { vocabSize } = tokenizer, more = vocabSize - rows;
  if (more > 0) {
    return [
      `The tokenizer of ${quote(name)} has ${vocabSize} tokens, but the model has rows for ` +
      `${rows}: a text with one of the last ${more} (from ${quote(tokenizer.idToToken(rows))} ` +
      `on) is refused`,
    ];
  }
  if (-more <= Math.max(MOST_PADDING.rows, rows * MOST_PADDING.part)) return [];
  return [
    `The tokenizer of ${
      quote(name)
    } has ${vocabSize} tokens, but the model has rows for ${rows}: ` +
    `it may be the tokenizer of another model, with which texts mean nothing`,
  ];
}

/** Tokens that end an answer: the tokenizer's, and those of the generation configuration. */
export function stopIdsOf(file: ModelFile, tokenizer: Tokenizer | undefined): readonly number[] {
  const listed = file.generationConfig?.eos_token_id ?? file.metadata.eos_token_id;
  const ids = (Array.isArray(listed) ? listed : [listed]).filter((id) => Number.isInteger(id));
  return Array.from(new Set([...(tokenizer?.eosIds ?? []), ...ids]));
}

/**
 * The chat templates in GGUF metadata, as `chatTemplate` takes them: `tokenizer.chat_template`
 * is "default", `tokenizer.chat_template.NAME` has a name. Undefined when there are none.
 */
export function ggufChatTemplates(metadata: Readonly<Record<string, unknown>>): unknown {
  const key = "tokenizer.chat_template";
  const named = Object.entries(metadata)
    .filter(([name]) => name === key || name.startsWith(`${key}.`))
    .map(([name, template]) => ({ name: name.slice(key.length + 1) || "default", template }));
  return named.length > 0 ? named : undefined;
}
