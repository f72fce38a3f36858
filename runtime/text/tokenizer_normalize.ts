/**
 * Normalizers of tokenizer.json: what happens to a text before it is cut into words. Unicode forms,
 * case and trimming come from `@huggingface/tokenizers`; written here are the ones that it gets wrong:
 * `Replace` (it expands `$&` in the replacement), `BertNormalizer` (it misses CJK beyond the
 * basic plane), `StripAccents` (it removes spacing marks too), `Precompiled` (it ignores the map).
 *
 * @module
 */

import { FormatError, InputError } from "../../errors.ts";
import type { TokenizersLibrary } from "../deps.ts";
import { charsMap } from "./tokenizer_charsmap.ts";
import { flagField, listField, objectField, textField, wrongField } from "./tokenizer_fields.ts";
import type { Fields } from "./tokenizer_fields.ts";
import { compilePattern } from "./tokenizer_pattern.ts";

/** One text to another. */
export type Normalizer = (text: string) => string;

const MAX_STEPS = 64;
const MAX_INSERT = 256; // UTF-16 units that one replacement or prefix may insert
// NFKC makes at most 18 characters of one; a chain that grows a text beyond this is a trap.
const MAX_GROWTH = 64;

/**
 * Builds the normalizer that `normalizer` of tokenizer.json describes.
 *
 * @throws FormatError for an unknown kind or a malformed field
 */
export function normalizerFromJson(library: TokenizersLibrary, config: unknown): Normalizer {
  const steps: Normalizer[] = [];
  flatten(library, config, "normalizer", steps);
  if (steps.length === 0) return (text) => text;
  return (text) => {
    const most = MAX_GROWTH * text.length + 1024;
    for (const step of steps) {
      text = step(text);
      if (text.length > most) {
        throw new InputError(
          `Cannot encode the text: the tokenizer's normalizer makes more than ${MAX_GROWTH} ` +
            `characters of one; the tokenizer file is damaged`,
        );
      }
    }
    return text;
  };
}

function flatten(
  library: TokenizersLibrary,
  config: unknown,
  field: string,
  steps: Normalizer[],
): void {
  if (config === null || config === undefined) return;
  const fields = objectField(config, field);
  if (fields.type !== "Sequence") {
    if (steps.length === MAX_STEPS) {
      throw wrongField(field, config, `at most ${MAX_STEPS} normalizers`);
    }
    steps.push(single(library, fields, field));
    return;
  }
  // A sequence nested so deep that its path is this long is a cycle.
  if (field.length > 1024) throw wrongField(field, config, "normalizers nested less deep");
  listField(fields.normalizers, `${field}.normalizers`).forEach((part, i) =>
    flatten(library, part, `${field}.normalizers[${i}]`, steps)
  );
}

function single(library: TokenizersLibrary, config: Fields, field: string): Normalizer {
  switch (config.type) {
    case "Replace": {
      const pattern = compilePattern(library, config.pattern, `${field}.pattern`);
      const content = insertField(config.content, `${field}.content`);
      return (text) => text.replace(pattern, () => content);
    }
    case "Prepend": {
      const prefix = insertField(config.prepend, `${field}.prepend`);
      return (text) => text === "" ? text : prefix + text;
    }
    case "BertNormalizer": {
      const lowercase = flagField(config.lowercase, `${field}.lowercase`, true);
      return bertNormalizer({
        clean: flagField(config.clean_text, `${field}.clean_text`, true),
        spaceChinese: flagField(config.handle_chinese_chars, `${field}.handle_chinese_chars`, true),
        lowercase,
        stripAccents: flagField(config.strip_accents, `${field}.strip_accents`, lowercase),
      });
    }
    case "StripAccents":
      return (text) => text.replace(/\p{Mn}/gu, "");
    case "Precompiled":
      return charsMap(
        base64Field(config.precompiled_charsmap, `${field}.precompiled_charsmap`),
        `${field}.precompiled_charsmap`,
      );
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD":
    case "Lowercase":
    case "Strip": {
      const sequence = new library.SequenceNormalizer({
        type: "Sequence",
        // The library types every kind separately; the kind was just checked.
        normalizers: [config as never],
      });
      return (text) => sequence.normalize(text);
    }
    default:
      throw wrongField(
        `${field}.type`,
        config.type,
        "Sequence, NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Replace, Prepend, " +
          "BertNormalizer or Precompiled",
      );
  }
}

/** The options of {@linkcode bertNormalizer}. */
export interface BertNormalizerOptions {
  /** Drops control characters and turns every white space into a space. */
  readonly clean: boolean;
  /** Puts spaces around CJK ideographs, so that each is a word. */
  readonly spaceChinese: boolean;
  /** Lower-cases. */
  readonly lowercase: boolean;
  /** Decomposes and drops the non-spacing marks. */
  readonly stripAccents: boolean;
}

const CONTROL = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\0\ufffd]/gu;
const IDEOGRAPH = new RegExp(
  "[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\\u{20000}-\\u{2a6df}\\u{2a700}-\\u{2b73f}" +
    "\\u{2b740}-\\u{2b81f}\\u{2b920}-\\u{2ceaf}\\u{2f800}-\\u{2fa1f}]",
  "gu",
);

/** The cleaning of BERT's basic tokenizer. */
export function bertNormalizer(options: BertNormalizerOptions): Normalizer {
  return (text) => {
    if (options.clean) text = text.replace(/[\t\n\r]/g, " ").replace(CONTROL, "");
    if (options.clean) text = text.replace(/\p{White_Space}/gu, " ");
    if (options.spaceChinese) text = text.replace(IDEOGRAPH, " $& ");
    if (options.stripAccents) text = text.normalize("NFD").replace(/\p{Mn}/gu, "");
    return options.lowercase ? text.toLowerCase() : text;
  };
}

function insertField(value: unknown, field: string): string {
  const text = textField(value, field);
  if (text.length > MAX_INSERT) {
    throw wrongField(field, value, `at most ${MAX_INSERT} characters`);
  }
  return text;
}

function base64Field(value: unknown, field: string): Uint8Array {
  if (value === undefined || value === null) return new Uint8Array(0);
  const text = textField(value, field);
  try {
    return Uint8Array.from(atob(text), (unit) => unit.charCodeAt(0));
  } catch {
    throw new FormatError(
      `Cannot read the tokenizer: ${field} is not base64; the file is damaged, fetch it again`,
    );
  }
}
