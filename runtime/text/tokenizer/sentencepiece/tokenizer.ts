/**
 * Tokenizers around a SentencePiece model: the model alone, as its own library encodes with it, and the
 * parts that published models put around one (other ids, more tokens, other text before it).
 *
 * @module
 */

import { assembleTokenizer } from "../core.ts";
import type { AddedToken, Tokenizer } from "../core.ts";
import { checkGaps } from "../model.ts";
import type { PairPart } from "../pair.ts";
import { pieceEncoder } from "./encoder.ts";
import { PIECE, readSentencePieceModel, type SentencePieceModel } from "./model_proto.ts";
import { type PieceNormalizer, pieceNormalizer } from "./normalizer.ts";
import { pieceSpeller } from "./pieces.ts";

/** What a published model puts around its SentencePiece model. */
export interface AroundPieces {
  /** The id of each piece in the published vocabulary, -1 for those that are not in it. [pieces] */
  readonly idOfPiece: ArrayLike<number>;
  /** The id of what no piece covers. */
  readonly unknownId: number;
  /** Tokens beside the pieces, and pieces that are special tokens. */
  readonly added: readonly AddedToken[];
  /** Tokens before a text. */
  readonly prefix: readonly number[];
  /** Tokens after a text. */
  readonly suffix: readonly number[];
  /** What a pair of texts becomes, where the class says it. */
  readonly pair?: readonly PairPart[] | undefined;
  /** The begin-of-sequence token. */
  readonly bosId: number | undefined;
  /** The tokens that end a generation. */
  readonly eosIds: readonly number[];
  /** What happens to a text before the model's own normalizer sees it. */
  readonly prepare?: ((text: string) => string) | undefined;
  /** A text as the model sees it, where that is more than its own normalizer does. */
  readonly words?:
    | ((text: string, atStart: boolean, normalize: PieceNormalizer) => string)
    | undefined;
  /** Pieces of one text after encoding; `encode` gives those of another text. */
  readonly revise?:
    | ((pieces: number[], encode: (text: string) => number[]) => number[])
    | undefined;
  /** What a piece is decoded as, where it is not its text. */
  readonly spelling?: ((piece: string) => string | undefined) | undefined;
  /** The model that decodes, where it is another than the one that encodes, with its pieces' ids. */
  readonly decoder?: { readonly model: SentencePieceModel; readonly idOfPiece: ArrayLike<number> };
}

/**
 * The tokenizer that a SentencePiece `.model` file describes, with nothing added: ids are the model's, no
 * begin or end token is put around a text, and what it decodes is what the SentencePiece library does.
 *
 * @param bytes the file
 * @param name the file, for messages
 * @throws FormatError when the file is damaged, or no SentencePiece model
 *
 * @example
 * ```ts ignore
 * import { tokenizerFromSentencePiece } from "./tokenizer.ts";
 *
 * const bytes = await Deno.readFile("spiece.model");
 * const tokenizer = tokenizerFromSentencePiece(bytes, "spiece.model");
 * tokenizer.decode(tokenizer.encode("Once upon a time"));
 * ```
 */
export function tokenizerFromSentencePiece(bytes: Uint8Array, name: string): Tokenizer {
  const model = readSentencePieceModel(bytes, name);
  const added: AddedToken[] = [];
  model.pieces.forEach((content, id) => {
    if (model.types[id] === PIECE.control) added.push(specialToken(content, id));
  });
  return aroundPieces(model, {
    idOfPiece: new Int32Array(model.pieces.length).map((_, id) => id),
    unknownId: model.unknownId,
    added,
    prefix: [],
    suffix: [],
    bosId: model.bosId,
    eosIds: model.eosId === undefined ? [] : [model.eosId],
  });
}

/** A special token that is found as it is written. */
export function specialToken(
  content: string,
  id: number,
  strip: { left?: boolean; right?: boolean } = {},
): AddedToken {
  return {
    id,
    content,
    special: true,
    leftStrip: strip.left ?? false,
    rightStrip: strip.right ?? false,
    singleWord: false,
    normalized: false,
  };
}

/**
 * A tokenizer of a SentencePiece model and what is around it.
 *
 * @throws FormatError when the model's character map is damaged
 */
export function aroundPieces(model: SentencePieceModel, around: AroundPieces): Tokenizer {
  const { idOfPiece, added, unknownId } = around;
  const symbols = model.pieces.filter((_, id) => model.types[id] === PIECE.userDefined);
  const normalize = pieceNormalizer(model.normalizer, model.spaceIsSuffix, symbols, model.name);
  // Text never becomes a special token by its pieces.
  const special = new Set(added.filter((token) => token.special).map((token) => token.content));
  const kept = new Set<number>();
  for (const content of special) {
    const piece = model.ids.get(content);
    if (piece !== undefined) kept.add(piece);
  }
  const encoder = pieceEncoder(model, kept);

  const spelledBy = around.decoder ?? { model, idOfPiece };
  const vocabularies = [spelledBy, ...(around.decoder ? [{ model, idOfPiece }] : [])];
  const length = endOfIds(added, vocabularies);
  // Ids of no token spell nothing, and are still inside the vocabulary.
  const tokens = new Array<string | undefined>(length).fill(undefined);
  const pieceOf = new Int32Array(length).fill(-1); // ids to the pieces of the model that decodes
  for (const it of vocabularies) {
    it.model.pieces.forEach((content, piece) => {
      const id = it.idOfPiece[piece];
      if (id < 0) return;
      tokens[id] ??= content;
      if (it === spelledBy) pieceOf[id] = piece;
    });
  }
  const ids = new Map<string, number>(); // of added tokens; pieces are found by their models
  const texts = new Map<number, string>(); // of tokens that are decoded as they are written
  for (const { id, content } of added) {
    tokens[id] = content;
    ids.set(content, id);
    texts.set(id, content);
  }
  const idOf = (token: string): number | undefined => {
    const id = ids.get(token);
    if (id !== undefined) return id;
    for (const { model, idOfPiece } of vocabularies.toReversed()) {
      const piece = Math.max(model.ids.get(token) ?? -1, model.reserved.get(token) ?? -1);
      const id = idOfPiece[piece] ?? -1;
      if (id >= 0 && (tokens[id] === token || texts.has(id))) return id;
    }
    return undefined;
  };
  if (around.spelling) {
    pieceOf.forEach((piece, id) => {
      const text = piece < 0 ? undefined : around.spelling!(spelledBy.model.pieces[piece]);
      if (text !== undefined && !texts.has(id)) texts.set(id, text);
    });
  }
  const controls = new Set(added.filter((token) => token.special).map(({ id }) => id));
  const speller = pieceSpeller(spelledBy.model);
  function piecesOf(prepared: string): number[] {
    const pieces: number[] = [];
    encoder.encode(prepared, pieces);
    return pieces;
  }

  return assembleTokenizer({
    tokens,
    idOf,
    added,
    normalize: around.prepare ?? ((text) => text),
    split(text, atStart) {
      const word = around.words ? around.words(text, atStart, normalize) : normalize(text);
      return word === "" ? [] : [word];
    },
    model: {
      encode(word, out) {
        const encoded = piecesOf(word);
        const pieces = around.revise?.(encoded, (text) => piecesOf(normalize(text))) ?? encoded;
        for (const piece of pieces) {
          const id = piece === model.unknownId ? unknownId : idOfPiece[piece];
          out.push(id < 0 ? unknownId : id);
        }
      },
    },
    prefix: around.prefix,
    suffix: around.suffix,
    pair: around.pair,
    pieces: {
      vocabSize: tokens.length,
      isSpecial: (id) => controls.has(id),
      begin(raw) {
        const stream = speller(raw);
        return {
          waits: stream.waits ?? false,
          push(id) {
            const text = texts.get(id);
            if (text !== undefined) return stream.text(text);
            const piece = pieceOf[id] ?? -1;
            return piece < 0 ? "" : stream.push(piece);
          },
          end: () => stream.end(),
        };
      },
    },
    bosId: around.bosId,
    eosIds: around.eosIds,
  });
}

/** One past the largest id of added tokens and pieces. */
function endOfIds(
  added: readonly AddedToken[],
  vocabularies: readonly { model: SentencePieceModel; idOfPiece: ArrayLike<number> }[],
): number {
  let end = 0, count = added.length;
  for (const { id } of added) end = Math.max(end, id + 1);
  for (const { model: { pieces }, idOfPiece } of vocabularies) {
    count += pieces.length;
    for (let piece = 0; piece < pieces.length; piece++) end = Math.max(end, idOfPiece[piece] + 1);
  }
  checkGaps({ length: end }, count);
  return end;
}
