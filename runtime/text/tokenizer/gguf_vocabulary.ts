/**
 * The vocabulary in GGUF metadata (`tokenizer.ggml.*`), read and checked key by key. Not here: the kinds
 * of tokenizers that are made of it.
 *
 * @module
 */

import { endTokens } from "./core.ts";
import { flagField, MAX_VOCABULARY, wrongField } from "./fields.ts";

// The values of tokenizer.ggml.token_type.

/** Type of an ordinary token. */
export const NORMAL = 1;
/** Type of the unknown token. */
export const UNKNOWN = 2;
/** Type of a token that controls rather than spells. */
export const CONTROL = 3;
/** Type of a token that is found before words are. */
export const USER_DEFINED = 4;
/** Type of a token that spells nothing. */
export const UNUSED = 5;
/** Type of a token for one byte. */
export const BYTE = 6;

/** What the keys begin with. */
export const KEY = "tokenizer.ggml.";

/** The metadata, read and checked. */
export interface GgufVocabulary {
  /** All metadata, keys as in the file. */
  readonly metadata: Record<string, unknown>;
  /** Token texts by id. */
  readonly tokens: readonly string[];
  /** Token ids by text. */
  readonly ids: ReadonlyMap<string, number>;
  /** Token types by id. */
  readonly types: Int32Array;
  /** Scores by id, 0 where the file has none. */
  readonly scores: Float64Array;
}

/**
 * Reads tokens, types and scores.
 *
 * @throws FormatError when one of them is missing or malformed
 */
export function readVocabulary(metadata: Record<string, unknown>): GgufVocabulary {
  const tokens = metadata[`${KEY}tokens`];
  if (!Array.isArray(tokens) || tokens.length === 0 || tokens.length > MAX_VOCABULARY) {
    throw wrongField(`${KEY}tokens`, tokens, `a list of 1 to ${MAX_VOCABULARY} texts`);
  }
  const ids = new Map<string, number>();
  const texts = Array.from(tokens, (token: unknown, id) => {
    if (typeof token !== "string") throw wrongField(`${KEY}tokens[${id}]`, token, "a text");
    return token === "" ? `[EMPTY_${id}]` : token;
  });
  // From the last, so that the first of equal ones stays.
  for (let id = texts.length - 1; id >= 0; id--) ids.set(texts[id]!, id);
  const types = new Int32Array(numbers(metadata, "token_type", texts.length, NORMAL));
  // End tokens control, whatever type a careless conversion gave them.
  for (const id of endTokens([], (name) => ids.get(name))) types[id] = CONTROL;
  return {
    metadata,
    tokens: texts,
    ids,
    types,
    scores: numbers(metadata, "scores", texts.length, 0),
  };
}

function numbers(
  metadata: Record<string, unknown>,
  name: string,
  count: number,
  fallback: number,
): Float64Array {
  const value = metadata[KEY + name];
  if (value === undefined || value === null) return new Float64Array(count).fill(fallback);
  const list = value as ArrayLike<unknown>;
  const isList = Array.isArray(value) || ArrayBuffer.isView(value);
  if (!isList || !(list.length >= count)) {
    throw wrongField(KEY + name, value, `a list of ${count} numbers`);
  }
  const numbers = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const number = list[i];
    if (typeof number !== "number" || !Number.isFinite(number)) {
      throw wrongField(`${KEY}${name}[${i}]`, number, "a finite number");
    }
    numbers[i] = number;
  }
  return numbers;
}

/** The id that a key names, or the kind's usual one; ids outside the vocabulary mean none. */
export function specialId(
  { metadata, tokens }: GgufVocabulary,
  name: string,
  usual: number | undefined,
): number | undefined {
  const inside = (id: unknown): id is number =>
    typeof id === "number" && Number.isInteger(id) && id >= 0 && id < tokens.length;
  const value = metadata[KEY + name];
  if (inside(value)) return value;
  return inside(usual) ? usual : undefined;
}

/** A boolean, or the kind's usual value. */
export function flag({ metadata }: GgufVocabulary, name: string, usual: boolean): boolean {
  return flagField(metadata[KEY + name], KEY + name, usual);
}
