/**
 * MarianTokenizer: one SentencePiece model for the text that is translated, another for the translation,
 * and one vocabulary of the pieces of both. A language code as `>>fra<<` may stand first.
 *
 * @module
 */

import { FormatError } from "../../../../errors.ts";
import { endTokens } from "../core.ts";
import type { AddedToken, Tokenizer } from "../core.ts";
import { countField, MAX_VOCABULARY, wrongField } from "../fields.ts";
import type { SentencePieceModel } from "../sentencepiece/model_proto.ts";
import { aroundPieces, specialToken } from "../sentencepiece/tokenizer.ts";
import { pieceModel } from "./pieces.ts";
import { jsonFile, type Published, readSpecials } from "./settings.ts";

/** Reads `source.spm`, `target.spm` and `vocab.json`. */
export function marian(published: Published): Tokenizer {
  const { config, files } = published;
  if (config.separate_vocabs === true || Object.hasOwn(files, "target_vocab.json")) {
    throw new FormatError(
      `Cannot read the tokenizer: the vocabularies of source and target are apart ` +
        `(target_vocab.json), expected one vocab.json for both; use a model that has one`,
    );
  }
  const vocab = new Map<string, number>();
  for (const [token, value] of Object.entries(jsonFile(published, "vocab.json"))) {
    const field = `vocab.json: ${JSON.stringify(token.slice(0, 40))}`;
    vocab.set(token, countField(value, field, 0, MAX_VOCABULARY));
  }
  const idOf = (token: string): number | undefined => vocab.get(token);
  const usual = { eos_token: "</s>", unk_token: "<unk>", pad_token: "<pad>" };
  const specials = readSpecials(published, usual, idOf, vocab.size);
  const unknownId = specials.id("unk_token") ?? vocab.get("<unk>");
  if (unknownId === undefined) throw wrongField("vocab.json", vocab, "a token <unk>");
  // Codes are written by people, so they are found in every text; they are not spelled.
  const codes: AddedToken[] = [...vocab].filter(([token]) => /^>>[^<>]+<<$/.test(token))
    .map(([token, id]) => ({ ...specialToken(token, id), special: false }));
  const source = pieceModel(published, "source.spm");
  const target = pieceModel(published, "target.spm");
  const ids = (model: SentencePieceModel): Int32Array =>
    Int32Array.from(model.pieces, (piece) => vocab.get(piece) ?? -1);
  const eosId = specials.id("eos_token");
  return aroundPieces(source, {
    idOfPiece: ids(source),
    unknownId,
    added: [...specials.added, ...codes],
    prefix: [],
    suffix: eosId === undefined ? [] : [eosId],
    bosId: undefined,
    eosIds: endTokens([eosId], () => undefined),
    decoder: { model: target, idOfPiece: ids(target) },
  });
}
