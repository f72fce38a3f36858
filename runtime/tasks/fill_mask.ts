/**
 * Words for the masks of a text.
 *
 * @module
 */

import { InputError, ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { readOptions, type Rules, SIGNAL, wholeNumberIn } from "../../options.ts";
import { readLogits } from "../generation/read_texts.ts";
import type { TextPiece } from "../text/chat_template.ts";
import { checkText, needs, softmax, type TaskModel } from "./reader.ts";

/** How `Model.fillMask` answers. */
export interface FillMaskOptions {
  /** Words for each mask. Default 5. */
  readonly top?: number;
  /** Ends it before the run; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** A word that could stand in the place of a mask. */
export interface MaskedWord {
  /** Token id. */
  readonly id: number;
  /** Its text; a part of a word is one without the mark of its kind. */
  readonly text: string;
  /** The token as the vocabulary spells it, as "##ing". */
  readonly token: string;
  /** From 0 to 1; those of all words add up to 1. */
  readonly probability: number;
}

/** A mask of a text, with the most likely words for it. */
export interface FilledMask {
  /** Place of the mask among the text's tokens. */
  readonly position: number;
  /** The most likely first. */
  readonly words: readonly MaskedWord[];
}

const RULES: Rules<FillMaskOptions> = { top: wholeNumberIn(1, 1_000_000), signal: SIGNAL };

/** How models spell a mask. */
const SPELLINGS = ["[MASK]", "<mask>"];

/** What stands for a gap in texts that T5 reads. */
const SENTINEL = "<extra_id_0>";

/** The words for each mask of a text. */
export async function fillMask(
  model: TaskModel,
  text: string,
  given: FillMaskOptions,
): Promise<FilledMask[]> {
  const { top = 5, signal } = readOptions("fill masks", given, RULES);
  checkText("fill masks of", text);
  const { engine, tokenizer } = model;
  if (engine.programs.decode && tokenizer.tokenToId(SENTINEL) !== undefined) {
    throw new ModelError(
      `Cannot fill masks with ${quote(model.name)}: it has tokens as ${
        quote(SENTINEL)
      }, which it ` +
        `fills by writing; generate from a text with them, with special tokens read and shown`,
    );
  }
  needs(model, "fill masks", "logits", "a head for masked words");
  const mask = maskOf(model), maskId = tokenizer.tokenToId(mask)!;
  const pieces = piecesOf(text, mask), count = pieces.filter(({ trusted }) => trusted).length;
  if (count === 0) {
    throw new InputError(
      `Cannot fill masks of ${quote(text, 60)}: it has none; write [MASK] where a word is missing`,
    );
  }
  const ids = tokenizer.encode(pieces);
  const places = ids.flatMap((id, i) => id === maskId ? [i] : []);
  if (places.length !== count) {
    throw new ModelError(
      `Cannot fill masks with ${
        quote(model.name)
      }: its tokenizer makes ${places.length} tokens of ` +
        `${count} masks ${quote(mask)}; the tokenizer's files must name it as a special token`,
    );
  }
  const { contextLength } = engine.options;
  if (ids.length > contextLength) {
    throw new InputError(
      `Cannot fill masks of ${quote(text, 60)}: it has ${ids.length} tokens, and the model reads ` +
        `${contextLength}; shorten it`,
    );
  }
  signal?.throwIfAborted();
  const logits = await readLogits(engine, ids); // [tokens, vocab]
  const { vocabSize } = engine.config;
  return places.map((position) => {
    const row = logits.subarray(position * vocabSize, (position + 1) * vocabSize);
    const probabilities = softmax(row);
    const order = Array.from(probabilities.keys()).sort((a, b) =>
      probabilities[b]! - probabilities[a]! || a - b
    );
    const words = order.slice(0, top).map((id) => ({
      id,
      // A head may have more rows than the vocabulary has words.
      text: id < tokenizer.vocabSize ? tokenizer.decode([id], { skipSpecial: false }) : "",
      token: tokenizer.idToToken(id) ?? "",
      probability: probabilities[id]!,
    }));
    return { position, words };
  });
}

/** How the model's own mask is spelled. */
function maskOf({ facts, tokenizer, name }: TaskModel): string {
  const mask = [facts.maskToken, ...SPELLINGS]
    .find((it) => it !== undefined && tokenizer.tokenToId(it) !== undefined);
  if (mask !== undefined) return mask;
  throw new ModelError(
    `Cannot fill masks with ${quote(name)}: its tokenizer has no mask, expected mask_token in ` +
      `tokenizer_config.json, or a token ${SPELLINGS.join(" or ")}`,
  );
}

/** The text, in which each mask, however it is spelled, is the model's own. */
function piecesOf(text: string, mask: string): TextPiece[] {
  const spellings = [...new Set([mask, ...SPELLINGS])];
  const pieces: TextPiece[] = [];
  for (let rest = text; rest !== "";) {
    const found = spellings.map((it) => [rest.indexOf(it), it] as const).filter(([at]) => at >= 0)
      .sort(([a], [b]) => a - b)[0];
    const end = found?.[0] ?? rest.length;
    if (end > 0) pieces.push({ text: rest.slice(0, end), trusted: false });
    if (!found) break;
    pieces.push({ text: mask, trusted: true });
    rest = rest.slice(end + found[1].length);
  }
  return pieces;
}
