/**
 * How single tokens are shown: their own text, as it stands in the midst of a text, with bytes that
 * are no whole character as `<E6><98>`. For displays of token by token; the texts that a decoder gives
 * for ids in a row are the ones that join to the whole.
 *
 * @module
 */

import { byteLevelBytes } from "../tokenizer/byte_level.ts";
import { textOfBytes } from "./raw_bytes.ts";
import { byteOfToken } from "./text_decoder.ts";
import type { Tokenizer } from "../tokenizer/core.ts";

/**
 * The text of one token; empty for an id that spells nothing or is outside the vocabulary. Special
 * tokens are shown as they are written.
 *
 * @example
 * ```ts
 * import { tokenizerFromJson } from "../tokenizer/tokenizer.ts";
 * import { tokenText } from "./token_text.ts";
 *
 * const tokenizer = await tokenizerFromJson({
 *   model: { type: "BPE", vocab: { "Ġhi": 0, "æĺ": 1 }, merges: [] },
 *   decoder: { type: "ByteLevel" },
 * });
 * console.log(tokenText(tokenizer, 0)); // " hi"
 * console.log(tokenText(tokenizer, 1)); // "<E6><98>"
 * ```
 */
export function tokenText(tokenizer: Tokenizer, id: number): string {
  const token = tokenizer.idToToken(id);
  if (token === undefined) return "";
  const byte = byteOfToken(token);
  if (byte >= 0 && tokenizer.decode([id], { skipSpecial: false }) !== token) {
    return showBytes(Uint8Array.of(byte));
  }
  // After itself, so that what belongs to a text's beginning alone is not left out.
  const decoder = tokenizer.decoder({ after: [id], skipSpecial: false });
  const text = decoder.push(id) + decoder.flush();
  if (text.includes("\ufffd")) return showBytes(byteLevelBytes(token));
  return text === "" ? tokenizer.decode([id], { skipSpecial: false }) : text;
}

/** Bytes as text: whole characters as they are, every other byte as `<E6>`. */
export function showBytes(bytes: Uint8Array): string {
  return textOfBytes(bytes, (byte) => `<${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
}
