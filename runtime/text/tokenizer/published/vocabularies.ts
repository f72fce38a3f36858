/**
 * Published tokenizers whose vocabulary is a list of words or byte-level tokens: BERT's `vocab.txt`, and
 * `vocab.json` with `merges.txt` as GPT-2, RoBERTa and Qwen2 have them. Each is written as the
 * `tokenizer.json` that means the same.
 *
 * @module
 */

import type { AddedToken, Tokenizer } from "../core.ts";
import { countField, type Fields, flagField, MAX_VOCABULARY, wrongField } from "../fields.ts";
import { tokenizerFromJson } from "../tokenizer.ts";
import {
  jsonFile,
  type Published,
  readSpecials,
  type Specials,
  textFile,
  type UsualTokens,
} from "./settings.ts";

const BERT_TOKENS: UsualTokens = {
  ...{ unk_token: "[UNK]", sep_token: "[SEP]", pad_token: "[PAD]" },
  ...{ cls_token: "[CLS]", mask_token: "[MASK]" },
};

/** The two files that mean what a published tokenizer does. */
export interface JsonForm {
  /** Contents of `tokenizer.json`. */
  readonly json: Fields;
  /** Contents of `tokenizer_config.json`. */
  readonly config: Fields;
}

const build = ({ json, config }: JsonForm): Promise<Tokenizer> => tokenizerFromJson(json, config);

/** BertTokenizer: whole words cut by longest match, Chinese characters each a word. */
export const bert = (published: Published): Promise<Tokenizer> => build(bertForm(published));

/** The files that mean what a BertTokenizer does. */
export function bertForm(published: Published): JsonForm {
  const { config } = published;
  const lines = textFile(published, "vocab.txt").split(/\r\n|\r|\n/);
  if (lines.at(-1) === "") lines.pop();
  if (lines.length === 0 || lines.length > MAX_VOCABULARY) {
    throw wrongField("vocab.txt", lines, `1 to ${MAX_VOCABULARY} lines`);
  }
  // Of a token that is there twice the last line counts.
  const vocab = new Map(lines.map((line, id) => [line, id]));
  const idOf = (token: string): number | undefined => vocab.get(token);
  const specials = readSpecials(published, BERT_TOKENS, idOf, lines.length);
  const lowercase = flagField(config.do_lower_case, "tokenizer_config.json: do_lower_case", true);
  const field = "tokenizer_config.json: strip_accents";
  const chinese = "tokenizer_config.json: tokenize_chinese_chars";
  const cleans = "tokenizer_config.json: clean_up_tokenization_spaces";
  const unknown = textOf(specials, "unk_token") ?? "[UNK]";
  if (!vocab.has(unknown)) throw wrongField("vocab.txt", lines, `a line ${unknown}`);
  const json = {
    added_tokens: specials.added.map(addedJson),
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: flagField(config.tokenize_chinese_chars, chinese, true),
      strip_accents: flagField(config.strip_accents, field, lowercase),
      lowercase,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: surround(specials, "cls_token", "sep_token"),
    decoder: {
      type: "WordPiece",
      prefix: "##",
      cleanup: flagField(config.clean_up_tokenization_spaces, cleans, true),
    },
    model: {
      type: "WordPiece",
      unk_token: unknown,
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(vocab),
    },
  };
  return { json, config: { ...namedTexts(specials, Object.keys(BERT_TOKENS)), ...config } };
}

/** How the byte-level classes differ. */
interface ByteLevelKind {
  readonly usual: UsualTokens;
  readonly surround?: readonly [string, string];
  readonly pattern?: string;
  readonly normalizer?: Fields;
}

const END = "<|endoftext|>";
const QWEN_PATTERN = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|" +
  " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

const GPT2: ByteLevelKind = { usual: { unk_token: END, bos_token: END, eos_token: END } };
const ROBERTA: ByteLevelKind = {
  usual: {
    ...{ bos_token: "<s>", eos_token: "</s>", sep_token: "</s>", cls_token: "<s>" },
    ...{ unk_token: "<unk>", pad_token: "<pad>" },
    mask_token: { content: "<mask>", lstrip: true },
  },
  surround: ["cls_token", "sep_token"],
};
const QWEN2: ByteLevelKind = {
  usual: { unk_token: END, eos_token: END, pad_token: END },
  pattern: QWEN_PATTERN,
  normalizer: { type: "NFC" },
};

/** GPT2Tokenizer. */
export const gpt2 = (published: Published): Promise<Tokenizer> => build(gpt2Form(published));
/** The files that mean what a GPT2Tokenizer does. */
export const gpt2Form = (published: Published): JsonForm => byteLevel(published, GPT2);
/** RobertaTokenizer, and BART's, which is the same. */
export const roberta = (published: Published): Promise<Tokenizer> => build(robertaForm(published));
/** The files that mean what a RobertaTokenizer does. */
export const robertaForm = (published: Published): JsonForm => byteLevel(published, ROBERTA);
/** Qwen2Tokenizer. */
export const qwen2 = (published: Published): Promise<Tokenizer> => build(qwen2Form(published));
/** The files that mean what a Qwen2Tokenizer does. */
export const qwen2Form = (published: Published): JsonForm => byteLevel(published, QWEN2);

function byteLevel(published: Published, kind: ByteLevelKind): JsonForm {
  const { config } = published;
  const vocab = jsonFile(published, "vocab.json");
  const ids = new Map<string, number>();
  for (const [token, value] of Object.entries(vocab)) {
    const field = `vocab.json: ${JSON.stringify(token.slice(0, 40))}`;
    ids.set(token, countField(value, field, 0, MAX_VOCABULARY));
  }
  const merges = textFile(published, "merges.txt").split(/\r\n|\r|\n/)
    .filter((line, i) => line !== "" && !(i === 0 && line.startsWith("#version")));
  const specials = readSpecials(published, kind.usual, (token) => ids.get(token), ids.size);
  const field = "tokenizer_config.json: add_prefix_space";
  const prefixes = flagField(config.add_prefix_space, field, false);
  const bytes = { type: "ByteLevel", add_prefix_space: prefixes, trim_offsets: true };
  const json = {
    added_tokens: specials.added.map(addedJson),
    ...(kind.normalizer && { normalizer: kind.normalizer }),
    pre_tokenizer: kind.pattern === undefined ? { ...bytes, use_regex: true } : {
      type: "Sequence",
      pretokenizers: [
        { type: "Split", pattern: { Regex: kind.pattern }, behavior: "Isolated", invert: false },
        { ...bytes, use_regex: false },
      ],
    },
    ...(kind.surround && {
      post_processor: surround(specials, ...kind.surround, "RobertaProcessing"),
    }),
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { type: "BPE", vocab, merges },
  };
  const names = namedTexts(specials, Object.keys(kind.usual));
  return { json, config: { ...usualNames(kind.usual), ...names, ...config } };
}

function usualNames(usual: UsualTokens): Fields {
  return { bos_token: usual.bos_token ?? null, eos_token: usual.eos_token ?? null };
}

/** Tokens that have names, by their texts. */
function namedTexts(specials: Specials, names: readonly string[]): Fields {
  const texts: Fields = {};
  for (const name of names) {
    const text = textOf(specials, name);
    if (text !== undefined) texts[name] = text;
  }
  return texts;
}

function textOf(specials: Specials, name: string): string | undefined {
  const id = specials.id(name);
  return specials.added.find((token) => token.id === id)?.content;
}

function addedJson(token: AddedToken): Fields {
  return {
    id: token.id,
    content: token.content,
    special: token.special,
    lstrip: token.leftStrip,
    rstrip: token.rightStrip,
    single_word: token.singleWord,
    normalized: token.normalized,
  };
}

function surround(
  specials: Specials,
  before: string,
  after: string,
  type: "BertProcessing" | "RobertaProcessing" = "BertProcessing",
): Fields | null {
  const [first, last] = [specials.id(before), specials.id(after)];
  if (first === undefined || last === undefined) return null;
  return { type, cls: [before, first], sep: [after, last] };
}
