/**
 * What a model's files say about text: its tokenizer, its chat template, the tokens that end an
 * answer.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { ggufChatTemplates } from "./chat_template.ts";
import { type ModelFile, openModelFile } from "../files/model_file.ts";
import { type Tokenizer, tokenizerFromJson } from "./tokenizer.ts";
import { tokenizerFromGguf } from "./tokenizer_gguf.ts";

/** The text side of a model. */
export interface ModelText {
  /** Text to tokens and back. */
  readonly tokenizer: Tokenizer;
  /** What `chatTemplate` compiles, as the files have it; undefined where they have none. */
  readonly chatTemplate: unknown;
}

/**
 * Reads the tokenizer of a model file; undefined for a model that came without one.
 *
 * @throws FormatError when the tokenizer is damaged or of a kind that is not supported
 */
export async function readModelText(file: ModelFile): Promise<ModelText | undefined> {
  if (file.format === "gguf") {
    if (file.metadata["tokenizer.ggml.tokens"] === undefined) return undefined;
    return {
      tokenizer: await tokenizerFromGguf(file.metadata),
      chatTemplate: ggufChatTemplates(file.metadata),
    };
  }
  if (file.tokenizerJson === undefined) return undefined;
  return {
    tokenizer: await tokenizerFromJson(file.tokenizerJson, file.tokenizerConfig),
    chatTemplate: file.tokenizerConfig?.chat_template,
  };
}

/**
 * Loads only the tokenizer of a model: a GGUF file, a safetensors directory, a path or URL.
 *
 * @throws ModelError when the model came without tokenizer files
 *
 * @example
 * ```ts ignore
 * import { loadTokenizer } from "@sparrow/sparrow";
 *
 * const tokenizer = await loadTokenizer("model.gguf");
 * tokenizer.encode("Once upon a time");
 * ```
 */
export async function loadTokenizer(source: string | URL | Blob): Promise<Tokenizer> {
  const file = await openModelFile(source);
  try {
    const text = await readModelText(file);
    if (!text) {
      throw new ModelError(
        `Cannot load the tokenizer of ${quote(file.name)}: ` +
          `it came without one; put tokenizer.json ` +
          `beside its config.json`,
      );
    }
    return text.tokenizer;
  } finally {
    file.close();
  }
}

/** Tokens that end an answer: the tokenizer's, and those of the generation configuration. */
export function stopIdsOf(file: ModelFile, tokenizer: Tokenizer | undefined): readonly number[] {
  const listed = file.generationConfig?.eos_token_id ?? file.metadata.eos_token_id;
  const ids = (Array.isArray(listed) ? listed : [listed]).filter((id) => Number.isInteger(id));
  return Array.from(new Set([...(tokenizer?.eosIds ?? []), ...ids]));
}
