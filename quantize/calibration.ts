/**
 * Texts to calibrate on: given as token ids, or written by the model itself.
 *
 * @module
 */

import { InputError, ModelError } from "../errors.ts";
import { quote } from "../escape.ts";
import { readIds } from "../options.ts";
import { resolveModel } from "../runtime/engine/resolve.ts";
import { elements } from "../kernels/op.ts";
import type { ModelFile } from "../runtime/files/model_file.ts";
import { loadModel, openModel } from "../runtime/load.ts";
import { loadTokenizer } from "../runtime/load_tokenizer.ts";
import type { Model } from "../runtime/model.ts";

/** Where the texts come from: the model itself, a text or several, or texts as token ids. */
export type CalibrationOption =
  | "self"
  | { readonly text: string | readonly string[] }
  | readonly (readonly number[])[];

/** What kind of texts they are, in a word. */
export function kindOf(option: CalibrationOption): "self" | "text" | "ids" {
  return option === "self" ? "self" : "text" in option ? "text" : "ids";
}

/** Texts to read, and what is left of them. */
export interface CalibrationTexts {
  /** Token ids of each. */
  readonly texts: readonly (readonly number[])[];
  /** What follows in the given texts, as many tokens at most, to compare models on. */
  readonly rest: readonly (readonly number[])[];
}

/** How much is wanted. */
export interface CalibrationSizes {
  /** Tokens of all texts. */
  readonly tokens: number;
  /** Most tokens of one. */
  readonly textTokens: number;
  readonly seed: number;
  /** Texts that are written side by side, at most as many as the model keeps sequences. Default 1. */
  readonly atOnce?: number;
  readonly threads?: number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress: (tokens: number) => void;
}

/**
 * Token ids of texts of up to `textTokens` tokens, `tokens` in all, or what there is.
 *
 * @throws InputError when ids are none of the model's, or there are none
 * @throws ModelError when its context is too short for a text
 */
export async function calibrationIds(
  source: string | URL,
  option: CalibrationOption,
  sizes: CalibrationSizes,
): Promise<CalibrationTexts> {
  const { textTokens, threads, signal } = sizes;
  const file = await openModel(source, { onWarning: () => {}, ...(signal && { signal }) });
  try {
    if (option === "self") {
      const writing = writingOptions(file);
      await using model = await loadModel(source, {
        ...{ ...writing, contextLength: textTokens, onWarning: () => {} },
        ...(threads !== undefined && { threads }),
        ...(signal && { signal }),
      });
      const texts = await ownTexts(model, { ...sizes, atOnce: writing.sequences });
      return { texts, rest: [] };
    }
    // What is read needs no weights.
    if (!("text" in option)) {
      const { config: { vocabSize } } = await resolveModel(file, {}, () => {});
      const ids = option.map((it, i) => givenIds(vocabSize, it, i));
      return divide(ids.flatMap((it) => piecesOf(it, textTokens)), sizes.tokens);
    }
    const tokenizer = await loadTokenizer(source, {
      ...{ onWarning: () => {}, ...(signal && { signal }) },
    });
    const reader = { name: file.name, tokenizer }, { text } = option;
    if (typeof text === "string") return divideText(reader, text, sizes);
    return divide(text.flatMap((it) => windowsOf(reader, it, textTokens)), sizes.tokens, false);
  } finally {
    file.close();
  }
}

/** Most weights of a model that writes texts in 8 bits; in 4 bits with more. */
const MOST_IN_BYTES = 3 * 2 ** 30;

/** About how many bytes a model of so many weights takes while it writes texts. */
export function writingBytes(weights: number): number {
  return (weights <= MOST_IN_BYTES ? 1.2 : 0.75) * weights;
}

/**
 * How a model is loaded to write texts, several side by side, so that its weights are read once for a
 * token of each: a small one as it is, a larger one in 8 bits, or in 4 where these would take several
 * gigabytes, since texts need not be its best ones.
 */
function writingOptions({ tensors }: ModelFile) {
  const SMALL = 2 ** 28;
  let bytes = 0, numbers = 0;
  for (const it of tensors.values()) {
    bytes += it.bytes;
    numbers += elements(it.shape);
  }
  if (bytes <= SMALL) return { sequences: 8 } as const;
  if (numbers <= MOST_IN_BYTES) return { sequences: 8, weights: "int8", cacheType: "f16" } as const;
  return { sequences: 4, weights: "int4", cacheType: "f16" } as const;
}

/** Texts that the model writes from its first token on, at temperature 1. */
export async function ownTexts(
  model: Model,
  { tokens, textTokens, seed, atOnce = 1, signal, onProgress }: CalibrationSizes,
): Promise<number[][]> {
  const texts: number[][] = [];
  const opening = model.hasTokenizer ? model.tokenizer.encode("") : [];
  checkTextTokens(model.name, textTokens, opening.length);
  /** Text number `i`: what it is depends on nothing else. */
  const write = async (i: number, most: number): Promise<number[]> => {
    // Without a token that begins texts, any word may.
    const prompt = opening.length > 0 ? opening : [(seed + 7919 * i) % model.config.vocabSize];
    const ids = [...prompt];
    using session = model.session();
    for await (
      const { id } of session.generate(prompt, {
        ...{ temperature: 1, topK: 0, topP: 1, seed: seed + i },
        maxTokens: Math.max(1, most - prompt.length),
        ...(signal && { signal }),
      })
    ) {
      ids.push(id);
      onProgress(Math.min(tokens, ++written));
    }
    return ids;
  };
  let count = 0, written = 0;
  while (count < tokens) {
    const most = Math.min(textTokens, tokens - count), first = texts.length;
    const side = Math.min(atOnce, Math.ceil((tokens - count) / textTokens));
    written = count;
    const some = await Promise.allSettled(
      Array.from({ length: side }, (_, i) => write(first + i, most)),
    );
    for (const it of some) {
      if (it.status === "rejected") throw it.reason;
      if (count >= tokens) break;
      // One token of its own at least, beside those that begin it.
      const least = (opening.length || 1) + 1;
      texts.push(it.value.slice(0, Math.max(least, tokens - count)));
      count += texts.at(-1)!.length;
    }
    onProgress(Math.min(count, tokens));
  }
  return texts;
}

/** What of a model reads texts. */
type Reader = Pick<Model, "name" | "tokenizer">;

/**
 * A text as token ids in windows of at most `length`, each with what the model's tokenizer puts around a
 * text: a window without the token that texts begin with would be one that the model has never seen.
 *
 * @throws ModelError when no token fits between those
 */
export function windowsOf(model: Reader, text: string, length: number): number[][] {
  return windowsOfIds(model, model.tokenizer.encode(text, { addSpecial: false }), length);
}

function windowsOfIds(model: Reader, ids: readonly number[], length: number): number[][] {
  const around = model.tokenizer.surround([]).ids.length;
  checkTextTokens(model.name, length, around);
  const { tokenizer } = model;
  return piecesOf(ids, length - around).map((piece) => Array.from(tokenizer.surround(piece).ids));
}

/** The beginning of a text that makes windows of `tokens` tokens, and as much of what follows. */
function divideText(
  model: Reader,
  text: string,
  { tokens, textTokens }: CalibrationSizes,
): CalibrationTexts {
  const { tokenizer } = model, around = tokenizer.surround([]).ids.length;
  const ids = tokenizer.encode(text, { addSpecial: false });
  const whole = Math.floor(tokens / textTokens), more = tokens % textTokens;
  const count = Math.max(1, whole * (textTokens - around) + Math.max(0, more - around));
  const [texts, rest] = [ids.slice(0, count), ids.slice(count, 2 * count)]
    .map((it) => windowsOfIds(model, it, textTokens));
  if (texts!.length === 0) throw new InputError("Cannot calibrate on no texts: expected token ids");
  return { texts: texts!, rest: rest! };
}

/** A list in pieces. */
export function piecesOf(ids: readonly number[], length: number): number[][] {
  const pieces = [];
  for (let at = 0; at < ids.length; at += length) pieces.push(ids.slice(at, at + length));
  return pieces;
}

function givenIds(vocabSize: number, text: unknown, index: number): number[] {
  if (!Array.isArray(text)) {
    throw new InputError(`Cannot calibrate on ${quote(text)}: expected lists of token ids`);
  }
  try {
    return readIds(text, vocabSize);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const found = error.message.replace(/^Cannot process /, "");
    throw new InputError(`Cannot calibrate on list ${index + 1} of token ids: ${found}`, {
      cause: error,
    });
  }
}

/**
 * The first `tokens` tokens, and as many of those that follow; what is left of a piece that was cut is
 * one of those only where no piece needs its beginning.
 */
function divide(
  pieces: readonly (readonly number[])[],
  tokens: number,
  canBegin = true,
): CalibrationTexts {
  const texts: number[][] = [], rest: number[][] = [];
  let left = tokens, others = tokens;
  for (const piece of pieces) {
    const taken = piece.slice(0, Math.max(0, left));
    const isUsable = canBegin || taken.length === 0;
    const following = piece.slice(taken.length, isUsable ? taken.length + Math.max(0, others) : 0);
    if (taken.length > 0) texts.push(taken);
    if (following.length > 0) rest.push(following);
    left -= taken.length;
    others -= following.length;
  }
  if (texts.length === 0) throw new InputError("Cannot calibrate on no texts: expected token ids");
  return { texts, rest };
}

/**
 * Refuses a model that takes texts of a single token, in which nothing follows.
 *
 * @throws ModelError when that is so
 */
export function checkTextTokens(name: string, length: number, around = 0): void {
  if (length > Math.max(1, around)) return;
  throw new ModelError(
    `Cannot read texts with ${quote(name)}: it takes texts of ${length} token${
      length === 1 ? "" : "s"
    }, of which ${around} begin or end them, expected room for two and those at least; quantize with ` +
      `method "nearest" and without verifying`,
  );
}
