/**
 * The kinds of tokenizers that GGUF files name, each with what differs between them.
 *
 * @module
 */

import { byteOfToken } from "../decoding/text_decoder.ts";
import { bpeModel } from "./bpe.ts";
import { BYTE_CHARACTERS, byteLevelBytes, byteLevelSpelling } from "./byte_level.ts";
import { charsMap } from "./charsmap.ts";
import type { TokenizerParts } from "./core.ts";
import { MAX_VOCABULARY, optionalText, wrongField } from "./fields.ts";
import {
  BYTE,
  CONTROL,
  flag,
  type GgufVocabulary,
  KEY,
  NORMAL,
  specialId,
  UNKNOWN,
  UNUSED,
  USER_DEFINED,
} from "./gguf_vocabulary.ts";
import { rankedRules, scoredRules, Symbols } from "./merge.ts";
import { byteTokens, splitMerge } from "./model.ts";
import { bertNormalizer } from "./normalize.ts";
import { preTokenizerRule } from "./pre.ts";
import { patternSplitter, preTokenizerFromJson } from "./split.ts";
import { bertPair, type PairPart, robertaPair } from "./pair.ts";
import { unigramModel, wordPieceModel } from "./words.ts";

const SPACE_MARK = "\u2581";
/** Encodes the texts of tokens. */
export const utf8 = new TextEncoder();

/** What differs between the kinds; the rest of a tokenizer's parts is the same for all. */
export type KindParts =
  & Pick<TokenizerParts, "normalize" | "split" | "model">
  & {
    readonly bytes: (id: number) => Uint8Array;
    readonly stripLeading: boolean;
    readonly prefix: readonly (number | undefined)[];
    readonly suffix: readonly (number | undefined)[];
    readonly pair?: readonly PairPart[] | undefined;
    readonly bosId: number | undefined;
    readonly eosId: number | undefined;
  };

/** What a file calls a kind, and what makes it. */
export const BUILDERS: ReadonlyMap<string, (vocabulary: GgufVocabulary) => KindParts> = new Map([
  ["gpt2", gpt2Parts],
  ["llama", llamaParts],
  ["t5", t5Parts],
  ["bert", bertParts],
]);

/**
 * The begin and end tokens around a text, and what a kind does where the file does not say. With both,
 * and a separator that is the end token, two texts go together as RoBERTa has them.
 */
function around(
  vocabulary: GgufVocabulary,
  usual: { bos?: number; eos?: number; addBos: boolean; addEos: boolean },
): Pick<KindParts, "prefix" | "suffix" | "pair" | "bosId" | "eosId"> {
  const bosId = specialId(vocabulary, "bos_token_id", usual.bos);
  const eosId = specialId(vocabulary, "eos_token_id", usual.eos);
  const sepId = specialId(vocabulary, "seperator_token_id", undefined); // spelled so in the format
  const hasBos = flag(vocabulary, "add_bos_token", usual.addBos);
  const hasEos = flag(vocabulary, "add_eos_token", usual.addEos);
  const isRoberta = hasBos && hasEos && sepId !== undefined && sepId === eosId;
  return {
    bosId,
    eosId,
    prefix: hasBos ? [bosId] : [],
    suffix: hasEos ? [eosId] : [],
    pair: isRoberta && bosId !== undefined ? robertaPair(bosId, sepId) : undefined,
  };
}

function gpt2Parts(vocabulary: GgufVocabulary): KindParts {
  const { metadata, tokens, ids, types } = vocabulary;
  const rule = preTokenizerRule(optionalText(metadata[`${KEY}pre`], `${KEY}pre`));
  const merges = metadata[`${KEY}merges`];
  if (!Array.isArray(merges) || merges.length > MAX_VOCABULARY) {
    throw wrongField(`${KEY}merges`, merges, `a list of at most ${MAX_VOCABULARY} texts`);
  }
  const symbols = new Symbols(tokens, ids);
  const pairs: number[] = []; // [merges, left and right]
  const result = Array.from(merges, (entry: unknown, rank) => {
    const pair = typeof entry === "string" ? splitMerge(entry) : undefined;
    if (!pair) throw wrongField(`${KEY}merges[${rank}]`, entry, "two tokens with a space between");
    // Converted files may merge through texts that are no tokens; they become symbols of their own.
    pairs.push(symbols.intern(pair[0]), symbols.intern(pair[1]));
    return symbols.intern(pair[0] + pair[1]);
  });
  return {
    ...around(vocabulary, { addBos: rule.addBos ?? false, addEos: false }),
    normalize: (text) => text,
    split: patternSplitter(rule.patterns),
    model: bpeModel({
      symbols,
      rules: rankedRules(pairs, result),
      byteSymbols: BYTE_CHARACTERS.map((text) => symbols.intern(text)),
      wholeWord: rule.ignoreMerges ? (word) => ids.get(byteLevelSpelling(word)) : undefined,
    }),
    stripLeading: false,
    bytes: (id) =>
      types[id] === BYTE ? Uint8Array.of(byteOfToken(tokens[id])) : byteLevelBytes(tokens[id]),
  };
}

/** What SentencePiece pieces spell: "▁" is a space, `<0x41>` a byte, unused ones nothing. */
function spacedBytes({ tokens, types }: GgufVocabulary): (id: number) => Uint8Array {
  return (id) => {
    if (types[id] === UNUSED) return new Uint8Array(0);
    const byte = types[id] === BYTE ? byteOfToken(tokens[id]) : -1;
    if (byte >= 0) return Uint8Array.of(byte);
    return utf8.encode(tokens[id].replaceAll(SPACE_MARK, " "));
  };
}

function llamaParts(vocabulary: GgufVocabulary): KindParts {
  const { tokens, ids, types, scores } = vocabulary;
  const symbols = new Symbols(tokens, ids);
  const spacePrefix = flag(vocabulary, "add_space_prefix", true);
  // llama.cpp lets control tokens come out of merges too, so that plain text could spell them;
  // SentencePiece does not, and neither do we.
  const mergeable = (id: number): boolean =>
    types[id] !== CONTROL && types[id] !== UNKNOWN && types[id] !== BYTE;
  return {
    ...around(vocabulary, { bos: 1, eos: 2, addBos: true, addEos: false }),
    normalize: (text) => ((spacePrefix ? " " : "") + text).replaceAll(" ", SPACE_MARK),
    split: (text) => [text],
    model: bpeModel({
      symbols,
      rules: scoredRules(symbols, scores, mergeable),
      byteFallback: byteTokens(ids),
      unknown: specialId(vocabulary, "unknown_token_id", 0),
      cutAtSpaces: !tokens.some((token, id) => mergeable(id) && /[^\u2581]\u2581/.test(token)),
    }),
    stripLeading: spacePrefix,
    bytes: spacedBytes(vocabulary),
  };
}

function t5Parts(vocabulary: GgufVocabulary): KindParts {
  const { metadata, tokens, types, scores } = vocabulary;
  const map = metadata[`${KEY}precompiled_charsmap`];
  const field = `${KEY}precompiled_charsmap`;
  const isBytes = Array.isArray(map) || map instanceof Uint8Array || map instanceof Int8Array;
  if (map !== undefined && map !== null && !isBytes) {
    throw wrongField(field, map, "a list of bytes");
  }
  const replace = charsMap(Uint8Array.from((map ?? []) as ArrayLike<number>), field);
  const spacePrefix = flag(vocabulary, "add_space_prefix", false);
  const mergeSpaces = flag(vocabulary, "remove_extra_whitespaces", false);

  function normalize(text: string): string {
    const replaced = replace(text);
    if (mergeSpaces) {
      return replaced.split(" ").filter((word) => word !== "").map((word) => SPACE_MARK + word)
        .join("");
    }
    const marked = replaced.replaceAll(" ", SPACE_MARK);
    return spacePrefix ? marked.replace(/[^\u2581]/u, (first) => SPACE_MARK + first) : marked;
  }

  return {
    ...around(vocabulary, { eos: 1, addBos: false, addEos: true }),
    normalize,
    split: (text) => text === "" ? [] : [text],
    model: unigramModel({
      tokens,
      scores: scores.map((score, id) => types[id] === USER_DEFINED ? 0 : score),
      unknown: specialId(vocabulary, "unknown_token_id", 2),
      matchable: (id) => types[id] === NORMAL || types[id] === USER_DEFINED || types[id] === UNUSED,
    }),
    stripLeading: spacePrefix || mergeSpaces,
    bytes: spacedBytes(vocabulary),
  };
}

function bertParts(vocabulary: GgufVocabulary): KindParts {
  const { ids } = vocabulary;
  const lowercase = flag(vocabulary, "normalizer.lowercase", true);
  const spell = spacedBytes(vocabulary);
  const unknown = specialId(vocabulary, "unknown_token_id", 100);
  if (unknown === undefined) {
    throw wrongField(`${KEY}unknown_token_id`, undefined, "a token id: WordPiece needs one");
  }
  const text = new TextDecoder();
  const bosId = specialId(vocabulary, "bos_token_id", specialId(vocabulary, "cls_token_id", 101));
  const sepId = specialId(vocabulary, "seperator_token_id", 102);
  return {
    bosId,
    eosId: specialId(vocabulary, "eos_token_id", undefined),
    prefix: [bosId],
    suffix: [sepId],
    pair: bosId === undefined || sepId === undefined ? undefined : bertPair(bosId, sepId),
    normalize: bertNormalizer({
      clean: true,
      spaceChinese: true,
      lowercase,
      stripAccents: flag(vocabulary, "normalizer.strip_accents", lowercase),
    }),
    split: preTokenizerFromJson({ type: "BertPreTokenizer" }).split,
    model: wordPieceModel({ ids, unknown, continuingPrefix: "", wordPrefix: SPACE_MARK }),
    stripLeading: true,
    bytes: (id) => utf8.encode(cleanUpPiece(text.decode(spell(id)))),
  };
}

/** Undoes the spaces that BERT's words got before punctuation and contractions. */
function cleanUpPiece(piece: string): string {
  return piece.replace(/^ (?=[.?!,]$|n't$|'(?:m|s|ve|re)$)/, "");
}
