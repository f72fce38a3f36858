/**
 * GPTPanguTokenizer: a text is cut into words, spaces and line breaks become signs of their own, and the
 * words, with spaces between, go through a SentencePiece model (`vocab.model`).
 *
 * The original cuts with the program jieba. Where jieba's files lie beside the model, so does this one. In
 * the place of its dictionary it takes the words that the SentencePiece model itself begins with a space,
 * and without its model of characters it makes no words of characters that are in none; both is told
 * (`missingForWords`), because a text may then have other ids than in the original.
 *
 * Source: `tokenization_gptpangu.py` of the published models.
 *
 * @module
 */

import type { TokenizerFiles } from "../../../files/tokenizer_files.ts";
import { endTokens, type Tokenizer } from "../core.ts";
import { PIECE, type SentencePieceModel } from "../sentencepiece/model_proto.ts";
import { SPACE_MARK } from "../sentencepiece/normalizer.ts";
import { aroundPieces } from "../sentencepiece/tokenizer.ts";
import { type WordCounts, wordCutter } from "./chinese_words.ts";
import { readCharacterModel, readWordCounts } from "./jieba_files.ts";
import { pieceId, pieceModel } from "./pieces.ts";
import { type Published, readSpecials, textFile } from "./settings.ts";

/** What stands for a space, and for a line break. */
const SPACE_SIGN = "\u2582", BREAK_SIGN = "\u2583";

const DICTIONARY = "dict.txt";
const CHARACTERS = ["prob_start.py", "prob_trans.py", "prob_emit.py"];

/** Those of jieba's files that are not there. */
export function missingForWords(files: TokenizerFiles): readonly string[] {
  return [DICTIONARY, ...CHARACTERS].filter((it) => !Object.hasOwn(files, it));
}

/** GPTPanguTokenizer. Nothing is put around a text. */
export function pangu(published: Published): Tokenizer {
  const model = pieceModel(published, "vocab.model");
  const usual = {
    ...{ bos_token: "<s>", eos_token: "<eot>", sep_token: "<sep>" },
    ...{ pad_token: "<pad>", unk_token: "<unk>" },
  };
  const idOf = pieceId(model);
  const there = Object.fromEntries(
    Object.entries(usual).filter(([, token]) => idOf(token) !== undefined),
  );
  const specials = readSpecials(published, there, idOf, model.pieces.length);
  const textOf = (file: string): string => textFile(published, file);
  const missing = missingForWords(published.files);
  const cut = wordCutter(
    missing.includes(DICTIONARY) ? ownWords(model) : readWordCounts(textOf(DICTIONARY), DICTIONARY),
    CHARACTERS.some((it) => missing.includes(it)) ? undefined : readCharacterModel(textOf),
  );
  return aroundPieces(model, {
    idOfPiece: Int32Array.from(model.pieces, (_, id) => id),
    unknownId: model.unknownId,
    added: specials.added,
    prefix: [],
    suffix: [],
    bosId: undefined,
    eosIds: endTokens([specials.id("eos_token")], () => undefined),
    words: (text, _, normalize) =>
      normalize(
        cut(text).map((word) => word.replaceAll(" ", SPACE_SIGN).replaceAll("\n", BREAK_SIGN)).join(
          " ",
        ),
      ),
    // Spaces are those between words.
    spelling: (piece) =>
      model.ids.has(piece)
        ? piece.replaceAll(SPACE_MARK, "").replaceAll(SPACE_SIGN, " ").replaceAll(BREAK_SIGN, "\n")
        : undefined,
  });
}

/**
 * The words of a SentencePiece model that was trained on texts with spaces between words: the pieces that
 * begin with a space. The more frequent ones come first, so that counts fall with the place (Zipf's law).
 */
function ownWords({ pieces, types }: SentencePieceModel): WordCounts {
  const counts = new Map<string, number>();
  let total = 0, place = 0;
  pieces.forEach((piece, id) => {
    const word = piece.slice(1);
    if (types[id] !== PIECE.normal || !piece.startsWith(SPACE_MARK) || word === "") return;
    const count = pieces.length / ++place;
    counts.set(word, count);
    total += count;
  });
  return { counts, total: Math.max(total, 1) };
}
