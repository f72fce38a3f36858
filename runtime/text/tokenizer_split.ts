/**
 * Pre-tokenizers of tokenizer.json: where a text is cut into words before the model sees it. All but
 * three of them (`Metaspace`, `ByteLevel`, `FixedLength`) are a split at a pattern, and are built as
 * that. `@huggingface/tokenizers` translates the patterns, which are Oniguruma's, to JavaScript's;
 * the cutting is done here, because it cuts `Punctuation` and `Whitespace` differently from the
 * original and ignores three of five split behaviours.
 *
 * @module
 */

import type { TokenizersLibrary } from "../deps.ts";
import {
  countField,
  flagField,
  listField,
  objectField,
  textField,
  wrongField,
} from "./tokenizer_fields.ts";
import type { Fields } from "./tokenizer_fields.ts";
import { compilePattern } from "./tokenizer_pattern.ts";

/** One cut: the words of a text. `atStart` tells whether the text begins the whole input. */
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
const PUNCTUATION = "[\\p{P}!-/:-@\\[-`{-~]";

/** How GPT-2 cuts text (Radford et al. 2019), before its byte-level pairs. */
export const GPT2_PATTERN =
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/**
 * Builds the cutting that `pre_tokenizer` of tokenizer.json describes.
 *
 * @throws FormatError for an unknown kind or a malformed field
 */
export function preTokenizerFromJson(library: TokenizersLibrary, config: unknown): PreTokenizer {
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
    if (byteLevel) throw wrongField(field, value, "nothing after ByteLevel");
    if (steps.length >= MAX_STEPS) throw wrongField(field, value, `at most ${MAX_STEPS} steps`);
    byteLevel = fields.type === "ByteLevel";
    steps.push(...splitters(library, fields, field));
  }

  if (config !== null && config !== undefined) add(config, "pre_tokenizer");
  return { split: sequence(steps), byteLevel };
}

/** The cutting of GGUF's byte-level tokenizers: patterns applied one after the other. */
export function patternSplitter(
  library: TokenizersLibrary,
  patterns: readonly string[],
): (text: string, atStart: boolean) => string[] {
  return sequence(
    patterns.map((Regex) => splitAt(compilePattern(library, { Regex }, "pattern"), "isolated")),
  );
}

function sequence(steps: readonly Splitter[]): (text: string, atStart: boolean) => string[] {
  return (text, atStart) => {
    let words: string[] = text === "" ? [] : [text];
    for (const step of steps) {
      if (words.length === 1) words = step(words[0], atStart).filter((word) => word !== "");
      else {
        const cut: string[] = [];
        words.forEach((word, i) => {
          for (const part of step(word, atStart && i === 0)) if (part !== "") cut.push(part);
        });
        words = cut;
      }
    }
    return words;
  };
}

function splitters(library: TokenizersLibrary, config: Fields, field: string): Splitter[] {
  const at = (regex: string, behavior: SplitBehavior, invert = false): Splitter =>
    splitAt(compilePattern(library, { Regex: regex }, field), behavior, invert);
  switch (config.type) {
    case "Split":
      return [splitAt(
        compilePattern(library, config.pattern, `${field}.pattern`),
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
      return [at("\\w+|[^\\w\\s]+", "removed", true)];
    case "WhitespaceSplit":
      return [at("\\s+", "removed")];
    case "BertPreTokenizer":
      return [at("\\s+", "removed"), at(PUNCTUATION, "isolated")];
    case "CharDelimiterSplit": {
      const delimiter = textField(config.delimiter, `${field}.delimiter`);
      return [splitAt(compilePattern(library, { String: delimiter }, field), "removed")];
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
    default:
      throw wrongField(
        `${field}.type`,
        config.type,
        "Sequence, Split, ByteLevel, Metaspace, Punctuation, Digits, Whitespace, " +
          "WhitespaceSplit, BertPreTokenizer, CharDelimiterSplit or FixedLength",
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
export function splitAt(pattern: RegExp, behavior: SplitBehavior, invert = false): Splitter {
  return (text) => {
    const words: string[] = [];
    const matched: boolean[] = []; // [words]
    const add = (word: string, isMatch: boolean): void => {
      if (word === "") return;
      words.push(word);
      matched.push(isMatch !== invert);
    };
    let end = 0;
    for (const { 0: match, index } of text.matchAll(pattern)) {
      add(text.slice(end, index), false);
      add(match, true);
      end = index + match.length;
    }
    add(text.slice(end), false);
    return join(words, matched, behavior);
  };
}

function join(words: string[], matched: boolean[], behavior: SplitBehavior): string[] {
  switch (behavior) {
    case "isolated":
      return words;
    case "removed":
      return words.filter((_, i) => !matched[i]);
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
