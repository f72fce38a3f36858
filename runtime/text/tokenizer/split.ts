/**
 * Pre-tokenizers of tokenizer.json: where a text is cut into words before the model sees it. All but
 * four of them (`Metaspace`, `ByteLevel`, `FixedLength`, `UnicodeScripts`) are a split at a pattern, and
 * are built as that.
 *
 * @module
 */

import { byteLevelSpelling } from "./byte_level.ts";
import { countField, flagField, listField, objectField, textField, wrongField } from "./fields.ts";
import type { Fields } from "./fields.ts";
import { cachedPattern, compilePattern, literalPattern, type Pattern } from "./pattern.ts";
import { splitScripts } from "./scripts.ts";

/**
 * One cut: the words of a text. `atStart` tells whether the text begins the whole input. An empty word
 * stands for text that was left out.
 */
export type Splitter = (text: string, atStart: boolean) => readonly string[];

/** A text's way to words. */
export interface PreTokenizer {
  /** The words of a text, in order. */
  split(text: string, atStart: boolean): string[];
  /** Whether the model wants bytes spelled as in GPT-2 rather than characters. */
  readonly byteLevel: boolean;
}

/** What happens to the text that a pattern matched. */
export type SplitBehavior =
  | "removed"
  | "isolated"
  | "mergedwithprevious"
  | "mergedwithnext"
  | "contiguous";

const MAX_STEPS = 64;
// Parts of words in Rust's expressions: Oniguruma's, and the two characters that join.
const WORD = "\\w\\x{200c}\\x{200d}";
const PUNCTUATION = "[\\p{P}!-/:-@\\[-`{-~]";

/** How GPT-2 cuts text (Radford et al. 2019), before its byte-level pairs. */
export const GPT2_PATTERN =
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/**
 * Builds the cutting that `pre_tokenizer` of tokenizer.json describes.
 *
 * @throws FormatError for an unknown kind or a malformed field
 */
export function preTokenizerFromJson(config: unknown): PreTokenizer {
  const steps: Splitter[] = [];
  let byteLevel = false;

  function add(value: unknown, field: string): void {
    const fields = objectField(value, field);
    if (fields.type === "Sequence") {
      // A sequence nested so deep that its path is this long is a cycle.
      if (field.length > 1024) throw wrongField(field, value, "pre-tokenizers nested less deep");
      listField(fields.pretokenizers, `${field}.pretokenizers`).forEach((part, i) =>
        add(part, `${field}.pretokenizers[${i}]`)
      );
      return;
    }
    // What comes after bytes sees them as GPT-2 spells them; the model takes them as they are.
    if (byteLevel) steps.push((text) => [byteLevelSpelling(text)]);
    if (steps.length >= MAX_STEPS) throw wrongField(field, value, `at most ${MAX_STEPS} steps`);
    byteLevel = fields.type === "ByteLevel";
    steps.push(...splitters(fields, field));
  }

  if (config !== null && config !== undefined) add(config, "pre_tokenizer");
  return { split: sequence(steps), byteLevel };
}

/** The cutting of GGUF's byte-level tokenizers: patterns applied one after the other. */
export function patternSplitter(
  patterns: readonly string[],
): (text: string, atStart: boolean) => string[] {
  return sequence(
    patterns.map((source) => splitAt(cachedPattern(source), "isolated")),
  );
}

function sequence(steps: readonly Splitter[]): (text: string, atStart: boolean) => string[] {
  return (text, atStart) => {
    let words: string[] = text === "" ? [] : [text];
    let beginsText = atStart; // whether the first word does
    for (const step of steps) {
      const cut: string[] = [];
      let begins = false;
      for (let i = 0; i < words.length; i++) {
        const parts = step(words[i], beginsText && i === 0);
        if (i === 0) begins = beginsText && parts.length > 0 && parts[0] !== "";
        for (let j = 0; j < parts.length; j++) if (parts[j] !== "") cut.push(parts[j]);
      }
      words = cut;
      beginsText = begins;
    }
    return words;
  };
}

function splitters(config: Fields, field: string): Splitter[] {
  const at = (regex: string, behavior: SplitBehavior, invert = false): Splitter =>
    splitAt(cachedPattern(regex), behavior, invert);
  switch (config.type) {
    case "Split":
      return [splitAt(
        compilePattern(config.pattern, `${field}.pattern`),
        behaviorField(config.behavior, `${field}.behavior`, "isolated"),
        flagField(config.invert, `${field}.invert`, false),
      )];
    case "ByteLevel": {
      const prefix = flagField(config.add_prefix_space, `${field}.add_prefix_space`, true);
      const steps: Splitter[] = [];
      if (prefix) steps.push((text) => [text.startsWith(" ") ? text : " " + text]);
      if (flagField(config.use_regex, `${field}.use_regex`, true)) {
        steps.push(at(GPT2_PATTERN, "isolated"));
      }
      return steps;
    }
    case "Metaspace":
      return [metaspace(config, field)];
    case "Punctuation":
      return [at(PUNCTUATION, behaviorField(config.behavior, `${field}.behavior`, "isolated"))];
    case "Digits": {
      const each = flagField(config.individual_digits, `${field}.individual_digits`, false);
      return [at(each ? "\\p{N}" : "\\p{N}+", "isolated")];
    }
    case "Whitespace":
      return [at(`[${WORD}]+|[^${WORD}\\s]+`, "removed", true)];
    case "WhitespaceSplit":
      return [at("\\s+", "removed")];
    case "BertPreTokenizer":
      return [at("\\s+", "removed"), at(PUNCTUATION, "isolated")];
    case "CharDelimiterSplit": {
      const delimiter = textField(config.delimiter, `${field}.delimiter`);
      return [splitAt(literalPattern(delimiter), "removed")];
    }
    case "FixedLength": {
      const length = countField(config.length, `${field}.length`, 1, 1 << 20);
      return [(text) => {
        const characters = [...text];
        const words: string[] = [];
        for (let i = 0; i < characters.length; i += length) {
          words.push(characters.slice(i, i + length).join(""));
        }
        return words;
      }];
    }
    case "UnicodeScripts":
      return [splitScripts];
    default:
      throw wrongField(
        `${field}.type`,
        config.type,
        "Sequence, Split, ByteLevel, Metaspace, Punctuation, Digits, Whitespace, " +
          "WhitespaceSplit, BertPreTokenizer, CharDelimiterSplit, UnicodeScripts or FixedLength",
      );
  }
}

/** SentencePiece's way with spaces: each becomes "▁", and words start there. */
function metaspace(config: Fields, field: string): Splitter {
  const mark = config.replacement === undefined
    ? "\u2581"
    : textField(config.replacement, `${field}.replacement`);
  if ([...mark].length !== 1) {
    throw wrongField(`${field}.replacement`, config.replacement, "one character");
  }
  // Files older than `prepend_scheme` say `add_prefix_space`.
  const legacy = flagField(config.add_prefix_space, `${field}.add_prefix_space`, true);
  const scheme = config.prepend_scheme ?? (legacy ? "always" : "never");
  if (scheme !== "always" && scheme !== "first" && scheme !== "never") {
    throw wrongField(`${field}.prepend_scheme`, scheme, '"always", "first" or "never"');
  }
  const cut = flagField(config.split, `${field}.split`, true);
  return (text, atStart) => {
    let marked = text.replaceAll(" ", mark);
    const prepend = scheme === "always" || (scheme === "first" && atStart);
    if (prepend && !marked.startsWith(mark)) marked = mark + marked;
    if (!cut) return [marked];
    const words: string[] = [];
    for (let start = 0; start < marked.length;) {
      const next = marked.indexOf(mark, start + mark.length);
      const end = next < 0 ? marked.length : next;
      words.push(marked.slice(start, end));
      start = end;
    }
    return words;
  };
}

function behaviorField(value: unknown, field: string, fallback: SplitBehavior): SplitBehavior {
  if (value === undefined || value === null) return fallback;
  const name = typeof value === "string" ? value.toLowerCase().replaceAll("_", "") : "";
  switch (name) {
    case "removed":
    case "isolated":
    case "mergedwithprevious":
    case "mergedwithnext":
    case "contiguous":
      return name;
  }
  throw wrongField(
    field,
    value,
    "Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous",
  );
}

/** A split at every match of a pattern; `invert` swaps what is a match and what lies between. */
function splitAt(pattern: Pattern, behavior: SplitBehavior, invert = false): Splitter {
  return (text) => {
    const found = pattern.matches(text);
    const words: string[] = [];
    const matched: boolean[] = []; // [words], for behaviours that ask
    const joins = behavior !== "isolated" && behavior !== "removed";
    const add = (start: number, end: number, isMatch: boolean): void => {
      if (isMatch && behavior === "removed") {
        if (start === 0) words.push("");
        return;
      }
      words.push(text.slice(start, end));
      if (joins) matched.push(isMatch);
    };
    let last = 0;
    for (let i = 0; i < found.length; i += 2) {
      const start = found[i];
      if (start > last) add(last, start, invert);
      last = found[i + 1];
      add(start, last, !invert);
    }
    if (last < text.length) add(last, text.length, invert);
    return joins ? join(words, matched, behavior) : words;
  };
}

function join(words: string[], matched: boolean[], behavior: SplitBehavior): string[] {
  switch (behavior) {
    case "isolated":
    case "removed":
      return words;
    case "contiguous": {
      const joined: string[] = [];
      words.forEach((word, i) => {
        if (i > 0 && matched[i] === matched[i - 1]) joined[joined.length - 1] += word;
        else joined.push(word);
      });
      return joined;
    }
    case "mergedwithprevious": {
      const joined: string[] = [];
      words.forEach((word, i) => {
        if (i > 0 && matched[i] && !matched[i - 1]) joined[joined.length - 1] += word;
        else joined.push(word);
      });
      return joined;
    }
    case "mergedwithnext": {
      const joined: string[] = [];
      words.forEach((word, i) => {
        if (i > 0 && matched[i - 1] && !matched[i]) joined[joined.length - 1] += word;
        else joined.push(word);
      });
      return joined;
    }
  }
}
