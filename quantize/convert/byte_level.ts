/**
 * Byte-level pairs (`gpt2` in GGUF files): tokens, merges, and the name of the way words are cut.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { PRE_TOKENIZER_RULES } from "../../runtime/text/tokenizer/pre.ts";
import { GPT2_PATTERN } from "../../runtime/text/tokenizer/split.ts";
import { text, texts } from "./fields.ts";
import { type Added, addTokens, TYPE, type Vocabulary } from "./vocabulary.ts";

// deno-lint-ignore no-explicit-any -- tokenizer.json, which the tokenizer has been built of by then
export type Json = any;

/** A pre-tokenizer's steps, one after another. */
export function stepsOf(step: Json, list: "pretokenizers" | "normalizers"): Json[] {
  if (step === null || step === undefined) return [];
  return step.type === "Sequence" ? step[list].flatMap((it: Json) => stepsOf(it, list)) : [step];
}

/** Whether a tokenizer.json spells words in bytes. */
export const isByteLevel = ({ pre_tokenizer: pre, model }: Json): boolean =>
  Array.isArray(model?.merges) &&
  stepsOf(pre, "pretokenizers").some((it) => it.type === "ByteLevel");

/**
 * The vocabulary of a byte-level tokenizer.json.
 *
 * @throws ModelError where no name of llama.cpp stands for the way words are cut
 */
export function byteLevelVocabulary(name: string, json: Json, added: Added[]): Vocabulary {
  const fail = (what: string): never => {
    throw new ModelError(
      `Cannot convert the tokenizer of ${
        quote(name)
      }: ${what}, which has no place in GGUF files; ` +
        `use the model as it is`,
    );
  };
  const { model, normalizer, pre_tokenizer: pre } = json, notes: string[] = [];
  for (const { type } of stepsOf(normalizer, "normalizers")) {
    if (type !== "NFC") fail(`its normalizer ${quote(type)} changes texts`);
    notes.push(
      "texts are brought into normal form (NFC) first, which has no place in GGUF: texts in other " +
        "forms get other tokens there",
    );
  }
  for (const field of ["continuing_subword_prefix", "end_of_word_suffix"]) {
    if (model[field]) fail(`field ${quote(`model.${field}`)} is ${quote(model[field])}`);
  }
  const tokens: (string | undefined)[] = [], types: number[] = [];
  for (const [token, id] of Object.entries<number>(model.vocab)) {
    tokens[id] = token;
    types[id] = TYPE.normal;
  }
  addTokens({ tokens, types }, added);
  const merges = model.merges.map((it: Json) => typeof it === "string" ? it : it.join(" "));
  return {
    ...{ kind: "gpt2", tokens, types, notes },
    fields: {
      "tokenizer.ggml.pre": text(preName(name, pre, model.ignore_merges === true)),
      "tokenizer.ggml.merges": texts(merges),
    },
  };
}

/** What llama.cpp calls the way words are cut, known by its patterns. */
function preName(name: string, pre: Json, ignoreMerges: boolean): string {
  const patterns: string[] = [], odd: string[] = [];
  for (const step of stepsOf(pre, "pretokenizers")) {
    const { type, pattern, behavior = "Isolated", invert, use_regex: cuts = true } = step;
    if (type === "Split" && behavior === "Isolated" && !invert && pattern?.Regex !== undefined) {
      patterns.push(pattern.Regex);
    } else if (type === "Digits" && step.individual_digits) patterns.push("\\p{N}");
    else if (type === "ByteLevel" && !step.add_prefix_space) {
      if (cuts) patterns.push(GPT2_PATTERN);
    } else odd.push(type === "ByteLevel" ? "add_prefix_space" : type);
  }
  const rule = odd.length > 0
    ? undefined
    : PRE_TOKENIZER_RULES.find((it) =>
      (it.ignoreMerges ?? false) === ignoreMerges && it.patterns.length === patterns.length &&
      it.patterns.every((pattern, i) => pattern === patterns[i])
    );
  if (rule) return rule.names[0]!;
  const found = odd.length > 0 ? odd : patterns;
  throw new ModelError(
    `Cannot convert the tokenizer of ${quote(name)}: it cuts words by ${
      found.map((it) => quote(it)).join(", ")
    }${ignoreMerges ? " and ignores merges" : ""}, expected a way that llama.cpp has a name for (${
      PRE_TOKENIZER_RULES.map((it) => it.names[0]).join(", ")
    }); use the model as it is`,
  );
}
