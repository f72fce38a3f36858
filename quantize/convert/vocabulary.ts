/**
 * The vocabulary of a GGUF file while it is put together.
 *
 * @module
 */

import type { Fields } from "./fields.ts";

/** Values of `tokenizer.ggml.token_type`. */
export const TYPE = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 };

/** Tokens as a GGUF file has them. */
export interface Vocabulary {
  /** `tokenizer.ggml.model`. */
  readonly kind: "gpt2" | "llama" | "bert";
  /** Texts by id; undefined where an id has none. */
  readonly tokens: (string | undefined)[];
  /** Of `TYPE`, by id. */
  readonly types: number[];
  /** Scores by id, where the kind has them. */
  readonly scores?: number[];
  /** Text of the token for what no other covers. */
  readonly unknown?: string | undefined;
  /** Texts that get other tokens in a GGUF file, which is among the notes. */
  readonly differs?: (text: string) => boolean;
  /** Further fields of the kind. */
  readonly fields: Fields;
  /** What has no place in GGUF, as sentences without their subject. */
  readonly notes: readonly string[];
}

/** A token that is found before words are. */
export interface Added {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
}

/**
 * Puts added tokens among the others: special ones control; of others, which are found in texts as they
 * stand, "▁" is a space.
 */
export function addTokens(
  { tokens, types, scores }: Pick<Vocabulary, "tokens" | "types" | "scores">,
  added: readonly Added[],
): void {
  for (const { id, content, special } of added) {
    if (types[id] === TYPE.unknown) continue;
    tokens[id] = special ? content : content.replaceAll("\u2581", " ");
    types[id] = special ? TYPE.control : TYPE.userDefined;
    if (scores) scores[id] = -1000;
  }
}
