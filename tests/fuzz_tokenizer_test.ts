/**
 * Damaged tokenizer files, GGUF metadata and chat templates, thousands of them, seeded: whatever the damage,
 * the outcome is a working tokenizer or a typed error.
 */

import { assert, assertEquals } from "@std/assert";
import { SparrowError } from "../errors.ts";
import { chatTemplate } from "../runtime/text/chat_template.ts";
import { compilePatternSource } from "../runtime/text/tokenizer/pattern/pattern.ts";
import { PatternError } from "../runtime/text/tokenizer/pattern/tree.ts";
import { tokenizerFromJson } from "../runtime/text/tokenizer/tokenizer.ts";
import type { Tokenizer } from "../runtime/text/tokenizer/tokenizer.ts";
import { tokenizerFromGguf } from "../runtime/text/tokenizer/gguf.ts";
import { randomNumbers } from "./fixtures.ts";
import { buildCharsMap, SENTENCEPIECE_DECODER } from "./vocabularies.ts";

const SPECIALS = [
  { id: 0, content: "<unk>", special: true },
  { id: 1, content: "<s>", special: true, lstrip: false, rstrip: true },
  { id: 2, content: "</s>", special: true, single_word: true },
  { id: 30, content: "added", special: false, normalized: true },
];

const PIECES = [
  "<unk>",
  "<s>",
  "</s>",
  "<0x41>",
  "▁",
  "a",
  "b",
  "ab",
  "▁ab",
  "é",
  "Ġ",
  "Ġa",
  "##b",
];

const VOCAB = Object.fromEntries(PIECES.map((piece, id) => [piece, id]));

const TEMPLATE_PROCESSING = {
  type: "TemplateProcessing",
  single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
  pair: [],
  special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
};

const CHARS_MAP = buildCharsMap({ "ﬁ": "ab", A: "a" });

const JSON_SEEDS: Record<string, unknown>[] = [
  {
    added_tokens: SPECIALS,
    normalizer: { type: "NFC" },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        {
          type: "Split",
          pattern: {
            Regex: "(?i:'s|'t)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|\\s+(?!\\S)|\\s+",
          },
          behavior: "Isolated",
          invert: false,
        },
        { type: "ByteLevel", add_prefix_space: false, use_regex: false },
      ],
    },
    post_processor: TEMPLATE_PROCESSING,
    decoder: { type: "ByteLevel" },
    model: {
      type: "BPE",
      unk_token: "<unk>",
      fuse_unk: true,
      ignore_merges: true,
      vocab: VOCAB,
      merges: [["a", "b"], ["Ġ", "a"]],
    },
  },
  {
    added_tokens: SPECIALS,
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "▁" },
        { type: "Replace", pattern: { String: " " }, content: "▁" },
      ],
    },
    pre_tokenizer: null,
    post_processor: { type: "Sequence", processors: [TEMPLATE_PROCESSING] },
    decoder: SENTENCEPIECE_DECODER,
    model: {
      type: "BPE",
      byte_fallback: true,
      unk_token: "<unk>",
      continuing_subword_prefix: "",
      end_of_word_suffix: "",
      vocab: VOCAB,
      merges: ["a b", "▁ ab"],
    },
  },
  {
    added_tokens: SPECIALS,
    normalizer: {
      type: "Precompiled",
      precompiled_charsmap: btoa(String.fromCharCode(...CHARS_MAP)),
    },
    pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "first", split: true },
    decoder: { type: "Metaspace", replacement: "▁", prepend_scheme: "always" },
    model: { type: "Unigram", unk_id: 0, vocab: PIECES.map((piece, id) => [piece, -id]) },
  },
  {
    added_tokens: SPECIALS,
    normalizer: { type: "BertNormalizer", clean_text: true, strip_accents: null, lowercase: true },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: { type: "BertProcessing", cls: ["<s>", 1], sep: ["</s>", 2] },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: "<unk>",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 10,
      vocab: VOCAB,
    },
  },
];

JSON_SEEDS.push(
  {
    added_tokens: SPECIALS,
    normalizer: {
      type: "Sequence",
      normalizers: [{ type: "Nmt" }, { type: "StripAccents" }, { type: "Lowercase" }],
    },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [{ type: "UnicodeScripts" }, { type: "FixedLength", length: 3 }],
    },
    post_processor: { type: "RobertaProcessing", cls: ["<s>", 1], sep: ["</s>", 2] },
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "CTC", pad_token: "a", word_delimiter_token: "▁", cleanup: true },
        { type: "Fuse" },
        { type: "Replace", pattern: { Regex: "\\s+(?!b)" }, content: " " },
        { type: "Strip", content: " ", start: 1, stop: 1 },
      ],
    },
    model: { type: "WordLevel", unk_token: "<unk>", vocab: VOCAB },
  },
  {
    added_tokens: SPECIALS,
    normalizer: { type: "ByteLevel" },
    pre_tokenizer: { type: "CharDelimiterSplit", delimiter: "a" },
    decoder: {
      type: "Sequence",
      decoders: [{ type: "BPEDecoder", suffix: "b" }, { type: "ByteLevel" }],
    },
    model: { type: "BPE", unk_token: "<unk>", vocab: VOCAB, merges: [["a", "b"]] },
  },
);

const GGUF_SEEDS: Record<string, unknown>[] = ["gpt2", "llama", "t5", "bert"].map((model) => ({
  "tokenizer.ggml.model": model,
  "tokenizer.ggml.pre": "llama-bpe",
  "tokenizer.ggml.tokens": PIECES,
  "tokenizer.ggml.scores": PIECES.map((_, id) => -id),
  "tokenizer.ggml.token_type": [2, 3, 3, 6, 1, 1, 1, 1, 1, 4, 1, 1, 5],
  "tokenizer.ggml.merges": ["a b", "▁ ab", "Ġ a"],
  "tokenizer.ggml.bos_token_id": 1,
  "tokenizer.ggml.eos_token_id": 2,
  "tokenizer.ggml.unknown_token_id": 0,
  "tokenizer.ggml.seperator_token_id": 2,
  "tokenizer.ggml.add_bos_token": true,
  "tokenizer.ggml.add_space_prefix": true,
  "tokenizer.ggml.remove_extra_whitespaces": true,
  "tokenizer.ggml.precompiled_charsmap": CHARS_MAP,
}));

const JUNK: readonly unknown[] = [
  null,
  undefined,
  true,
  -1,
  0,
  0.5,
  3,
  1e9,
  2 ** 31,
  NaN,
  Infinity,
  10n,
  "",
  " ",
  "a",
  "▁",
  "\ud800",
  "__proto__",
  "(",
  "[^",
  "(?<",
  "\\p{",
  "a{9999}",
  "x".repeat(5000),
  [],
  [[]],
  ["a"],
  {},
  { type: "Sequence" },
  { Regex: "(a*)*b" },
  { String: "" },
  { length: 1e9 },
  new Float32Array(3),
  () => "function",
];

const TEXTS = [
  "",
  "ab ab",
  " <s>ab</s> added é\ud800 漢字 𠮷 AB\n\n",
  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab!",
  "It's 12345 (a{9999})  \t x",
];

/** Every object and list inside a value, itself included. */
function containers(value: unknown, out = new Set<object>()): Set<object> {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return out;
  if (out.has(value)) return out;
  out.add(value);
  for (const inner of Object.values(value)) containers(inner, out);
  return out;
}

function mutate(value: Record<string, unknown>, random: () => number): void {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)];
  for (let changes = 1 + Math.floor(random() * 3); changes > 0; changes--) {
    const all = [...containers(value)];
    const target = pick(all) as Record<string, unknown>;
    const key = pick(Object.keys(target));
    if (key === undefined) continue;
    const other = pick(all) as Record<string, unknown>;
    const kind = Math.floor(random() * 7);
    const old = target[key];
    if (kind === 0) delete target[key];
    else if (kind === 1) target[key] = pick(JUNK);
    else if (kind === 2) target[key] = pick(Object.values(other).concat(null)); // may make a cycle
    else if (kind === 3 && Array.isArray(target)) target.length = Math.floor(random() * 9);
    else if (kind === 4) target[pick(["type", "vocab", "merges", "id", "content"])] = old;
    else if (kind === 5 && typeof old === "string") {
      const at = Math.floor(random() * (old.length + 1));
      target[key] = old.slice(0, at) + pick("()[]{}*+?\\|▁a \0é".split("")) + old.slice(at + 1);
    } else if (typeof old === "number") target[key] = pick([old + 1, -old, old * 1e6, old / 3]);
    else target[key] = [old, old];
  }
}

function use(tokenizer: Tokenizer, random: () => number): void {
  for (const text of TEXTS) {
    for (const parseSpecial of [false, true]) {
      const ids = tokenizer.encode(text, { parseSpecial });
      assert(ids.every((id) => Number.isInteger(id) && id >= 0 && id < tokenizer.vocabSize));
    }
  }
  const ids = Array.from({ length: 12 }, () => Math.floor(random() * tokenizer.vocabSize));
  const decoder = tokenizer.decoder();
  const parts = ids.map((id) => decoder.push(id)).join("") + decoder.flush();
  assertEquals(parts, tokenizer.decode(ids));
}

async function fuzz(
  rounds: number,
  seed: number,
  seeds: readonly Record<string, unknown>[],
  build: (value: Record<string, unknown>) => Promise<Tokenizer>,
): Promise<void> {
  const random = randomNumbers(seed);
  const outcomes = { built: 0, refused: 0 };
  for (let round = 0; round < rounds; round++) {
    const value = structuredClone(seeds[round % seeds.length]);
    mutate(value, random);
    let message = "";
    try {
      use(await build(value), random);
      outcomes.built++;
    } catch (error) {
      message = String(error);
      if (!(error instanceof SparrowError)) {
        throw new Error(`round ${round} of seed ${seed}: ${message}`, { cause: error });
      }
      outcomes.refused++;
    }
    assert(message.length < 4000, `round ${round}: a message of ${message.length} characters`);
  }
  // A fuzz test in which everything fails, or nothing, tests nothing.
  assert(outcomes.built > rounds / 20 && outcomes.refused > rounds / 20, JSON.stringify(outcomes));
}

Deno.test("every seed of the fuzz tests is a good file", async () => {
  for (const seed of JSON_SEEDS) use(await tokenizerFromJson(seed), randomNumbers(1));
  for (const seed of GGUF_SEEDS) use(await tokenizerFromGguf(seed), randomNumbers(1));
});

Deno.test("tokenizerFromJson() survives 4000 damaged files", async () => {
  await fuzz(4000, 11, JSON_SEEDS, (value) => tokenizerFromJson(value, { eos_token: "</s>" }));
});

Deno.test("tokenizerFromGguf() survives 4000 damaged sets of metadata", async () => {
  await fuzz(4000, 12, GGUF_SEEDS, tokenizerFromGguf);
});

Deno.test("chatTemplate() survives 1500 damaged templates", async () => {
  const source = "{%- set ns = namespace(last='') -%}{% for m in messages if m.role != 'x' %}" +
    "{% if loop.first and m['content'] is string %}{{ bos_token + m.content | trim }}" +
    "{% elif not m.content.strip('\\n')[:-1] %}{{ raise_exception('no') }}{% endif %}" +
    "{% set ns.last = m.role ~ loop.index0 * 2 %}{% endfor %}{{ ns.last }}" +
    "{% macro f(a, b=1) %}{{ a | tojson(indent=2) }}{% endmacro %}{{ f(messages) }}" +
    "{{ range(3) | join(',') }}{{ strftime_now('%Y') | length }}";
  const random = randomNumbers(13);
  const pieces = source.match(/\{%-?|-?%\}|\{\{|\}\}|\w+|\W/g)!;
  const messages = [{ role: "user", content: "Hi" }, { role: "assistant", content: "\nYo\n" }];
  const outcomes = { rendered: 0, refused: 0 };
  for (let round = 0; round < 1500; round++) {
    const damaged = pieces.slice();
    const at = Math.floor(random() * pieces.length);
    const kind = Math.floor(random() * 3);
    if (kind === 0) damaged.splice(at, 1);
    else if (kind === 1) damaged[at] = pieces[Math.floor(random() * pieces.length)];
    else damaged.splice(at, 0, pieces[Math.floor(random() * pieces.length)]);
    try {
      (await chatTemplate(damaged.join(""), { bosToken: "<s>", timeLimitMs: 500 }))
        .render(messages);
      outcomes.rendered++;
    } catch (error) {
      if (!(error instanceof SparrowError)) throw new Error(`round ${round}`, { cause: error });
      outcomes.refused++;
    }
  }
  assert(outcomes.rendered > 75 && outcomes.refused > 75, JSON.stringify(outcomes));
});

Deno.test("patterns of 20000 random pieces are compiled or refused, and end", () => {
  const pieces = [
    ..."()[]{}*+?|^$.\\-,&:=!<>aZ1 é🙂\n",
    ..."\\p{L} \\s \\b \\x{41} (?: (?= (?! (?<= (?> (?i) [^ [: :] && {2,} {3} {,2} \\R ++ *? \\A"
      .split(" "),
  ];
  const random = randomNumbers(14);
  const outcomes = { matched: 0, refused: 0 };
  for (let round = 0; round < 20000; round++) {
    const count = 1 + Math.floor(random() * 12);
    const source = Array.from({ length: count }, () => pieces[Math.floor(random() * pieces.length)])
      .join("");
    try {
      const pattern = compilePatternSource(source);
      for (const text of TEXTS) {
        const matches = pattern.matches(text.toWellFormed());
        for (let i = 1; i < matches.length; i++) assert(matches[i] >= matches[i - 1], source);
        assert(matches.every((at) => at >= 0 && at <= text.length), source);
      }
      outcomes.matched++;
    } catch (error) {
      if (!(error instanceof PatternError)) {
        throw new Error(`${source}: ${error}`, { cause: error });
      }
      outcomes.refused++;
    }
  }
  assert(outcomes.matched > 1000 && outcomes.refused > 1000, JSON.stringify(outcomes));
});
