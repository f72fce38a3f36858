/**
 * The parts of tokenizers: merging and segmentation against slow definitions of the algorithms,
 * character maps, normalizers, and how text is cut into words.
 */

import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { tokenizerFromJson } from "../runtime/text/tokenizer/tokenizer.ts";
import { tokenizerFromGguf } from "../runtime/text/tokenizer/gguf.ts";
import { normalizerFromJson } from "../runtime/text/tokenizer/normalize.ts";
import { PRE_TOKENIZER_RULES } from "../runtime/text/tokenizer/pre.ts";
import { patternSplitter, preTokenizerFromJson } from "../runtime/text/tokenizer/split.ts";
import { buildCharsMap, SAMPLE_TEXTS } from "./vocabularies.ts";

// ---------------------------------------------------------------- algorithms against their definitions

const SMALL_ALPHABET = ["a", "b", "c", "▁", "é"];

/** SentencePiece by its definition: again and again the best-scored pair, the leftmost of equals. */
function greedyByScore(text: string, scores: ReadonlyMap<string, number>): string[] {
  const symbols = [...text];
  while (true) {
    let best = -1;
    for (let i = 0; i + 1 < symbols.length; i++) {
      const score = scores.get(symbols[i] + symbols[i + 1]);
      if (score === undefined) continue;
      if (best < 0 || score > scores.get(symbols[best] + symbols[best + 1])!) best = i;
    }
    if (best < 0) return symbols;
    symbols.splice(best, 2, symbols[best] + symbols[best + 1]);
  }
}

const wordArbitrary = fc.string({ unit: fc.constantFrom(...SMALL_ALPHABET), maxLength: 24 });

Deno.test("merging by score equals its definition", async () => {
  const pieces = fc.uniqueArray(
    fc.record({
      text: fc.string({ unit: fc.constantFrom(...SMALL_ALPHABET), minLength: 2, maxLength: 4 }),
      score: fc.integer({ min: -6, max: 0 }),
    }),
    { selector: ({ text }) => text, maxLength: 30 },
  );
  await fc.assert(
    fc.asyncProperty(pieces, wordArbitrary, async (list, text) => {
      const singles = SMALL_ALPHABET.map((letter) => ({ text: letter, score: -9 }));
      const all = [{ text: "<unk>", score: 0 }, ...singles, ...list];
      const subject = await tokenizerFromGguf({
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": all.map((piece) => piece.text),
        "tokenizer.ggml.scores": all.map(({ score }) => score),
        "tokenizer.ggml.token_type": all.map((_, id) => id === 0 ? 2 : 1),
        "tokenizer.ggml.add_space_prefix": false,
        "tokenizer.ggml.add_bos_token": false,
      });
      const scores = new Map(all.slice(1).map((piece) => [piece.text, piece.score]));
      const spelled = subject.encode(text).map((id) => subject.idToToken(id)!);
      assertEquals(spelled, greedyByScore(text, scores));
    }),
    { numRuns: 400, seed: 1 },
  );
});

Deno.test("merging by rank equals its definition", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(1000), fc.nat(1000)), { maxLength: 25 }),
      wordArbitrary,
      async (choices, text) => {
        const tokens = [...SMALL_ALPHABET];
        const merges: [string, string][] = [];
        for (const [a, b] of choices) {
          const pair: [string, string] = [tokens[a % tokens.length], tokens[b % tokens.length]];
          if (tokens.includes(pair.join(""))) continue;
          tokens.push(pair.join(""));
          merges.push(pair);
        }
        const subject = await tokenizerFromJson({
          model: {
            type: "BPE",
            vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
            merges,
          },
        });
        const symbols = [...text];
        for (let rank = 0; rank < merges.length;) {
          const at = symbols.findIndex((symbol, i) =>
            symbol === merges[rank][0] && symbols[i + 1] === merges[rank][1]
          );
          if (at < 0) rank++;
          else {
            symbols.splice(at, 2, symbols[at] + symbols[at + 1]);
            rank = 0;
          }
        }
        assertEquals(subject.encode(text).map((id) => subject.idToToken(id)!), symbols);
      },
    ),
    { numRuns: 400, seed: 2 },
  );
});

const UNIGRAM: [string, number][] = [
  ["<unk>", 0],
  ["▁", -2.5],
  ["a", -3.25],
  ["b", -3.5],
  ["ab", -4.75],
  ["▁a", -4.5],
  ["bab", -6.125],
  ["▁ab", -5.875],
  ["é", -7],
];

Deno.test("unigram equals the library's lattice, from json and gguf", async () => {
  const { Unigram } = await import("./deps/hf_tokenizers.ts");
  const reference = new Unigram(
    { type: "Unigram", vocab: UNIGRAM.map((pair) => [...pair]), unk_id: 0 } as never,
    "</s>",
  );
  const json = await tokenizerFromJson({
    pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: false },
    decoder: { type: "Metaspace" },
    model: { type: "Unigram", vocab: UNIGRAM, unk_id: 0 },
  });
  const gguf = await tokenizerFromGguf({
    "tokenizer.ggml.model": "t5",
    "tokenizer.ggml.tokens": UNIGRAM.map(([piece]) => piece),
    "tokenizer.ggml.scores": UNIGRAM.map(([, score]) => score),
    "tokenizer.ggml.token_type": UNIGRAM.map((_, id) => id === 0 ? 2 : 1),
    "tokenizer.ggml.unknown_token_id": 0,
    "tokenizer.ggml.add_space_prefix": true,
  });
  const letters = fc.string({ unit: fc.constantFrom("a", "b", "é", "z", "𠮷"), minLength: 1 });
  fc.assert(
    fc.property(fc.array(letters, { minLength: 1 }), (words) => {
      const text = words.join(" ");
      // Uncovered characters in a row are one unknown token; the library's lattice keeps them apart.
      const expected = reference.encode(["▁" + text.replaceAll(" ", "▁")])
        .map((piece) => reference.tokens_to_ids.get(piece) ?? 0)
        .filter((id, i, all) => id !== 0 || all[i - 1] !== 0);
      assertEquals(json.encode(text), expected);
      assertEquals(gguf.encode(text, { addSpecial: false }), expected);
    }),
    { seed: 3 },
  );
  assertEquals(json.decode(json.encode("ab a")), "ab a");
  assertEquals(gguf.decode(gguf.encode("ab a", { addSpecial: false })), "ab a");
});

Deno.test("precompiled character maps replace the longest entry, from json and gguf", async () => {
  const map = buildCharsMap({ "ﬁ": "fi", "Ａ": "a", "e\u0301": "é", "\t": " " });
  const normalizer = {
    type: "Precompiled",
    precompiled_charsmap: btoa(String.fromCharCode(...map)),
  };
  const vocab = [..."<fiaéeb ▁"].map((letter, id) => [letter, -id] as const);
  const json = await tokenizerFromJson({
    normalizer,
    model: { type: "Unigram", vocab, unk_id: 0 },
    decoder: { type: "Fuse" },
  });
  const gguf = await tokenizerFromGguf({
    "tokenizer.ggml.model": "t5",
    "tokenizer.ggml.tokens": vocab.map(([letter]) => letter),
    "tokenizer.ggml.scores": vocab.map(([, score]) => score),
    "tokenizer.ggml.token_type": vocab.map((_, id) => id === 0 ? 2 : 1),
    "tokenizer.ggml.unknown_token_id": 0,
    "tokenizer.ggml.add_eos_token": false,
    "tokenizer.ggml.precompiled_charsmap": map,
  });
  for (const subject of [json, gguf]) {
    const spell = (text: string) => subject.decode(subject.encode(text));
    assertEquals(spell("ﬁＡbe\u0301e"), "fiabée");
    assertEquals(spell("bbb"), "bbb");
    assertEquals(spell(""), "");
  }
  assertEquals(gguf.decode(gguf.encode("b\tb")), "b b");
});

Deno.test("t5 keeps or merges spaces as the metadata says", async () => {
  const pieces = ["<unk>", "▁", "a"];
  const encode = async (options: Record<string, boolean>, text: string) => {
    const subject = await tokenizerFromGguf({
      "tokenizer.ggml.model": "t5",
      "tokenizer.ggml.tokens": pieces,
      "tokenizer.ggml.scores": [0, -1, -1],
      "tokenizer.ggml.token_type": [2, 1, 1],
      "tokenizer.ggml.unknown_token_id": 0,
      ...Object.fromEntries(Object.entries(options).map(([k, v]) => [`tokenizer.ggml.${k}`, v])),
    });
    return subject.encode(text, { addSpecial: false }).map((id) => pieces[id]).join("");
  };
  assertEquals(await encode({}, " a  a"), "▁a▁▁a");
  assertEquals(await encode({ add_space_prefix: true }, "a  a"), "▁a▁▁a");
  assertEquals(await encode({ remove_extra_whitespaces: true }, "  a   a "), "▁a▁a");
});

// ---------------------------------------------------------------- cutting and normalizing

function cut(preTokenizer: unknown, text: string): string[] {
  return preTokenizerFromJson(preTokenizer).split(text, true);
}

Deno.test("pre-tokenizers cut as their kind and behaviour say", () => {
  const split = (behavior: string, more = {}) => ({
    type: "Split",
    pattern: { String: "-" },
    behavior,
    ...more,
  });
  const rows: [unknown, string, string[]][] = [
    [split("Removed"), "the-final--countdown", ["the", "final", "countdown"]],
    [split("Isolated"), "the-final--countdown", ["the", "-", "final", "-", "-", "countdown"]],
    [split("MergedWithPrevious"), "the-final--countdown", ["the-", "final-", "-", "countdown"]],
    [split("MergedWithNext"), "the-final--countdown", ["the", "-final", "-", "-countdown"]],
    [split("Contiguous"), "the-final--countdown", ["the", "-", "final", "--", "countdown"]],
    [split("Removed", { invert: true }), "a-b", ["-"]],
    [{ type: "Whitespace" }, "naïve, café!?", ["naïve", ",", "café", "!?"]],
    [{ type: "WhitespaceSplit" }, " a \u3000b\n", ["a", "b"]],
    [{ type: "Punctuation" }, "a.,b", ["a", ".", ",", "b"]],
    [{ type: "Punctuation", behavior: "Contiguous" }, "a.,b", ["a", ".,", "b"]],
    [{ type: "Digits" }, "a12b", ["a", "12", "b"]],
    [{ type: "Digits", individual_digits: true }, "a1٢b", ["a", "1", "٢", "b"]],
    [{ type: "BertPreTokenizer" }, "it's  $5", ["it", "'", "s", "$", "5"]],
    [{ type: "CharDelimiterSplit", delimiter: "|" }, "a|b||c", ["a", "b", "c"]],
    [{ type: "FixedLength", length: 2 }, "a𠮷b", ["a𠮷", "b"]],
    [{ type: "Metaspace" }, "a b  c", ["▁a", "▁b", "▁", "▁c"]],
    [{ type: "Metaspace", prepend_scheme: "never", split: false }, "a b", ["a▁b"]],
    [{ type: "Metaspace", add_prefix_space: false }, "a b", ["a", "▁b"]],
    [{ type: "ByteLevel" }, "a b", [" a", " b"]],
    [{ type: "ByteLevel", add_prefix_space: false, use_regex: false }, "a b", ["a b"]],
    [
      { type: "Sequence", pretokenizers: [{ type: "WhitespaceSplit" }, { type: "Metaspace" }] },
      "a b",
      ["▁a", "▁b"],
    ],
  ];
  for (const [config, text, expected] of rows) {
    assertEquals(cut(config, text), expected, JSON.stringify(config));
  }
});

Deno.test("normalizers do as their kind says", () => {
  const rows: [unknown, string, string][] = [
    [null, "Ab", "Ab"],
    [{ type: "NFKC" }, "ﬁ①", "fi1"],
    [{ type: "NFD" }, "é", "e\u0301"],
    [{ type: "Lowercase" }, "ÀB", "àb"],
    [{ type: "Strip", strip_left: true, strip_right: false }, " a ", "a "],
    [{ type: "StripAccents" }, "e\u0301 \u0915\u093e", "e \u0915"],
    [{ type: "Prepend", prepend: "▁" }, "a", "▁a"],
    [{ type: "Prepend", prepend: "▁" }, "", ""],
    [{ type: "Replace", pattern: { String: "." }, content: "$&" }, "a.b", "a$&b"],
    [{ type: "Replace", pattern: { Regex: "\\s+" }, content: " " }, "a \n b", "a b"],
    [{ type: "BertNormalizer" }, "É\u0000\t漢𠮷", "e  漢  𠮷 "],
    [{ type: "BertNormalizer", lowercase: false }, "É", "É"],
  ];
  for (const [config, text, expected] of rows) {
    assertEquals(normalizerFromJson(config)(text), expected, JSON.stringify(config));
  }
});

Deno.test("every pre-tokenizer rule compiles and keeps every character", () => {
  const names = PRE_TOKENIZER_RULES.flatMap((rule) => rule.names);
  assertEquals(new Set(names).size, names.length, "a name is in two rows");
  for (const { names, patterns } of PRE_TOKENIZER_RULES) {
    const split = patternSplitter(patterns);
    for (const text of SAMPLE_TEXTS) assertEquals(split(text, true).join(""), text, names[0]);
  }
});
