/**
 * Published tokenizers around one SentencePiece model, each with the habits of its class in
 * transformers: Llama, Gemma, T5 and mT5, ALBERT, XLNet, XLM-R.
 *
 * @module
 */

import { endTokens } from "../core.ts";
import type { AddedToken, Tokenizer } from "../core.ts";
import { countField, flagField } from "../fields.ts";
import { normalForm } from "../normal_form.ts";
import { bertPair, type PairPart, robertaPair } from "../pair.ts";
import { readSentencePieceModel, type SentencePieceModel } from "../sentencepiece/model_proto.ts";
import { SPACE_MARK } from "../sentencepiece/normalizer.ts";
import { type AroundPieces, aroundPieces, specialToken } from "../sentencepiece/tokenizer.ts";
import { type Published, readSpecials, type Specials, type UsualTokens } from "./settings.ts";

/** The SentencePiece model of a folder. */
export function pieceModel({ files }: Published, file: string): SentencePieceModel {
  return readSentencePieceModel(files[file], file);
}

const identity = (model: SentencePieceModel): Int32Array =>
  Int32Array.from(model.pieces, (_, id) => id);

/** A piece's id, as a lookup of tokens. */
export function pieceId(model: SentencePieceModel): (token: string) => number | undefined {
  return (token) => model.reserved.get(token) ?? model.ids.get(token);
}

function known(ids: readonly (number | undefined)[]): number[] {
  return ids.filter((id) => id !== undefined);
}

/** What is the same for all: ids, special tokens, and what ends a generation. */
function common(
  model: SentencePieceModel,
  specials: Specials,
  prefix: readonly string[],
  suffix: readonly string[],
): AroundPieces {
  const around = (names: readonly string[]): number[] => known(names.map((it) => specials.id(it)));
  const idOf = new Map(specials.added.map(({ content, id }) => [content, id]));
  return {
    idOfPiece: identity(model),
    unknownId: specials.id("unk_token") ?? model.unknownId,
    added: specials.added,
    prefix: around(prefix),
    suffix: around(suffix),
    bosId: specials.id("bos_token"),
    eosIds: endTokens([specials.id("eos_token")], (name) => idOf.get(name)),
  };
}

/** What a pair becomes between the tokens of a class and of a separator, where the files have both. */
function pairAround(
  specials: Specials,
  pair: (cls: number, sep: number) => readonly PairPart[],
): readonly PairPart[] | undefined {
  const cls = specials.id("cls_token"), sep = specials.id("sep_token");
  return cls === undefined || sep === undefined ? undefined : pair(cls, sep);
}

/**
 * How Llama and T5 put a space before a text. The older way puts one before every stretch between
 * special tokens, the other (`"legacy": false`) only before the whole text.
 */
function spacing({ config }: Published, unknown: string): Pick<AroundPieces, "words"> {
  if (flagField(config.legacy, "tokenizer_config.json: legacy", true)) return {};
  const field = "tokenizer_config.json: add_prefix_space";
  const prefixes = flagField(config.add_prefix_space, field, true);
  return {
    words(text, atStart, normalize) {
      const plain = text.replaceAll(SPACE_MARK, " ");
      const given = prefixes && atStart ? SPACE_MARK + plain : plain;
      // Spaces at the start stay, as they do after another token.
      if (!/^[\u2581 ]/.test(given)) return normalize(given, false);
      return normalize(unknown + given, false).slice(unknown.length);
    },
  };
}

/** The model and the special tokens of a LlamaTokenizer. */
export function llamaPieces(
  published: Published,
  file: string,
): { readonly model: SentencePieceModel; readonly specials: Specials } {
  const model = pieceModel(published, file);
  const usual = { unk_token: "<unk>", bos_token: "<s>", eos_token: "</s>" };
  return { model, specials: readSpecials(published, usual, pieceId(model), model.pieces.length) };
}

/** LlamaTokenizer. */
export function llama(published: Published, file: string): Tokenizer {
  const { config } = published;
  const { model, specials } = llamaPieces(published, file);
  // Where no space is put before a text, none is taken away again.
  const { normalizer } = model;
  const keepsSpace = config.legacy === false && config.add_prefix_space === false;
  const decoder = keepsSpace && {
    model: { ...model, normalizer: { ...normalizer, addDummyPrefix: false } },
    idOfPiece: identity(model),
  };
  const flag = (name: string, fallback: boolean): boolean =>
    flagField(config[name], `tokenizer_config.json: ${name}`, fallback);
  return aroundPieces(model, {
    ...common(
      model,
      specials,
      flag("add_bos_token", true) ? ["bos_token"] : [],
      flag("add_eos_token", false) ? ["eos_token"] : [],
    ),
    ...spacing(published, "<unk>"),
    ...(decoder && { decoder }),
  });
}

/** GemmaTokenizer: Llama's, with its own special tokens and the model's own way with spaces. */
export function gemma(published: Published, file: string): Tokenizer {
  const { config } = published;
  const model = pieceModel(published, file);
  const usual = {
    ...{ unk_token: "<unk>", bos_token: "<bos>", eos_token: "<eos>", pad_token: "<pad>" },
  };
  const specials = readSpecials(published, usual, pieceId(model), model.pieces.length);
  const flag = (name: string, fallback: boolean): boolean =>
    flagField(config[name], `tokenizer_config.json: ${name}`, fallback);
  return aroundPieces(
    model,
    common(
      model,
      specials,
      flag("add_bos_token", true) ? ["bos_token"] : [],
      flag("add_eos_token", false) ? ["eos_token"] : [],
    ),
  );
}

/** T5Tokenizer, which mT5 and Switch Transformers use too: extra ids come after the pieces, backwards. */
export function t5(published: Published, file: string): Tokenizer {
  const { config } = published;
  const model = pieceModel(published, file);
  const field = "tokenizer_config.json: extra_ids";
  const extra = countField(config.extra_ids, field, 0, 100_000, 100);
  const sentinels = Array.from(
    { length: extra },
    (_, i): AddedToken =>
      specialToken(`<extra_id_${i}>`, model.pieces.length + extra - 1 - i, {
        left: true,
        right: true,
      }),
  );
  const usual = { eos_token: "</s>", unk_token: "<unk>", pad_token: "<pad>" };
  const specials = readSpecials(
    published,
    usual,
    pieceId(model),
    model.pieces.length,
    sentinels,
  );
  return aroundPieces(model, {
    ...common(model, specials, [], ["eos_token"]),
    ...spacing(published, "<unk>"),
  });
}

// deno-lint-ignore no-control-regex -- what Python's `split` takes for space
const PYTHON_SPACE = /[\p{White_Space}\x1c-\x1f]+/u;

/** ALBERT's and XLNet's cleaning of a text. */
function cleaning(config: Published["config"], lowers: boolean): (text: string) => string {
  const flag = (name: string, fallback: boolean): boolean =>
    flagField(config[name], `tokenizer_config.json: ${name}`, fallback);
  const removesSpace = flag("remove_space", true);
  const keepsAccents = flag("keep_accents", false);
  const lowerCases = flag("do_lower_case", lowers);
  return (text) => {
    if (removesSpace) text = text.split(PYTHON_SPACE).filter((it) => it !== "").join(" ");
    text = text.replaceAll("``", '"').replaceAll("''", '"');
    if (!keepsAccents) {
      text = normalForm(text, "NFKD").replace(/\p{M}/gu, (mark) => isCombining(mark) ? "" : mark);
    }
    return lowerCases ? text.toLowerCase() : text;
  };
}

/** Whether a mark has a combining class other than 0: normalization moves it past another's. */
function isCombining(mark: string): boolean {
  return [mark + "\u0334", "\u0345" + mark].some((pair) => pair.normalize("NFD") !== pair);
}

/** A piece that ends in a digit and a comma becomes the number's pieces and a comma. */
function commas(model: SentencePieceModel): AroundPieces["revise"] {
  const idOf = pieceId(model);
  const comma = idOf(",");
  return (pieces, encode) => {
    if (comma === undefined) return pieces;
    return pieces.flatMap((id) => {
      const text = model.pieces[id];
      if (!/\p{Nd},$/u.test(text)) return [id];
      const parts = encode(text.slice(0, -1).replaceAll(SPACE_MARK, ""));
      const first = parts.length > 0 ? model.pieces[parts[0]] : "";
      if (!text.startsWith(SPACE_MARK) && first.startsWith(SPACE_MARK)) {
        if (first.length === 1) parts.shift();
        else parts[0] = idOf(first.slice(1)) ?? model.unknownId;
      }
      return [...parts, comma];
    });
  };
}

const MASKED: UsualTokens = {
  unk_token: "<unk>",
  sep_token: "[SEP]",
  pad_token: "<pad>",
  cls_token: "[CLS]",
  mask_token: { content: "[MASK]", lstrip: true },
  bos_token: "[CLS]",
  eos_token: "[SEP]",
};

/** AlbertTokenizer. */
export function albert(published: Published, file: string): Tokenizer {
  const model = pieceModel(published, file);
  const specials = readSpecials(published, MASKED, pieceId(model), model.pieces.length);
  return aroundPieces(model, {
    ...common(model, specials, ["cls_token"], ["sep_token"]),
    pair: pairAround(specials, bertPair),
    prepare: cleaning(published.config, true),
    revise: commas(model),
  });
}

/** XLNetTokenizer, which puts both of its tokens after the text. */
export function xlnet(published: Published, file: string): Tokenizer {
  const model = pieceModel(published, file);
  const usual: UsualTokens = {
    ...{ unk_token: "<unk>", bos_token: "<s>", eos_token: "</s>", pad_token: "<pad>" },
    ...{ sep_token: "<sep>", cls_token: "<cls>" },
    mask_token: { content: "<mask>", lstrip: true },
  };
  const specials = readSpecials(published, usual, pieceId(model), model.pieces.length);
  return aroundPieces(model, {
    ...common(model, specials, [], ["sep_token", "cls_token"]),
    pair: pairAround(specials, (cls, sep) => [
      { content: "first", segment: 0 },
      { content: [sep], segment: 0 },
      { content: "second", segment: 1 },
      { content: [sep], segment: 1 },
      { content: [cls], segment: 2 },
    ]),
    prepare: cleaning(published.config, false),
    revise: commas(model),
  });
}

/**
 * XLMRobertaTokenizer: its first four ids are fairseq's, the pieces follow by one more than their own id,
 * and the mask is the last.
 */
export function xlmRoberta(published: Published, file: string): Tokenizer {
  const model = pieceModel(published, file);
  const fairseq = new Map([["<s>", 0], ["<pad>", 1], ["</s>", 2], ["<unk>", 3]]);
  const idOfPiece = Int32Array.from(
    model.pieces,
    (piece, id) => id === model.unknownId ? 3 : fairseq.get(piece) ?? id + 1,
  );
  const mask = model.pieces.length + 1;
  const idOf = (token: string): number | undefined => {
    if (token === "<mask>") return mask;
    const piece = pieceId(model)(token);
    return fairseq.get(token) ?? (piece === undefined ? undefined : idOfPiece[piece]);
  };
  const usual: UsualTokens = {
    ...{ bos_token: "<s>", eos_token: "</s>", sep_token: "</s>", cls_token: "<s>" },
    ...{ unk_token: "<unk>", pad_token: "<pad>" },
    mask_token: { content: "<mask>", lstrip: true },
  };
  const specials = readSpecials(published, usual, idOf, mask + 1);
  return aroundPieces(model, {
    ...common(model, specials, ["cls_token"], ["sep_token"]),
    pair: pairAround(specials, robertaPair),
    idOfPiece,
    unknownId: 3,
  });
}
