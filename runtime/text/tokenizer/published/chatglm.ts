/**
 * ChatGLMTokenizer, of which there are two: that of ChatGLM-6B (`ice_text.model`), which writes line breaks,
 * tabs and blanks as symbols and puts its task tokens after the text, and that of ChatGLM2 and
 * ChatGLM3 (`tokenizer.model`), which has its tokens after the pieces and puts them before the text.
 *
 * @module
 */

import { endTokens } from "../core.ts";
import type { AddedToken, Tokenizer } from "../core.ts";
import { countField, flagField } from "../fields.ts";
import { aroundPieces, specialToken } from "../sentencepiece/tokenizer.ts";
import { pieceId, pieceModel } from "./pieces.ts";
import { type Published, readSpecials } from "./settings.ts";

const MAX_BLANK = 80; // spaces that one symbol stands for
const BLANKS = / {2,}/g;
const BLANK_SYMBOL = /^<\|blank_(\d{1,2})\|>$/;

/** Line breaks, tabs and runs of spaces as ChatGLM-6B's symbols. */
function toSymbols(text: string): string {
  return text.replaceAll("\n", "<n>").replaceAll("\t", "<|tab|>").replace(BLANKS, (run) => {
    const longest = `<|blank_${MAX_BLANK}|>`.repeat(Math.floor(run.length / MAX_BLANK));
    const rest = run.length % MAX_BLANK;
    return longest + (rest > 1 ? `<|blank_${rest}|>` : " ".repeat(rest));
  });
}

/** What such a symbol stands for. */
function fromSymbol(piece: string): string | undefined {
  if (piece === "<n>") return "\n";
  if (piece === "<|tab|>") return "\t";
  const count = Number(BLANK_SYMBOL.exec(piece)?.[1]);
  return count >= 2 && count <= MAX_BLANK ? " ".repeat(count) : undefined;
}

/** Pieces of `ice_text.model` that mark tasks and parts of a text. */
const TASK_TOKENS = [
  ...["[MASK]", "[gMASK]", "[sMASK]", "<unused_0>", "<sop>", "<eop>", "<ENC>", "<dBLOCK>"],
];

/** ChatGLM-6B: ids of pieces follow those of images; a text ends in `[gMASK]` and `<sop>`. */
export function chatglm6b(published: Published): Tokenizer {
  const { config } = published;
  const model = pieceModel(published, "ice_text.model");
  const field = "tokenizer_config.json: num_image_tokens";
  const images = countField(config.num_image_tokens, field, 0, 1 << 20, 20000);
  const pieceOf = pieceId(model);
  const idOf = (token: string): number | undefined => {
    const piece = pieceOf(token);
    return piece === undefined ? undefined : piece + images;
  };
  const usual = {
    ...{ bos_token: "<sop>", eos_token: "<eop>", mask_token: "[MASK]" },
    ...{ pad_token: "<pad>", unk_token: "<unk>" },
  };
  const named = [...TASK_TOKENS, "</s>"].flatMap((token): AddedToken[] => {
    const id = idOf(token);
    return id === undefined ? [] : [specialToken(token, id)];
  });
  const specials = readSpecials(published, usual, idOf, images + model.pieces.length, named);
  const flag = (name: string): boolean =>
    flagField(config[name], `tokenizer_config.json: ${name}`, false);
  const [removesSpace, lowers] = [flag("remove_space"), flag("do_lower_case")];
  const bosId = specials.id("bos_token");
  return aroundPieces(model, {
    idOfPiece: new Int32Array(model.pieces.length).map((_, id) => id + images),
    unknownId: model.unknownId + images,
    added: specials.added,
    prefix: [],
    suffix: [idOf("[gMASK]"), bosId].filter((id) => id !== undefined),
    bosId,
    eosIds: endTokens([specials.id("eos_token")], (name) => idOf(name)),
    prepare(text) {
      if (removesSpace) text = text.split(/\p{White_Space}+/u).filter((it) => it).join(" ");
      return toSymbols(lowers ? text.toLowerCase() : text);
    },
    spelling: fromSymbol,
  });
}

/**
 * GLM-130B, whose pieces are those of ChatGLM-6B: a text goes on at its end, unless it has a mask of its own
 * (`[MASK]`, `[sMASK]`, `[gMASK]`), which is filled instead; then a text that does not end with it has an
 * end.
 *
 * Source: `fill_blanks` of the released `generate.py`.
 */
export function glm130b(published: Published): Tokenizer {
  const tokenizer = chatglm6b(published);
  const idOf = (token: string): number[] => {
    const id = tokenizer.tokenToId(token);
    return id === undefined ? [] : [id];
  };
  const masks = ["[MASK]", "[sMASK]", "[gMASK]"].flatMap(idOf);
  const start = idOf("<sop>"), goesOn = [...idOf("[gMASK]"), ...start], end = idOf("</s>");
  return {
    ...tokenizer,
    encode(text, options = {}) {
      const ids = tokenizer.encode(text, { ...options, addSpecial: false });
      if (options.addSpecial === false) return ids;
      if (!ids.some((id) => masks.includes(id))) return [...ids, ...goesOn];
      return [...ids, ...(masks.includes(ids.at(-1)!) ? [] : end), ...start];
    },
  };
}

const COMMANDS = ["[MASK]", "[gMASK]", "[sMASK]", "sop", "eop"];
const ROLES = ["<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"];

/** ChatGLM2 and ChatGLM3: a text begins with `[gMASK]` and `sop`, which are no pieces. */
export function chatglm2(published: Published): Tokenizer {
  const { config, model: modelConfig } = published;
  const model = pieceModel(published, "tokenizer.model");
  const decoder = config.added_tokens_decoder;
  // The first files of ChatGLM3 name its roles nowhere, but themselves.
  const hasRoles = (typeof decoder === "object" && decoder !== null &&
    Object.values(decoder).some((it) => (it as { content?: unknown })?.content === "<|user|>")) ||
    [modelConfig._name_or_path, config.name_or_path].some((it) => /chatglm3/i.test(String(it)));
  const first = model.pieces.length;
  const commands = (hasRoles ? [...COMMANDS, ...ROLES] : COMMANDS)
    .map((token, i) => specialToken(token, first + i));
  const usual = { eos_token: "</s>", unk_token: "<unk>", pad_token: "<unk>" };
  const pieceOf = pieceId(model);
  const own = new Map(commands.map(({ content, id }) => [content, id]));
  const idOf = (token: string): number | undefined => own.get(token) ?? pieceOf(token);
  const specials = readSpecials(published, usual, idOf, first + commands.length, commands);
  const added = specials.added.map((token) =>
    own.has(token.content) ? { ...token, special: true } : token
  );
  // In a dialogue the next turn's mark ends the answer.
  const turns = hasRoles ? [own.get("<|user|>"), own.get("<|observation|>")] : [];
  return aroundPieces(model, {
    idOfPiece: new Int32Array(model.pieces.length).map((_, id) => id),
    unknownId: model.unknownId,
    added,
    prefix: [first + COMMANDS.indexOf("[gMASK]"), first + COMMANDS.indexOf("sop")],
    suffix: [],
    bosId: model.bosId,
    eosIds: endTokens([specials.id("eos_token"), ...turns], () => undefined),
  });
}
