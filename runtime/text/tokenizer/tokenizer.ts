/**
 * Tokenizers from `tokenizer.json`, the format of the Hugging Face tokenizers library, with the help
 * of `tokenizer_config.json`. Byte-pair encoding (byte-level and SentencePiece), unigram, WordPiece and
 * word lists. Not here: tokenizers in GGUF metadata, which gguf.ts reads.
 *
 * @module
 */

import { FormatError, SparrowError } from "../../../errors.ts";
import { piecesFromJson } from "../decoding/decoder_chain.ts";
import { assembleTokenizer, endTokens } from "./core.ts";
import type { AddedToken, Tokenizer } from "./core.ts";
import {
  countField,
  flagField,
  listField,
  MAX_VOCABULARY,
  objectField,
  optionalText,
  reasonOf,
  textField,
  wrongField,
} from "./fields.ts";
import type { Fields } from "./fields.ts";
import { checkGaps, readModel, readVocabulary } from "./model.ts";
import { normalizerFromJson } from "./normalize.ts";
import { postProcessorFromJson } from "./post.ts";
import { preTokenizerFromJson } from "./split.ts";

export type { EncodeOptions, SurroundedIds, Tokenizer } from "./core.ts";
export type {
  ByteDecoder,
  DecodeOptions,
  StreamOptions,
  TokenDecoder,
} from "../decoding/text_decoder.ts";

/**
 * Builds a tokenizer from the contents of `tokenizer.json`.
 *
 * @param tokenizerJson the parsed file
 * @param tokenizerConfig the parsed `tokenizer_config.json`; it names the begin and end tokens
 * @throws FormatError when the file is malformed or uses a kind that is not supported; the message
 * names the field, what was found and what was expected
 *
 * @example
 * ```ts
 * import { tokenizerFromJson } from "./tokenizer.ts";
 *
 * const tokenizer = await tokenizerFromJson({
 *   model: { type: "BPE", vocab: { h: 0, i: 1, hi: 2 }, merges: [["h", "i"]] },
 *   decoder: { type: "Fuse" },
 * });
 * console.log(tokenizer.encode("hih")); // [2, 0]
 * console.log(tokenizer.decode([2, 0])); // "hih"
 * ```
 */
// deno-lint-ignore require-await -- errors come as rejections
export async function tokenizerFromJson(
  tokenizerJson: unknown,
  tokenizerConfig?: unknown,
): Promise<Tokenizer> {
  try {
    const file = objectField(tokenizerJson, "tokenizer.json");
    const config = tokenizerConfig === undefined || tokenizerConfig === null
      ? {}
      : objectField(tokenizerConfig, "tokenizer_config.json");
    return build(file, config);
  } catch (cause) {
    if (cause instanceof SparrowError) throw cause;
    throw new FormatError(
      `Cannot read the tokenizer: ${reasonOf(cause)}; ` +
        `the file is damaged or of a form that is not supported`,
      { cause },
    );
  }
}

function build(file: Fields, config: Fields): Tokenizer {
  const model = objectField(file.model, "model");
  const vocabulary = readVocabulary(model);
  const added = readAddedTokens(file.added_tokens);
  // Added tokens have ids and texts, but words are never spelled with them.
  const addedIds = new Map(added.map(({ content, id }) => [content, id]));
  const tokens = added.length === 0 ? vocabulary.tokens : vocabulary.tokens.slice();
  for (const { content, id } of added) tokens[id] = content;
  checkGaps(tokens, vocabulary.ids.size + added.length);
  const idOf = (token: string): number | undefined =>
    addedIds.get(token) ?? vocabulary.ids.get(token);
  const preTokenizer = preTokenizerFromJson(file.pre_tokenizer);

  const bosId = namedToken(config, "bos_token", idOf);
  const eosId = namedToken(config, "eos_token", idOf);
  const { pair, ...around } = postProcessorFromJson(file.post_processor);
  let { prefix, suffix } = around;
  const inPair = pair?.flatMap(({ content }) => typeof content === "string" ? [] : content) ?? [];
  for (const id of [...prefix, ...suffix, ...inPair]) {
    if (id >= tokens.length) throw wrongField("post_processor", id, `ids below ${tokens.length}`);
  }
  // The configuration has the last word on a lone begin or end token.
  const isBos = (list: number[]): boolean => list.length === 1 && list[0] === bosId;
  const isEos = (list: number[]): boolean => list.length === 1 && list[0] === eosId;
  if (config.add_bos_token === false && isBos(prefix)) prefix = [];
  if (config.add_eos_token === false && isEos(suffix)) suffix = [];
  if (config.add_bos_token === true && bosId !== undefined && prefix.length === 0) prefix = [bosId];
  if (config.add_eos_token === true && eosId !== undefined && suffix.length === 0) suffix = [eosId];

  const normalize = normalizerFromJson(file.normalizer);
  // As in the original, added tokens that are looked for in normalized text are spelled so too.
  const spelled = tokens.slice();
  for (const { id, content, normalized } of added) if (normalized) spelled[id] = normalize(content);

  return assembleTokenizer({
    tokens,
    idOf,
    added,
    normalize,
    split: preTokenizer.split,
    model: readModel(model, vocabulary, preTokenizer.byteLevel),
    prefix,
    suffix,
    pair,
    pieces: piecesFromJson(file.decoder, {
      tokens: spelled,
      special: new Set(added.filter(({ special }) => special).map(({ id }) => id)),
    }),
    bosId: bosId ?? (prefix.length === 1 ? prefix[0] : undefined),
    eosIds: endTokens([eosId], (name) => addedIds.get(name)),
    unused: unusedSettings(file),
  });
}

function readAddedTokens(value: unknown): AddedToken[] {
  if (value === undefined || value === null) return [];
  return listField(value, "added_tokens").map((entry, i) => {
    const field = `added_tokens[${i}]`;
    const fields = objectField(entry, field);
    const flag = (name: string, fallback = false): boolean =>
      flagField(fields[name], `${field}.${name}`, fallback);
    const content = textField(fields.content, `${field}.content`);
    const special = flag("special");
    return {
      id: countField(fields.id, `${field}.id`, 0, MAX_VOCABULARY),
      content,
      special,
      leftStrip: flag("lstrip"),
      rightStrip: flag("rstrip"),
      singleWord: flag("single_word"),
      normalized: flag("normalized", !special),
    };
  });
}

/** A token named in tokenizer_config.json, as a text or as an object with `content`. */
function namedToken(
  config: Fields,
  name: string,
  idOf: (token: string) => number | undefined,
): number | undefined {
  const value = config[name];
  const content = typeof value === "object" && value !== null ? (value as Fields).content : value;
  const text = optionalText(content, `tokenizer_config.json: ${name}`);
  return text === undefined ? undefined : idOf(text);
}

/**
 * What a tokenizer.json asks for and no text gets, in words: a prompt is never cut or padded, nor encoded
 * by chance.
 */
export function unusedSettings(tokenizerJson: unknown): string[] {
  const isFields = (value: unknown): value is Fields => typeof value === "object" && value !== null;
  if (!isFields(tokenizerJson)) return [];
  const { truncation, padding, model } = tokenizerJson;
  const unused: string[] = [];
  if (isFields(truncation)) unused.push(`truncation${toTokens(truncation.max_length)}`);
  if (isFields(padding)) {
    const { strategy } = padding;
    unused.push(`padding${toTokens(isFields(strategy) ? strategy.Fixed : undefined)}`);
  }
  if (isFields(model) && typeof model.dropout === "number" && model.dropout > 0) {
    unused.push(`a dropout of ${model.dropout}`);
  }
  return unused;
}

function toTokens(count: unknown): string {
  return typeof count === "number" ? ` to ${count} tokens` : "";
}
