/**
 * How the byte-level tokenizers of GGUF files cut text into words: `tokenizer.ggml.pre` names the rule,
 * and this table has the patterns behind the names. A pattern is part of its model's definition (it
 * comes from the model's own tokenizer.json), several are applied one after the other, each
 * isolating its matches. A new model family is a new row.
 *
 * @module
 */

import { FormatError } from "../../../errors.ts";
import { quote } from "../../../escape.ts";
import { GPT2_PATTERN } from "./split.ts";

/** What a name of `tokenizer.ggml.pre` stands for. */
export interface PreTokenizerRule {
  /** The models' names for the rule. */
  readonly names: readonly string[];
  /** Oniguruma patterns, applied in order. */
  readonly patterns: readonly string[];
  /** A word that is a token is that token, whatever the merges say. */
  readonly ignoreMerges?: boolean;
  /** Whether a text begins with the begin token where the file does not say. */
  readonly addBos?: boolean;
}

const CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const LETTERS = "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+";
const MARKS = " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*";
const BREAKS = "\\s*[\\r\\n]+";
const SPACES = "\\s+(?!\\S)|\\s+";
const UPPER = "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}";
const LOWER = "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}";
const CASED = (contraction: string): string =>
  `[^\\r\\n\\p{L}\\p{N}]?[${UPPER}]*[${LOWER}]+${contraction}|` +
  `[^\\r\\n\\p{L}\\p{N}]?[${UPPER}]+[${LOWER}]*${contraction}`;

/** CL100K and its variants differ in how many digits make a word. */
const clVariant = (digits: string): string =>
  `${CONTRACTION}|${LETTERS}|${digits}|${MARKS}|${BREAKS}|${SPACES}`;

const DEEPSEEK_WORDS = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|" +
  "[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" +
  `${BREAKS}|${SPACES}`;

// BLOOM's class was written with a group inside it; "(", "|" and ")" count as members.
const BLOOM_WORDS = " ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+";

/** The rules by name. */
export const PRE_TOKENIZER_RULES: readonly PreTokenizerRule[] = [
  {
    names: ["default"],
    patterns: ["[\\p{P}$+<=>^~|]+", GPT2_PATTERN, "\\p{N}+", "[0-9][0-9][0-9]"],
  },
  {
    names: [
      "gpt-2",
      "phi-2",
      "mpt",
      "olmo",
      "jais",
      "trillion",
      "exaone4",
      "modern-bert",
      "gigachat",
      "a.x-4.0",
      "mellum",
      "granite-docling",
      "jina-es",
      "jina-de",
      "jina-v1-en",
      "jina-v2-es",
      "jina-v2-de",
      "jina-v2-code",
      "roberta-bpe",
    ],
    patterns: [GPT2_PATTERN],
  },
  {
    names: ["starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b"],
    patterns: ["\\p{N}", GPT2_PATTERN],
  },
  { names: ["falcon"], patterns: ["[\\p{P}$+<=>^~|`]+", GPT2_PATTERN, "[0-9][0-9][0-9]"] },
  {
    names: ["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "lfm2"],
    patterns: [clVariant("\\p{N}{1,3}")],
    ignoreMerges: true,
    addBos: true,
  },
  { names: ["dbrx", "smaug-bpe", "glm4", "chatglm-bpe"], patterns: [clVariant("\\p{N}{1,3}")] },
  {
    names: [
      "qwen2",
      "stablelm2",
      "deepseek-r1-qwen",
      "hunyuan",
      "megrez",
      "grok-2",
      "solar-open",
    ],
    patterns: [clVariant("\\p{N}")],
  },
  {
    names: ["qwen35"],
    patterns: [
      `${CONTRACTION}|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}|` +
      ` ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|${BREAKS}|${SPACES}`,
    ],
  },
  {
    names: ["deepseek-v3", "hunyuan-dense", "joyai-llm"],
    patterns: ["\\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", DEEPSEEK_WORDS],
  },
  {
    names: ["deepseek-coder"],
    patterns: [
      "[\\r\\n]",
      "\\s?\\p{L}+",
      "\\s?\\p{P}+",
      "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
      "\\p{N}",
    ],
  },
  {
    // The model spells its letters out as ranges: the cased letters that Unicode 10 had, without
    // the mathematical alphabets. Letters cased since then (a few dozen) are cut differently.
    names: ["deepseek-llm"],
    patterns: [
      "[\\r\\n]",
      "\\s?(?:(?![\\x{1D400}-\\x{1D7FF}])[\\p{Lu}\\p{Ll}\\p{Lt}])+",
      "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
      "\\s+$",
      "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
      "\\p{N}+",
    ],
  },
  {
    names: ["gpt-4o", "llama4", "minimax-m2", "kanana2"],
    patterns: [
      `${CASED(CONTRACTION + "?")}|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${BREAKS}|${SPACES}`,
    ],
  },
  {
    names: ["tekken"],
    patterns: [
      `${CASED("")}|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${BREAKS}|${SPACES}`,
    ],
    ignoreMerges: true,
    addBos: true,
  },
  { names: ["bloom", "poro-chat", "gpt3-finnish"], patterns: [BLOOM_WORDS] },
  { names: ["viking"], patterns: [BLOOM_WORDS, "\\p{N}"] },
  { names: ["superbpe"], patterns: ["\\p{N}+", "(?=(\\d{3})+(?!\\d))"] },
  {
    names: ["bailingmoe", "bailingmoe2", "llada-moe"],
    patterns: [
      `'(?i:[sdmt]|ll|ve|re)|${LETTERS}|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|` +
      `\\s*[\\r\\n]|${SPACES}`,
    ],
  },
  {
    names: ["seed-coder"],
    patterns: [
      `${CONTRACTION}|${LETTERS}|\\p{N}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|${BREAKS}|${SPACES}`,
    ],
  },
];

/**
 * The rule that a name stands for; without a name the default rule.
 *
 * @throws FormatError for a name that is in no row
 */
export function preTokenizerRule(name: string | undefined): PreTokenizerRule {
  const wanted = name || "default";
  const rule = PRE_TOKENIZER_RULES.find(({ names }) => names.includes(wanted));
  if (rule === undefined) {
    const known = PRE_TOKENIZER_RULES.map(({ names }) => names[0]).join(", ");
    throw new FormatError(
      `Cannot build the tokenizer: tokenizer.ggml.pre is ${quote(wanted)}, ` +
        `expected one of ${known} ` +
        `or another name of theirs; pass the model's tokenizer.json instead`,
    );
  }
  return rule;
}
