/**
 * The tokenizer of a folder as fields of a GGUF file (`tokenizer.*`), so that llama.cpp encodes as the
 * folder's own tokenizer does. What comes out is read again and has to agree with it on texts that tell
 * the ways of cutting apart.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { plainValue } from "../../runtime/files/gguf_metadata.ts";
import type { ModelFile } from "../../runtime/files/model_file.ts";
import { type ModelText, readModelText } from "../../runtime/text/model_text.ts";
import { tokenizerFromGguf } from "../../runtime/text/tokenizer/gguf.ts";
import { publishedForm } from "../../runtime/text/tokenizer/published/kinds.ts";
import type { Tokenizer } from "../../runtime/text/tokenizer/tokenizer.ts";
import { byteLevelVocabulary, isByteLevel, type Json } from "./byte_level.ts";
import { f32s, type Fields, i32s, text, texts } from "./fields.ts";
import { pairVocabulary, pieceVocabulary } from "./pieces.ts";
import { PROBES } from "./probes.ts";
import { specialFields } from "./special_tokens.ts";
import { TYPE, type Vocabulary } from "./vocabulary.ts";
import { wordPieceVocabulary } from "./word_pieces.ts";

/** A tokenizer's fields, and what of it has no place in them. */
export interface GgufTokenizer {
  readonly fields: Fields;
  /** Sentences without their subject. */
  readonly notes: readonly string[];
}

/**
 * The fields of a folder's tokenizer, `vocabSize` tokens in all.
 *
 * @throws ModelError when GGUF files cannot have one like it
 */
export async function ggufTokenizer(file: ModelFile, vocabSize: number): Promise<GgufTokenizer> {
  const found = await readModelText(file);
  if (!found) {
    return {
      fields: { "tokenizer.ggml.model": text("none") },
      notes: ["there is no tokenizer: the file takes token ids alone"],
    };
  }
  const { vocabulary, config, notes } = vocabularyOf(file);
  const { kind, scores } = vocabulary, fitted = fit(file.name, vocabulary, vocabSize);
  const named = { unk_token: vocabulary.unknown, ...known(config) };
  const special = specialFields(file, named, kind, found.tokenizer);
  const fields: Fields = {
    "tokenizer.ggml.model": text(kind),
    ...vocabulary.fields,
    "tokenizer.ggml.tokens": texts(fitted.tokens),
    "tokenizer.ggml.token_type": i32s(fitted.types),
    ...(scores && { "tokenizer.ggml.scores": f32s(fitted.scores) }),
    ...special.fields,
    ...templateFields(found),
  };
  await compare(file.name, found.tokenizer, fields, vocabulary.differs);
  const all = [...vocabulary.notes, ...notes, ...fitted.notes, ...special.notes];
  return { fields, notes: all };
}

/** The tokens of a folder, by the kind of its tokenizer. */
function vocabularyOf(
  file: ModelFile,
): { vocabulary: Vocabulary; config: Readonly<Record<string, unknown>>; notes: string[] } {
  const { name, tokenizerFiles: files, tokenizerConfig = {}, metadata: model } = file;
  const form = file.tokenizerJson !== undefined
    ? { json: file.tokenizerJson as Json, config: tokenizerConfig }
    : publishedForm({ name, files: files!, config: tokenizerConfig, model });
  if (typeof form === "string") {
    throw new ModelError(
      `Cannot convert the tokenizer of ${
        quote(name)
      }: it is a ${form}, expected a LlamaTokenizer, ` +
        `BertTokenizer, GPT2Tokenizer, Qwen2Tokenizer, RobertaTokenizer or a tokenizer.json; use the model as it is`,
    );
  }
  if ("specials" in form) {
    const vocabulary = pieceVocabulary(name, form, tokenizerConfig);
    const named = ["unk_token", "bos_token", "eos_token", "pad_token"].flatMap((it) => {
      const id = form.specials.id(it);
      return id === undefined ? [] : [[it, vocabulary.tokens[id]]];
    });
    return { vocabulary, config: Object.fromEntries(named), notes: [] };
  }
  const json: Json = form.json,
    added = json.added_tokens ?? [],
    { type, vocab, merges } = json.model;
  const notes = added.some((it: Json) => it.lstrip || it.rstrip || it.single_word)
    ? [
      "some added tokens take spaces beside them or stand only as words, which has no place in GGUF",
    ]
    : [];
  const isWordPiece = type === "WordPiece" ||
    (type === undefined && merges === undefined && !Array.isArray(vocab));
  if (!isWordPiece && !Array.isArray(merges)) {
    throw new ModelError(
      `Cannot convert the tokenizer of ${quote(name)}: its model is ${quote(type ?? null)}, ` +
        `expected BPE or WordPiece; use the model as it is`,
    );
  }
  const read = isWordPiece
    ? wordPieceVocabulary
    : isByteLevel(json)
    ? byteLevelVocabulary
    : pairVocabulary;
  return { vocabulary: read(name, json, added), config: form.config, notes };
}

/** As many tokens as the model has: ids without one are unused, tokens beyond the last are left out. */
function fit(
  name: string,
  { tokens, types, scores = [] }: Vocabulary,
  vocabSize: number,
): { tokens: string[]; types: number[]; scores: number[]; notes: string[] } {
  const beyond = tokens.slice(vocabSize).filter((it) => it !== undefined);
  if (types.slice(vocabSize).includes(TYPE.normal)) {
    throw new ModelError(
      `Cannot convert the tokenizer of ${
        quote(name)
      }: it has ${tokens.length} tokens, expected at ` +
        `most ${vocabSize}, as the model has`,
    );
  }
  const range = Array.from({ length: vocabSize }, (_, id) => id);
  return {
    tokens: range.map((id) => tokens[id] ?? `[PAD${id}]`),
    types: range.map((id) => tokens[id] === undefined ? TYPE.unused : types[id]!),
    scores: range.map((id) => tokens[id] === undefined ? -10000 : scores[id] ?? 0),
    notes: beyond.length > 0
      ? [
        `added tokens lie beyond the ${vocabSize} that the model has, and are left out: ${
          beyond.slice(0, 6).map((it) => quote(it)).join(", ")
        }`,
      ]
      : [],
  };
}

/** Chat templates: the main one, and others by name. */
function templateFields({ chatTemplate }: ModelText): Fields {
  if (typeof chatTemplate === "string") return { "tokenizer.chat_template": text(chatTemplate) };
  if (!Array.isArray(chatTemplate)) return {};
  const named = chatTemplate as { name: string; template: string }[];
  const others = named.filter((it) => it.name !== "default");
  const fields: Fields = {};
  for (const { name, template } of named) {
    fields[`tokenizer.chat_template${name === "default" ? "" : `.${name}`}`] = text(template);
  }
  if (others.length > 0) {
    fields["tokenizer.chat_templates"] = texts(others.map((it) => it.name));
  }
  return fields;
}

/** The fields that are not null. */
function known(config: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value != null));
}

/** Compares what texts become under both. */
async function compare(
  name: string,
  own: Tokenizer,
  fields: Fields,
  differs: (text: string) => boolean = () => false,
): Promise<void> {
  const entries = Object.entries(fields).map(([field, value]) => [field, plainValue(value)]);
  const made = await tokenizerFromGguf(Object.fromEntries(entries));
  for (const probe of PROBES) {
    if (differs(probe)) continue;
    const [expected, found] = [own.encode(probe), made.encode(probe)];
    if (String(expected) === String(found)) continue;
    throw new ModelError(
      `Cannot convert the tokenizer of ${quote(name)}: ${quote(probe)} is ${
        quote(expected, 60)
      }, and would be ${quote(found, 60)} in a GGUF file; use the model as it is`,
    );
  }
}
