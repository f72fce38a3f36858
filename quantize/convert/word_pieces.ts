/**
 * WordPiece (`bert` in GGUF files): there the pieces that begin a word carry the mark of a space, and
 * those that continue one carry nothing.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { Json } from "./byte_level.ts";
import { flag, text } from "./fields.ts";
import { type Added, addTokens, TYPE, type Vocabulary } from "./vocabulary.ts";

/**
 * The vocabulary of a WordPiece tokenizer.json.
 *
 * @throws ModelError where texts are prepared otherwise than BERT does it
 */
export function wordPieceVocabulary(name: string, json: Json, added: Added[]): Vocabulary {
  const { model, normalizer, pre_tokenizer: pre } = json;
  const prefix = model.continuing_subword_prefix ?? "##";
  const isUsual = normalizer?.type === "BertNormalizer" && pre?.type === "BertPreTokenizer" &&
    normalizer.clean_text !== false && normalizer.handle_chinese_chars !== false && prefix === "##";
  if (!isUsual) {
    throw new ModelError(
      `Cannot convert the tokenizer of ${quote(name)}: its normalizer is ${
        quote(normalizer?.type ?? null)
      } and its pre-tokenizer ${
        quote(pre?.type ?? null)
      }, expected those of BERT with clean_text, ` +
        `handle_chinese_chars and "##" before what continues a word; use the model as it is`,
    );
  }
  const tokens: (string | undefined)[] = [], types: number[] = [];
  for (const [token, id] of Object.entries<number>(model.vocab)) {
    tokens[id] = token.startsWith(prefix) ? token.slice(prefix.length) : `\u2581${token}`;
    types[id] = TYPE.normal;
  }
  addTokens({ tokens, types }, added);
  const lowercase = normalizer.lowercase !== false, most = model.max_input_chars_per_word ?? 100;
  const strips = normalizer.strip_accents ?? lowercase;
  return {
    ...{ kind: "bert", tokens, types, unknown: model.unk_token ?? "[UNK]" },
    fields: {
      "tokenizer.ggml.pre": text("default"),
      "tokenizer.ggml.normalizer.lowercase": flag(lowercase),
      "tokenizer.ggml.normalizer.strip_accents": flag(strips),
    },
    notes: [
      `words of more than ${most} characters are unknown, which has no place in GGUF: there they ` +
      `get the tokens of their pieces`,
      ...(strips
        ? [
          "accents are stripped, with which llama.cpp also drops vowel signs of Korean and Indic " +
          "scripts, so that such texts get other tokens there",
        ]
        : []),
    ],
  };
}
