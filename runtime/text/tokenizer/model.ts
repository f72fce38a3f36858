/**
 * The `vocab` and `model` of tokenizer.json: token ids, merges and scores, checked field by field.
 *
 * @module
 */

import { BYTE_CHARACTERS, byteLevelSpelling } from "./byte_level.ts";
import { quote } from "../../../escape.ts";
import { bpeModel, MISSING } from "./bpe.ts";
import type { WordModel } from "./bpe.ts";
import {
  countField,
  flagField,
  listField,
  MAX_VOCABULARY,
  objectField,
  optionalText,
  textField,
  wrongField,
} from "./fields.ts";
import type { Fields } from "./fields.ts";
import { rankedRules, Symbols } from "./merge.ts";
import { unigramModel, wordListModel, wordPieceModel } from "./words.ts";

/** A vocabulary while it is read. */
export interface Vocabulary {
  /** Token texts by id; holes where an id has none. */
  readonly tokens: (string | undefined)[];
  /** Token ids by text. */
  readonly ids: Map<string, number>;
}

/** `model.vocab`: an object from token to id, or for unigram a list of [token, score]. */
export function readVocabulary(model: Fields): Vocabulary {
  const vocabulary: Vocabulary = { tokens: [], ids: new Map() };
  if (Array.isArray(model.vocab)) {
    listField(model.vocab, "model.vocab").forEach((entry, id) => {
      const field = `model.vocab[${id}]`;
      addToken(vocabulary, textField(listField(entry, field)[0], `${field}[0]`), id);
    });
  } else {
    for (const [token, id] of Object.entries(objectField(model.vocab, "model.vocab"))) {
      if (!isTokenId(id)) {
        const field = `model.vocab[${quote(token, 40)}]`;
        throw wrongField(field, id, `a whole number from 0 to ${MAX_VOCABULARY}`);
      }
      addToken(vocabulary, token, id);
    }
  }
  return vocabulary;
}

function isTokenId(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 &&
    value <= MAX_VOCABULARY;
}

function addToken({ tokens, ids }: Vocabulary, token: string, id: number): void {
  tokens[id] ??= token;
  if (!ids.has(token)) ids.set(token, id);
}

/** Ids may have gaps, but a vocabulary that is mostly gaps is damage and would cost memory. */
export function checkGaps(tokens: { readonly length: number }, count: number): void {
  if (tokens.length > 8 * count + 65536) {
    throw wrongField("the largest token id", tokens.length - 1, `less, for ${count} tokens`);
  }
}

/** Kinds that older files leave out follow from the fields that are there. */
function modelKind(model: Fields): unknown {
  if (model.type !== undefined && model.type !== null) return model.type;
  if (Array.isArray(model.vocab)) return "Unigram";
  if (model.merges !== undefined) return "BPE";
  return model.continuing_subword_prefix === undefined ? "WordLevel" : "WordPiece";
}

/** The model that turns a word into ids; `byteLevel` words are spelled in bytes. */
export function readModel(model: Fields, vocabulary: Vocabulary, byteLevel: boolean): WordModel {
  const { tokens, ids } = vocabulary;
  const kind = modelKind(model);
  if (kind === "BPE") return readBpe(model, vocabulary, byteLevel);
  const words = ((): WordModel => {
    switch (kind) {
      case "WordPiece": {
        const unknown = textField(model.unk_token ?? "[UNK]", "model.unk_token");
        return wordPieceModel({
          ids,
          unknown: tokenId(ids, unknown, "model.unk_token"),
          continuingPrefix: textField(
            model.continuing_subword_prefix ?? "##",
            "model.continuing_subword_prefix",
          ),
          maxCharacters: countField(
            model.max_input_chars_per_word,
            "model.max_input_chars_per_word",
            1,
            2 ** 31,
            100,
          ),
        });
      }
      case "WordLevel": {
        const unknown = optionalText(model.unk_token, "model.unk_token") ?? "<unk>";
        return wordListModel(ids, ids.get(unknown));
      }
      case "Unigram": {
        const scores = listField(model.vocab, "model.vocab").map((entry, id) => {
          const score = (entry as unknown[])[1];
          if (typeof score !== "number" || !Number.isFinite(score)) {
            throw wrongField(`model.vocab[${id}][1]`, score, "a finite number");
          }
          return score;
        });
        return unigramModel({
          tokens: tokens.slice(0, scores.length),
          scores,
          unknown: model.unk_id === undefined || model.unk_id === null
            ? undefined
            : countField(model.unk_id, "model.unk_id", 0, scores.length - 1),
          byteFallback: byteFallback(model, ids),
        });
      }
    }
    throw wrongField("model.type", kind, "BPE, Unigram, WordPiece or WordLevel");
  })();
  if (!byteLevel) return words;
  return { encode: (word, out) => words.encode(byteLevelSpelling(word), out) };
}

function readBpe(model: Fields, { tokens, ids }: Vocabulary, byteLevel: boolean): WordModel {
  const merges = listField(model.merges, "model.merges");
  if (merges.length > MAX_VOCABULARY) {
    throw wrongField("model.merges", merges, `at most ${MAX_VOCABULARY} pairs`);
  }
  const continuingPrefix = optionalText(
    model.continuing_subword_prefix,
    "model.continuing_subword_prefix",
  ) ?? "";
  const wordSuffix = optionalText(model.end_of_word_suffix, "model.end_of_word_suffix") ?? "";
  const pairs: number[] = []; // [merges, left and right]
  let crossesSpace = false;
  const result = merges.map((entry, rank) => {
    const [left, right] = mergePair(entry, rank);
    const merged = left + right.slice(continuingPrefix.length); // whatever it begins with, as in the original
    const [leftId, rightId, mergedId] = [ids.get(left), ids.get(right), ids.get(merged)];
    if (leftId === undefined || rightId === undefined || mergedId === undefined) {
      const unknown = leftId === undefined ? left : rightId === undefined ? right : merged;
      throw wrongField(`model.merges[${rank}]`, unknown, "tokens of model.vocab");
    }
    pairs.push(leftId, rightId);
    crossesSpace ||= !byteLevel && /[^\u2581]\u2581/.test(merged);
    return mergedId;
  });
  const unknown = optionalText(model.unk_token, "model.unk_token");
  const ignoreMerges = flagField(model.ignore_merges, "model.ignore_merges", false);
  const symbols = new Symbols(tokens, ids);
  // Words go in as bytes where nothing but bytes can be in the vocabulary.
  const asBytes = byteLevel && continuingPrefix === "" && wordSuffix === "";
  const bpe = bpeModel({
    symbols,
    rules: rankedRules(pairs, result),
    byteSymbols: asBytes ? BYTE_CHARACTERS.map((text) => symbols.intern(text)) : undefined,
    byteFallback: byteFallback(model, ids),
    tokensOnly: true,
    unknown: unknown === undefined ? undefined : ids.get(unknown) ?? MISSING,
    fuseUnknown: flagField(model.fuse_unk, "model.fuse_unk", false),
    wholeWord: ignoreMerges
      ? (word) => ids.get(asBytes ? byteLevelSpelling(word) : word)
      : undefined,
    continuingPrefix,
    wordSuffix,
    cutAtSpaces: !byteLevel && !crossesSpace && !ignoreMerges && wordSuffix === "" &&
      continuingPrefix === "" && ids.has("\u2581"),
  });
  if (!byteLevel || asBytes) return bpe;
  return { encode: (word, out) => bpe.encode(byteLevelSpelling(word), out) };
}

/** A merge is a pair, in older files written as one text with a space. */
function mergePair(entry: unknown, rank: number): readonly [string, string] {
  const pair = typeof entry === "string" ? splitMerge(entry) : entry;
  if (
    Array.isArray(pair) && pair.length === 2 &&
    typeof pair[0] === "string" && typeof pair[1] === "string"
  ) return pair as [string, string];
  throw wrongField(`model.merges[${rank}]`, entry, "a pair of tokens");
}

/** Parts a written merge at its space; a space that begins the first token is no separator. */
export function splitMerge(text: string): [string, string] | undefined {
  const space = text.indexOf(" ", 1);
  return space < 0 ? undefined : [text.slice(0, space), text.slice(space + 1)];
}

/** The id of a token that must be in the vocabulary. */
function tokenId(ids: ReadonlyMap<string, number>, token: string, field: string): number {
  const id = ids.get(token);
  if (id === undefined) throw wrongField(field, token, "a token of model.vocab");
  return id;
}

function byteFallback(model: Fields, ids: ReadonlyMap<string, number>): number[] | undefined {
  return flagField(model.byte_fallback, "model.byte_fallback", false) ? byteTokens(ids) : undefined;
}

/** The ids of `<0x00>` … `<0xFF>`. [256], -1 where missing */
export function byteTokens(ids: ReadonlyMap<string, number>): number[] {
  return Array.from({ length: 256 }, (_, byte) => {
    const hex = byte.toString(16).toUpperCase().padStart(2, "0");
    return ids.get(`<0x${hex}>`) ?? -1;
  });
}
