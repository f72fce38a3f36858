/**
 * Tokenizers of synthetic models: the special tokens of the family at the ids of its configuration, all
 * bytes, and made-up words up to the size of the vocabulary. Every text can be encoded and every id
 * decoded.
 *
 * @module
 */

import { BYTE_CHARACTERS } from "../runtime/text/tokenizer/byte_level.ts";
import { PIECE } from "../runtime/text/tokenizer/sentencepiece/model_proto.ts";

/** What is in a `config.json`. */
export type Config = Readonly<Record<string, unknown>>;

/** Files by name, and what a user should know. */
export interface TokenizerFolder {
  readonly files: Readonly<Record<string, string | Uint8Array>>;
  readonly notes: string[];
}

/** The tokenizer of a model with this configuration. */
export function syntheticTokenizer(config: Config): TokenizerFolder {
  if (config.model_type === "glm-130b") return chatglm6b(config);
  if (config.model_type !== "chatglm") return byteLevel(config);
  const size = config.padded_vocab_size;
  if (typeof size !== "number") return chatglm6b(config);
  if (size > 100_000) return glm4(size);
  return chatglm2(size, /chatglm3/i.test(String(config._name_or_path)));
}

/** No tokenizer, and why. */
function none(words: number): TokenizerFolder {
  const why = `The model has no tokenizer: its vocabulary of ${words} words has no room for all ` +
    `bytes, and for special tokens at their ids`;
  return { files: {}, notes: [why] };
}

/** Places of tokens: some have ids of their own, the others fill the gaps in their order. */
function placed(
  size: number,
  fixed: ReadonlyMap<number, string>,
  others: readonly string[],
): string[] | undefined {
  const rest = others.filter((it) => !Array.from(fixed.values()).includes(it));
  if (fixed.size + rest.length > size || Array.from(fixed.keys()).some((id) => id >= size)) {
    return undefined;
  }
  let next = 0, word = 0;
  return Array.from({ length: size }, (_, id) => fixed.get(id) ?? rest[next++] ?? `w${word++}`);
}

/** Special tokens by the fields of `config.json` that have their ids. */
const FIELDS: readonly (readonly [field: string, token: string])[] = [
  ["pad_token_id", "<pad>"],
  ["bos_token_id", "<s>"],
  ["eos_token_id", "</s>"],
];

/** BERT's special tokens, where they stand in its published vocabulary. */
const BERT = { "[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103 };

/** `tokenizer.json` with byte-level tokens, for families that are published with one. */
function byteLevel(config: Config): TokenizerFolder {
  const size = Number(config.vocab_size ?? config.padded_vocab_size ?? 0);
  const isBert = /^(bert|ernie|distilbert|roberta|xlm-roberta|albert)$/.test(
    String(config.model_type),
  );
  const fixed = new Map<number, string>();
  for (const [field, token] of isBert ? [] : FIELDS) {
    const id = config[field];
    if (typeof id === "number" && !fixed.has(id)) fixed.set(id, token);
  }
  for (const [token, id] of Object.entries(isBert ? BERT : {})) {
    fixed.set(size > 400 ? id : fixed.size, token);
  }
  for (const [id, token] of sentinels(config, size)) fixed.set(id, token);
  const tokens = placed(size, fixed, BYTE_CHARACTERS);
  if (!tokens) return none(size);
  const around = isBert ? ["[CLS]", "[SEP]"] : endsText(config) ? [undefined, "</s>"] : [];
  const mark = (token: string | undefined): unknown[] =>
    token === undefined || !tokens.includes(token)
      ? []
      : [{ SpecialToken: { id: token, type_id: 0 } }];
  const special = (id: number, content: string): unknown => ({
    ...{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false },
    special: true,
  });
  const json = {
    version: "1.0",
    added_tokens: Array.from(fixed, ([id, content]) => special(id, content)),
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true },
    post_processor: {
      type: "TemplateProcessing",
      single: [...mark(around[0]), { Sequence: { id: "A", type_id: 0 } }, ...mark(around[1])],
      pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 1 } }],
      special_tokens: Object.fromEntries(
        Array.from(fixed, ([id, it]) => [it, { id: it, ids: [id], tokens: [it] }]),
      ),
    },
    decoder: { type: "ByteLevel" },
    model: {
      type: "BPE",
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: [],
    },
  };
  const names = isBert
    ? [["cls_token", "[CLS]"], ["sep_token", "[SEP]"], ["mask_token", "[MASK]"]]
    : [["bos_token", "<s>"], ["eos_token", "</s>"]];
  const named = Object.fromEntries(names.filter(([, it]) => tokens.includes(it!)));
  return {
    files: { "tokenizer.json": JSON.stringify(json), "tokenizer_config.json": asJson(named) },
    notes: [],
  };
}

/** T5's hundred marks of gaps, the first one last, where its vocabulary of that size has them. */
function sentinels({ model_type: type }: Config, size: number): [id: number, token: string][] {
  if (!["t5", "mt5", "switch_transformers"].includes(String(type))) return [];
  const end = [250_100, 32_100].find((it) => it <= size); // mT5's, T5's; others have no room
  if (end === undefined) return [];
  return Array.from({ length: 100 }, (_, i) => [end - 1 - i, `<extra_id_${i}>`]);
}

/** Whether an encoder is given texts with their end. */
function endsText({ model_type: type }: Config): boolean {
  return ["t5", "mt5", "switch_transformers", "marian"].includes(String(type));
}

function asJson(value: unknown): string {
  return JSON.stringify(value, null, 2) + "\n";
}

const TASKS = ["[MASK]", "[gMASK]", "[sMASK]", "<unused_0>", "<sop>", "<eop>", "<ENC>", "<dBLOCK>"];

/** The `ice_text.model` of ChatGLM-6B and GLM-130B, with its task tokens and symbols for white space. */
function chatglm6b(config: Config): TokenizerFolder {
  const size = Number(config.vocab_size), mask = Number(config.mask_token_id);
  const fixed = new Map<number, string>([[0, "<unk>"], [3, "<pad>"]]);
  TASKS.forEach((token, i) => fixed.set(mask + i, token));
  // A smaller vocabulary has its marks elsewhere.
  const own = [
    ...[["gmask_token_id", "[gMASK]"], ["smask_token_id", "[sMASK]"], ["bos_token_id", "<sop>"]],
    ["eos_token_id", "<eop>"],
  ].filter(([field]) => config[field!] !== undefined);
  const idOf = (field: string): number => Number([config[field]].flat()[0]);
  const stands = own.every(([field, token]) => fixed.get(idOf(field!)) === token);
  if (!stands) { for (const id of Array.from(fixed.keys())) if (id >= mask) fixed.delete(id); }
  if (!stands) {
    fixed.set(mask, "[MASK]");
    for (const [field, token] of own) fixed.set(idOf(field!), token!);
  }
  // The end of a text, where a configuration has one beside that of an answer.
  const [, end] = [config.eos_token_id].flat();
  if (typeof end === "number") fixed.set(end, "</s>");
  const blanks = Array.from({ length: 79 }, (_, i) => `<|blank_${i + 2}|>`);
  const tokens = placed(size, fixed, ["<n>", "<|tab|>", "▁", ...BYTES, ...blanks]);
  if (!tokens) return none(size);
  const symbols = new Set(["<n>", "<|tab|>", ...blanks, ...TASKS, "<pad>", "</s>"]);
  return {
    files: {
      "ice_text.model": sentencePiece(tokens, (it) => symbols.has(it) ? PIECE.userDefined : 0, 1),
      "tokenizer_config.json": asJson({
        ...{ tokenizer_class: "ChatGLMTokenizer", num_image_tokens: 0, do_lower_case: false },
        ...{ remove_space: false, bos_token: "<sop>", eos_token: "<eop>", pad_token: "<pad>" },
        ...{ unk_token: "<unk>", mask_token: "[MASK]" },
      }),
    },
    notes: [],
  };
}

/** Tokens that the classes of ChatGLM2 and ChatGLM3 put behind the pieces. */
const COMMANDS = ["[MASK]", "[gMASK]", "[sMASK]", "sop", "eop"];
const ROLES = ["<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"];

/** The `tokenizer.model` of ChatGLM2, or of ChatGLM3, which has tokens for who speaks. */
function chatglm2(size: number, hasRoles: boolean): TokenizerFolder {
  const fixed = new Map([[0, "<unk>"], [1, "<s>"], [2, "</s>"]]);
  const behind = hasRoles ? [...COMMANDS, ...ROLES] : COMMANDS, first = size - behind.length;
  const tokens = placed(first, fixed, ["▁", ...BYTES]);
  if (!tokens) return none(size);
  const kindOf = (it: string): number => it === "<s>" || it === "</s>" ? PIECE.control : 0;
  return {
    files: {
      "tokenizer.model": sentencePiece(tokens, kindOf, 2),
      "tokenizer_config.json": asJson({
        tokenizer_class: "ChatGLMTokenizer",
        ...(hasRoles && {
          added_tokens_decoder: Object.fromEntries(
            behind.map((content, i) => [first + i, { content, special: false }]),
          ),
        }),
      }),
    },
    notes: [],
  };
}

const GLM4_TOKENS = [
  ...["<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>", "<|system|>", "<|user|>"],
  ...["<|assistant|>", "<|observation|>"],
];

/** GLM-4's `tokenizer.model`: byte strings in base64 with their ranks. */
function glm4(size: number): TokenizerFolder {
  // As published: 151,329 strings, then the special tokens, then nothing.
  const first = size - 223;
  const bytes = Array.from({ length: 256 }, (_, i) => String.fromCharCode(i));
  const lines = Array.from({ length: first }, (_, i) => `${btoa(bytes[i] ?? `w${i}`)} ${i}\n`);
  const added = GLM4_TOKENS.map((content, i) => [first + i, { content, special: true }]);
  return {
    files: {
      "tokenizer.model": new TextEncoder().encode(lines.join("")),
      "tokenizer_config.json": asJson({
        ...{ tokenizer_class: "ChatGLM4Tokenizer", eos_token: "<|endoftext|>" },
        added_tokens_decoder: Object.fromEntries(added),
      }),
    },
    notes: [],
  };
}

/** Pieces for characters that no other piece has. */
const BYTES: readonly string[] = Array.from(
  { length: 256 },
  (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, "0")}>`,
);

/**
 * A SentencePiece model (fields of its sentencepiece_model.proto) of these pieces, with bytes for what
 * is in none of them.
 *
 * @param kindOf what a piece is; 0 for what its text says
 * @param model 1 for unigram, 2 for BPE
 */
function sentencePiece(
  pieces: readonly string[],
  kindOf: (piece: string) => number,
  model: 1 | 2,
): Uint8Array {
  const utf8 = new TextEncoder(), bytes = new Set(BYTES), parts: Uint8Array[] = [];
  const varint = (value: number): number[] =>
    value < 128 ? [value] : [value & 127 | 128, ...varint(Math.floor(value / 128))];
  const message = (field: number, bytes: ArrayLike<number>): number[] => [
    ...varint(field << 3 | 2),
    ...varint(bytes.length),
    ...Array.from(bytes),
  ];
  for (const [id, piece] of pieces.entries()) {
    const kind = kindOf(piece) ||
      (piece === "<unk>" ? PIECE.unknown : bytes.has(piece) ? PIECE.byte : PIECE.normal);
    const score = new Uint8Array(Float32Array.of(kind === PIECE.normal ? -id / 1000 : 0).buffer);
    const fields = [...message(1, utf8.encode(piece)), 2 << 3 | 5, ...score, 3 << 3, kind];
    parts.push(Uint8Array.from(message(1, fields)));
  }
  const trainer = [3 << 3, model, ...varint(35 << 3), 1];
  const normalizer = [3 << 3, 1, 4 << 3, 0, 5 << 3, 1];
  parts.push(Uint8Array.from([...message(2, trainer), ...message(3, normalizer)]));
  const out = new Uint8Array(parts.reduce((sum, it) => sum + it.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
