/**
 * From prepared text to the pieces of a SentencePiece model: the most likely segmentation (unigram),
 * merges by score (BPE), words or characters, as the model says.
 *
 * Source: unigram_model.cc, bpe_model.cc, word_model.cc and char_model.cc of the SentencePiece library.
 *
 * @module
 */

import { bpeModel, type WordModel } from "../bpe.ts";
import { scoredRules, Symbols } from "../merge.ts";
import { byteTokens } from "../model.ts";
import { Trie } from "../tables.ts";
import { unigramModel, UNKNOWN_PENALTY } from "../words.ts";
import { PIECE, type SentencePieceModel } from "./model_proto.ts";

/**
 * The encoder of a model, for text that its normalizer has prepared.
 *
 * @param kept ids that text must not become although it could: special tokens that a model's file calls
 * ordinary pieces
 */
export function pieceEncoder(
  model: SentencePieceModel,
  kept: ReadonlySet<number> = new Set(),
): WordModel {
  const byteFallback = model.byteFallback ? byteTokens(model.reserved) : undefined;
  if (model.kind === "unigram") return unigram(model, kept, byteFallback);
  const ids = new Map(model.ids);
  for (const id of kept) {
    if (ids.get(model.pieces[id]) === id) ids.delete(model.pieces[id]);
  }
  if (model.kind === "word") return words(ids, model.unknownId, byteFallback);
  const symbols = new Symbols(model.pieces, ids);
  if (model.kind === "bpe") return atSymbols(model, ids, bpe(model, symbols, byteFallback));
  const byCharacter = bpeModel({
    symbols,
    rules: { find: () => -1, priority: [], result: [] },
    byteFallback,
    unknown: model.unknownId,
    fuseUnknown: true,
  });
  return atSymbols(model, ids, byCharacter);
}

function unigram(
  model: SentencePieceModel,
  kept: ReadonlySet<number>,
  byteFallback: readonly number[] | undefined,
): WordModel {
  const { pieces, types } = model;
  // The library begins at the least positive number, so that with log-probabilities this is none.
  let most = 2 ** -126, least = Infinity;
  model.scores.forEach((score, id) => {
    if (types[id] !== PIECE.normal) return;
    most = Math.max(most, score);
    least = Math.min(least, score);
  });
  if (least === Infinity) least = 3.4028234663852886e38;
  const bytes = new TextEncoder();
  return unigramModel({
    tokens: pieces,
    scores: new Float64Array(model.scores).map((score, id) =>
      // User-defined symbols get a score that prefers them.
      types[id] === PIECE.userDefined ? bytes.encode(pieces[id]).length * most - 0.1 : score
    ),
    unknown: model.unknownId,
    unknownScore: Math.fround(least - UNKNOWN_PENALTY),
    matchable: (id) =>
      (types[id] === PIECE.normal || types[id] === PIECE.userDefined) && !kept.has(id),
    byteFallback,
  });
}

function bpe(
  model: SentencePieceModel,
  symbols: Symbols,
  byteFallback: readonly number[] | undefined,
): WordModel {
  const { types, ids } = model;
  const rules = scoredRules(symbols, model.scores, () => true);
  // Unused pieces help to merge; in the end they are what they were last seen to come of.
  const hasUnused = types.includes(PIECE.unused);
  const parts = new Map<number, readonly [number, number]>();
  return bpeModel({
    symbols,
    rules: hasUnused
      ? {
        ...rules,
        offered(left, right, rule) {
          if (types[rule] === PIECE.unused) parts.set(rule, [left, right]);
        },
      }
      : rules,
    ...(hasUnused && {
      parted: (id: number) => types[id] === PIECE.unused ? parts.get(id) : undefined,
    }),
    byteFallback,
    unknown: model.unknownId,
    fuseUnknown: true,
    cutAtSpaces: !hasUnused && ![...ids.keys()].some((piece) => /[^\u2581]\u2581/.test(piece)),
  });
}

/** User-defined symbols stand apart: the longest at each place is a piece, and nothing merges with it. */
function atSymbols(
  model: SentencePieceModel,
  ids: ReadonlyMap<string, number>,
  between: WordModel,
): WordModel {
  const symbols = new Trie();
  let count = 0;
  for (const [piece, id] of ids) {
    if (model.types[id] !== PIECE.userDefined) continue;
    symbols.add(piece, id);
    count++;
  }
  if (count === 0) return between;
  return {
    encode(text, out) {
      let start = 0;
      for (let at = 0; at < text.length;) {
        const { end, value } = symbols.longest(text, at);
        if (value < 0) {
          at += text.codePointAt(at)! > 0xffff ? 2 : 1;
          continue;
        }
        if (at > start) between.encode(text.slice(start, at), out);
        out.push(value);
        at = start = end;
      }
      if (start < text.length) between.encode(text.slice(start), out);
    },
  };
}

/** Whole words, which begin at each "▁". */
function words(
  ids: ReadonlyMap<string, number>,
  unknownId: number,
  byteFallback: readonly number[] | undefined,
): WordModel {
  const utf8 = new TextEncoder();
  return {
    encode(text, out) {
      let unknownBefore = false; // neighbours that are unknown are one
      for (const [word] of text.matchAll(/\u2581[^\u2581]*|[^\u2581]+/g)) {
        const id = ids.get(word);
        if (id !== undefined) out.push(id);
        else if (byteFallback) {
          for (const byte of utf8.encode(word)) out.push(byteFallback[byte]);
        } else if (!unknownBefore) out.push(unknownId);
        unknownBefore = id === undefined;
      }
    },
  };
}
