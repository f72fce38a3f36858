/**
 * Tokenizers from `tokenizer.json`, the format of the Hugging Face tokenizers library, with the help
 * of `tokenizer_config.json`. Byte-pair encoding (byte-level and SentencePiece), unigram, WordPiece and
 * word lists. Not here: tokenizers in GGUF metadata, which tokenizer_gguf.ts reads.
 *
 * @module
 */

import { FormatError, SparrowError } from "../../errors.ts";
import { loadTokenizersLibrary } from "../deps.ts";
import type { TokenizersLibrary } from "../deps.ts";
import { piecesFromJson } from "./text_decoder.ts";
import { assembleTokenizer, endTokens } from "./tokenizer_core.ts";
import type { AddedToken, Tokenizer } from "./tokenizer_core.ts";
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
} from "./tokenizer_fields.ts";
import type { Fields } from "./tokenizer_fields.ts";
import { checkGaps, readModel, readVocabulary, tokenId } from "./tokenizer_model.ts";
import type { Vocabulary } from "./tokenizer_model.ts";
import { normalizerFromJson } from "./tokenizer_normalize.ts";
import { preTokenizerFromJson } from "./tokenizer_split.ts";

export type { EncodeOptions, Tokenizer } from "./tokenizer_core.ts";
export type { DecodeOptions, StreamOptions, TokenDecoder } from "./text_decoder.ts";

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
export async function tokenizerFromJson(
  tokenizerJson: unknown,
  tokenizerConfig?: unknown,
): Promise<Tokenizer> {
  const library = await loadTokenizersLibrary();
  try {
    const file = objectField(tokenizerJson, "tokenizer.json");
    const config = tokenizerConfig === undefined || tokenizerConfig === null
      ? {}
      : objectField(tokenizerConfig, "tokenizer_config.json");
    return build(library, file, config);
  } catch (cause) {
    if (cause instanceof SparrowError) throw cause;
    throw new FormatError(
      `Cannot read the tokenizer: ${reasonOf(cause)}; ` +
        `the file is damaged or of a form that is not supported`,
      { cause },
    );
  }
}

function build(library: TokenizersLibrary, file: Fields, config: Fields): Tokenizer {
  const model = objectField(file.model, "model");
  const vocabulary = readVocabulary(model);
  const added = readAddedTokens(file.added_tokens, vocabulary);
  checkGaps(vocabulary);
  const { tokens, ids } = vocabulary;
  const preTokenizer = preTokenizerFromJson(library, file.pre_tokenizer);

  const bosId = namedToken(config, "bos_token", ids);
  const eosId = namedToken(config, "eos_token", ids);
  let { prefix, suffix } = specialsAround(library, file.post_processor, ids);
  // The configuration has the last word on a lone begin or end token.
  const isBos = (list: number[]): boolean => list.length === 1 && list[0] === bosId;
  const isEos = (list: number[]): boolean => list.length === 1 && list[0] === eosId;
  if (config.add_bos_token === false && isBos(prefix)) prefix = [];
  if (config.add_eos_token === false && isEos(suffix)) suffix = [];
  if (config.add_bos_token === true && bosId !== undefined && prefix.length === 0) prefix = [bosId];
  if (config.add_eos_token === true && eosId !== undefined && suffix.length === 0) suffix = [eosId];

  return assembleTokenizer({
    tokens,
    ids,
    added,
    normalize: normalizerFromJson(library, file.normalizer),
    split: preTokenizer.split,
    model: readModel(model, vocabulary, preTokenizer.byteLevel),
    prefix,
    suffix,
    pieces: piecesFromJson(library, file.decoder, {
      tokens,
      added: new Set(added.map(({ id }) => id)),
      special: new Set(added.filter(({ special }) => special).map(({ id }) => id)),
    }),
    bosId: bosId ?? (prefix.length === 1 ? prefix[0] : undefined),
    eosIds: endTokens([eosId], (name) => added.find(({ content }) => content === name)?.id),
  });
}

function readAddedTokens(value: unknown, vocabulary: Vocabulary): AddedToken[] {
  if (value === undefined || value === null) return [];
  return listField(value, "added_tokens").map((entry, i) => {
    const field = `added_tokens[${i}]`;
    const fields = objectField(entry, field);
    const flag = (name: string, fallback = false): boolean =>
      flagField(fields[name], `${field}.${name}`, fallback);
    const content = textField(fields.content, `${field}.content`);
    const id = countField(fields.id, `${field}.id`, 0, MAX_VOCABULARY);
    const special = flag("special");
    vocabulary.tokens[id] = content;
    vocabulary.ids.set(content, id);
    return {
      id,
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
  ids: ReadonlyMap<string, number>,
): number | undefined {
  const value = config[name];
  const content = typeof value === "object" && value !== null ? (value as Fields).content : value;
  const text = optionalText(content, `tokenizer_config.json: ${name}`);
  return text === undefined ? undefined : ids.get(text);
}

/** What the post-processor puts before and after a text; kinds that add nothing are passed over. */
function specialsAround(
  library: TokenizersLibrary,
  config: unknown,
  ids: ReadonlyMap<string, number>,
): { prefix: number[]; suffix: number[] } {
  if (config === null || config === undefined) return { prefix: [], suffix: [] };
  const processor = new library.SequencePostProcessor({
    type: "Sequence",
    // The library checks the kinds while it builds them.
    processors: [objectField(config, "post_processor") as never],
  });
  // The processor works on token texts, so a stand-in shows where the text goes.
  const standIn = "\0text";
  const { tokens } = processor.post_process([standIn], undefined, true);
  const at = tokens.indexOf(standIn);
  if (at < 0) throw wrongField("post_processor", config, "a template with the text in it");
  const toIds = (list: readonly string[]): number[] =>
    list.map((token) => tokenId(ids, token, "post_processor"));
  return { prefix: toIds(tokens.slice(0, at)), suffix: toIds(tokens.slice(at + 1)) };
}
