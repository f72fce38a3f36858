/**
 * The precompiled character map of SentencePiece: which character sequences a model's normalizer
 * replaces by which. It is stored as a double-array trie (Aoe 1989, in the packed form of Kanda 2018)
 * followed by the replacements. `@huggingface/tokenizers` ignores the map and approximates it with NFKC,
 * so this reader is our own.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";

/** Replaces what a character map says to replace. */
export type CharsMap = (text: string) => string;

const utf8 = new TextEncoder();

/**
 * Reads a precompiled character map: 4 bytes length of the trie (little endian), the trie as 32-bit
 * units, then replacements that each end in a zero byte.
 *
 * @param bytes the map, as stored in GGUF metadata or (base64-decoded) in tokenizer.json
 * @param field the field that it came from, for messages
 * @throws FormatError when the lengths do not fit together
 */
export function charsMap(bytes: Uint8Array, field: string): CharsMap {
  if (bytes.length === 0) return (text) => text;
  const fail = (why: string): FormatError =>
    new FormatError(`Cannot read the character map in ${field}: ${why}; the file is damaged`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const trieBytes = bytes.length < 4 ? 0 : view.getUint32(0, true);
  if (trieBytes < 4 || trieBytes % 4 !== 0 || 4 + trieBytes >= bytes.length) {
    throw fail(`its trie takes ${trieBytes} bytes of ${bytes.length}`);
  }
  const units = Uint32Array.from(
    { length: trieBytes / 4 },
    (_, i) => view.getUint32(4 + 4 * i, true),
  );
  const texts = bytes.subarray(4 + trieBytes);
  const decoder = new TextDecoder();

  /** Follows the trie from byte `start`: how many bytes the longest entry takes, and its text. */
  function longest(text: Uint8Array, start: number): { length: number; replacement: number } {
    const found = { length: 0, replacement: 0 };
    const unit = (index: number): number => {
      if (index >= units.length) throw fail(`a trie unit points to ${index} of ${units.length}`);
      return units[index];
    };
    const base = (value: number): number => (value >>> 10) << ((value & 0x200) >>> 6);
    let node = base(unit(0)) >>> 0;
    for (let at = start; at < text.length && text[at] !== 0; at++) {
      node = (node ^ text[at]) >>> 0;
      const value = unit(node);
      if ((value & 0x800000ff) !== text[at]) break;
      node = (node ^ base(value)) >>> 0;
      if (value & 0x100) {
        found.length = at + 1 - start;
        found.replacement = unit(node) & 0x7fffffff;
      }
    }
    return found;
  }

  function replacementAt(offset: number): Uint8Array {
    const end = offset < texts.length ? texts.indexOf(0, offset) : -1;
    if (end < 0) throw fail(`a replacement starts at ${offset} of ${texts.length} and never ends`);
    return texts.subarray(offset, end);
  }

  return (text) => {
    const input = utf8.encode(text);
    const out: Uint8Array[] = [];
    let kept = 0;
    for (let at = 0; at < input.length;) {
      const { length, replacement } = longest(input, at);
      if (length === 0) {
        do at++; while (at < input.length && (input[at] & 0xc0) === 0x80);
        continue;
      }
      out.push(input.subarray(kept, at), replacementAt(replacement));
      at += length;
      kept = at;
    }
    if (kept === 0) return text;
    out.push(input.subarray(kept));
    return decoder.decode(concatenate(out));
  };
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
