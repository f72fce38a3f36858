/**
 * Tokenizers from GGUF metadata (`tokenizer.ggml.*`): byte-level pairs (`gpt2`), SentencePiece pairs by
 * score (`llama`), unigram (`t5`) and WordPiece (`bert`). What the metadata leaves out, as which
 * special tokens to add and how spaces are kept, follows llama.cpp, whose files they are.
 *
 * @module
 */

import { FormatError, SparrowError } from "../../../errors.ts";
import { quote } from "../../../escape.ts";
import { bytePieces } from "../decoding/byte_pieces.ts";
import { type AddedToken, assembleTokenizer, endTokens, type Tokenizer } from "./core.ts";
import { optionalText, reasonOf, wrongField } from "./fields.ts";
import { BUILDERS, type KindParts, utf8 } from "./gguf_kinds.ts";
import {
  CONTROL,
  type GgufVocabulary,
  KEY,
  readVocabulary,
  specialId,
  UNKNOWN,
  USER_DEFINED,
} from "./gguf_vocabulary.ts";

/**
 * Builds a tokenizer from GGUF metadata.
 *
 * @param metadata keys as in the file; arrays as JavaScript or typed arrays
 * @throws FormatError when a key is missing or malformed, or names a kind that is not supported
 *
 * @example
 * ```ts
 * import { tokenizerFromGguf } from "./gguf.ts";
 *
 * const tokenizer = await tokenizerFromGguf({
 *   "tokenizer.ggml.model": "llama",
 *   "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", "▁", "h", "i", "hi", "▁hi"],
 *   "tokenizer.ggml.scores": [0, 0, 0, -3, -4, -5, -1, -2],
 *   "tokenizer.ggml.token_type": [2, 3, 3, 1, 1, 1, 1, 1],
 * });
 * console.log(tokenizer.encode("hi")); // [1, 7]
 * console.log(tokenizer.decode([1, 7])); // "hi"
 * ```
 */
// deno-lint-ignore require-await -- errors come as rejections
export async function tokenizerFromGguf(metadata: Record<string, unknown>): Promise<Tokenizer> {
  const kind = optionalText(metadata[`${KEY}model`], `${KEY}model`);
  const build = kind === undefined ? undefined : BUILDERS.get(kind);
  if (build === undefined) {
    throw wrongField(
      `${KEY}model`,
      kind,
      [...BUILDERS.keys()].map((k) => `${quote(k)}`).join(", "),
    );
  }
  try {
    const vocabulary = readVocabulary(metadata);
    return assemble(vocabulary, build(vocabulary));
  } catch (cause) {
    if (cause instanceof SparrowError) throw cause;
    throw new FormatError(
      `Cannot build the tokenizer from the metadata: ${reasonOf(cause)}; ` +
        `the file is damaged, fetch it again`,
      { cause },
    );
  }
}

function assemble(vocabulary: GgufVocabulary, parts: KindParts): Tokenizer {
  const { tokens, ids, types } = vocabulary;
  const isSpecial = (id: number): boolean => types[id] === CONTROL || types[id] === UNKNOWN;
  const added: AddedToken[] = [];
  tokens.forEach((content, id) => {
    if (!isSpecial(id) && types[id] !== USER_DEFINED) return;
    added.push({
      id,
      content,
      special: isSpecial(id),
      leftStrip: false,
      rightStrip: false,
      singleWord: false,
      normalized: false,
    });
  });
  const pieces = bytePieces({
    vocabSize: tokens.length,
    isSpecial,
    stripLeading: parts.stripLeading,
    bytes: (id) =>
      isSpecial(id) || types[id] === USER_DEFINED ? utf8.encode(tokens[id]) : parts.bytes(id),
  });
  const known = (list: readonly (number | undefined)[]): number[] =>
    list.filter((id) => id !== undefined);
  return assembleTokenizer({
    tokens,
    idOf: (token) => ids.get(token),
    added,
    normalize: parts.normalize,
    split: parts.split,
    model: parts.model,
    prefix: known(parts.prefix),
    suffix: known(parts.suffix),
    pair: parts.pair,
    pieces,
    bosId: parts.bosId,
    eosIds: endTokens(
      [
        parts.eosId,
        specialId(vocabulary, "eot_token_id", undefined),
        specialId(vocabulary, "eom_token_id", undefined),
      ],
      (name) => ids.get(name),
    ),
  });
}
