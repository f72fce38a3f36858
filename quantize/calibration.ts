/**
 * Texts to calibrate on: given as token ids, or written by the model itself.
 *
 * @module
 */

import { InputError } from "../errors.ts";
import { quote } from "../escape.ts";
import { readIds } from "../options.ts";
import { loadModel } from "../runtime/load.ts";
import type { Model } from "../runtime/model.ts";

/** Where the texts come from: the model itself, a text, or texts as token ids. */
export type CalibrationOption =
  | "self"
  | { readonly text: string }
  | readonly (readonly number[])[];

/** How much is wanted. */
export interface CalibrationSizes {
  /** Tokens of all texts. */
  readonly tokens: number;
  /** Most tokens of one. */
  readonly textTokens: number;
  readonly seed: number;
  readonly threads?: number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress: (tokens: number) => void;
}

/**
 * Token ids of texts of up to `textTokens` tokens, `tokens` in all, or what there is.
 *
 * @throws InputError when ids are none of the model's, or there are none
 */
export async function calibrationIds(
  source: string | URL,
  option: CalibrationOption,
  sizes: CalibrationSizes,
): Promise<readonly (readonly number[])[]> {
  const { textTokens, threads, signal } = sizes;
  await using model = await loadModel(source, {
    ...{ contextLength: textTokens, onWarning: () => {} },
    ...(threads !== undefined && { threads }),
    ...(signal && { signal }),
  });
  if (option === "self") return await ownTexts(model, sizes);
  return givenTexts(
    model,
    "text" in option ? [model.tokenizer.encode(option.text)] : option,
    sizes,
  );
}

/** Texts that the model writes from its first token on, at temperature 1. */
export async function ownTexts(
  model: Model,
  { tokens, textTokens, seed, signal, onProgress }: CalibrationSizes,
): Promise<number[][]> {
  const texts: number[][] = [];
  const opening = model.hasTokenizer ? model.tokenizer.encode("") : [];
  for (let count = 0, i = 0; count < tokens; i++) {
    // Without a token that begins texts, any word may.
    const prompt = opening.length > 0 ? opening : [(seed + 7919 * i) % model.config.vocabSize];
    const ids = [...prompt];
    using session = model.session();
    for await (
      const { id } of session.generate(prompt, {
        ...{ temperature: 1, topK: 0, topP: 1, seed: seed + i },
        maxTokens: Math.max(1, Math.min(textTokens, tokens - count) - prompt.length),
        ...(signal && { signal }),
      })
    ) ids.push(id);
    texts.push(ids);
    count += ids.length;
    onProgress(Math.min(count, tokens));
  }
  return texts;
}

function givenTexts(
  model: Model,
  given: readonly (readonly number[])[],
  { tokens, textTokens }: CalibrationSizes,
): number[][] {
  const texts: number[][] = [];
  let left = tokens;
  for (const text of given) {
    if (!Array.isArray(text)) {
      throw new InputError(`Cannot calibrate on ${quote(text)}: expected lists of token ids`);
    }
    const ids = readIds(text, model.config.vocabSize);
    for (let at = 0; at < ids.length && left > 0; at += textTokens) {
      const piece = Array.from(ids.slice(at, at + Math.min(textTokens, left)));
      texts.push(piece);
      left -= piece.length;
    }
  }
  if (texts.length === 0) throw new InputError("Cannot calibrate on no texts: expected token ids");
  return texts;
}
