/**
 * `loadTokenizer`: from a path or URL to a model's tokenizer alone.
 *
 * @module
 */

import { ModelError } from "../errors.ts";
import { quote } from "../escape.ts";
import { CALLBACK, optionsOf, readOptions, type Rules, SIGNAL } from "../options.ts";
import { findModel, type FindModelOptions } from "./hub/find.ts";
import { HUB_RULES, isHubSpec } from "./hub/options.ts";
import { plainTokenizer, weightlessTokenizer } from "./text/lone_tokenizer.ts";
import { readModelText, unusedTextSettings } from "./text/model_text.ts";
import type { Tokenizer } from "./text/tokenizer/tokenizer.ts";

/** How a tokenizer is loaded. */
export type LoadTokenizerOptions = FindModelOptions;

const TOKENIZER_RULES: Rules<LoadTokenizerOptions> = {
  hub: optionsOf(HUB_RULES),
  signal: SIGNAL,
  onProgress: CALLBACK,
  onWarning: CALLBACK,
};

/**
 * Loads only the tokenizer of a model: a GGUF file, a safetensors directory, a path, a URL, or a model
 * of a hub, of which no weights are downloaded. A folder need not have weights. A SentencePiece
 * `.model` file by itself is encoded as its own library does it, with nothing around a text.
 *
 * @throws InputError when an option is unknown or wrong
 * @throws SourceError when the files cannot be read
 * @throws ModelError when the model came without tokenizer files
 * @throws FormatError when they are damaged, or of a class that is not supported
 *
 * @example
 * ```ts ignore
 * import { loadTokenizer } from "@sparrow/sparrow";
 *
 * const tokenizer = await loadTokenizer("model.gguf");
 * tokenizer.encode("Once upon a time");
 * ```
 */
export async function loadTokenizer(
  source: string | URL | Blob,
  given: LoadTokenizerOptions = {},
): Promise<Tokenizer> {
  const options = readOptions("load a tokenizer", given, TOKENIZER_RULES);
  const isHub = isHubSpec(source);
  const plain = isHub ? undefined : await plainTokenizer(source, options.signal);
  if (plain) return plain;
  const found = await findModel(source, options, false);
  const file = await found.open({ signal: options.signal }).catch((error) => {
    if (error instanceof ModelError) return error;
    throw error;
  });
  if (file instanceof ModelError) {
    const { onWarning = console.warn } = options;
    const alone = isHub ? undefined : await weightlessTokenizer(source, onWarning);
    if (alone) return alone;
    throw file;
  }
  try {
    const text = await readModelText(file);
    if (text) {
      const { onWarning = console.warn } = options;
      (await unusedTextSettings(file)).forEach((sentence) => onWarning(sentence));
      return text.tokenizer;
    }
    throw new ModelError(
      `Cannot load the tokenizer of ${
        quote(file.name)
      }: it came without one; put tokenizer.json, ` +
        `or the vocabulary files of its class, beside its config.json`,
    );
  } finally {
    file.close();
  }
}
