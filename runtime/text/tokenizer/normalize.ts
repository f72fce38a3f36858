/**
 * Normalizers of tokenizer.json: what happens to a text before it is cut into words.
 *
 * @module
 */

import { FormatError, InputError } from "../../../errors.ts";
import { byteLevelSpelling } from "./byte_level.ts";
import { graphemeCharsMap } from "./charsmap.ts";
import { flagField, listField, objectField, textField, wrongField } from "./fields.ts";
import type { Fields } from "./fields.ts";
import { normalForm } from "./normal_form.ts";
import { compilePattern } from "./pattern.ts";

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
export function normalizerFromJson(config: unknown): Normalizer {
  const steps: Normalizer[] = [];
  flatten(config, "normalizer", steps);
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

function flatten(config: unknown, field: string, steps: Normalizer[]): void {
  if (config === null || config === undefined) return;
  const fields = objectField(config, field);
  if (fields.type !== "Sequence") {
    if (steps.length === MAX_STEPS) {
      throw wrongField(field, config, `at most ${MAX_STEPS} normalizers`);
    }
    steps.push(single(fields, field));
    return;
  }
  // A sequence nested so deep that its path is this long is a cycle.
  if (field.length > 1024) throw wrongField(field, config, "normalizers nested less deep");
  listField(fields.normalizers, `${field}.normalizers`).forEach((part, i) =>
    flatten(part, `${field}.normalizers[${i}]`, steps)
  );
}

// Not what `trim` takes: U+FEFF is no white space, U+0085 is.
const SPACE_LEFT = /^\p{White_Space}+/u;

/** A text without the white space at its start. */
function trimLeft(text: string): string {
  return text.replace(SPACE_LEFT, "");
}

/** A text without the white space at its end. */
function trimRight(text: string): string {
  // An expression would begin at every run of white space in the text.
  let end = text.length;
  while (end > 0 && SPACE_LEFT.test(text[end - 1])) end--;
  return text.slice(0, end);
}

/** Lower-cases characters one by one: "Σ" becomes "σ" also where a word ends. */
function lowercase(text: string): string {
  return text.split("\u03a3").map((part) => part.toLowerCase()).join("\u03c3");
}

// What SentencePiece's `nmt` rule removes, and what it takes for a space.
// deno-lint-ignore no-control-regex
const NMT_REMOVED = /[\u0001-\u0008\u000b\u000e-\u001f\u007f\u008f\u009f]/g;
// deno-lint-ignore no-control-regex
const NMT_SPACE = /[\u0009\u000a\u000c\u000d\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/g;

function single(config: Fields, field: string): Normalizer {
  switch (config.type) {
    case "Replace": {
      const pattern = compilePattern(config.pattern, `${field}.pattern`);
      const content = insertField(config.content, `${field}.content`);
      return (text) => pattern.replace(text, content);
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
      return (text) => text.replace(/\p{M}/gu, "");
    case "Precompiled":
      return graphemeCharsMap(
        base64Field(config.precompiled_charsmap, `${field}.precompiled_charsmap`),
        `${field}.precompiled_charsmap`,
      );
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD": {
      const form = config.type;
      return (text) => normalForm(text, form);
    }
    case "Lowercase":
      return lowercase;
    case "Strip": {
      const left = flagField(config.strip_left, `${field}.strip_left`, true);
      const right = flagField(config.strip_right, `${field}.strip_right`, true);
      return (text) => {
        if (left) text = trimLeft(text);
        return right ? trimRight(text) : text;
      };
    }
    case "Nmt":
      return (text) => text.replace(NMT_REMOVED, "").replace(NMT_SPACE, " ");
    case "ByteLevel":
      return byteLevelSpelling;
    default:
      throw wrongField(
        `${field}.type`,
        config.type,
        "Sequence, NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Replace, Prepend, " +
          "BertNormalizer, ByteLevel, Nmt or Precompiled",
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

const CONTROL = /[\p{Cc}\p{Cf}\p{Co}\0\ufffd]/gu;
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
    if (options.stripAccents) text = normalForm(text, "NFD").replace(/\p{Mn}/gu, "");
    return options.lowercase ? lowercase(text) : text;
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
