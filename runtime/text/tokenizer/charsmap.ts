/**
 * The precompiled character map of SentencePiece: which character sequences a model's normalizer
 * replaces by which. It is stored as a double-array trie (Aoe 1989, in the packed form of Kanda 2018)
 * followed by the replacements.
 *
 * @module
 */

import { FormatError } from "../../../errors.ts";

/** Replaces what a character map says to replace. */
export type CharsMap = (text: string) => string;

const MAX_REPLACEMENT = 1024; // bytes
const utf8 = new TextEncoder();

/** A character map, read. */
interface Entries {
  /**
   * Follows the trie from byte `start`: how many bytes the longest entry takes, or the shortest one,
   * and where its replacement begins. The length is 0 where there is none.
   */
  find(text: Uint8Array, start: number, shortest: boolean): { length: number; at: number };
  /** The bytes of the replacement that begins at `at`. */
  replacement(at: number): Uint8Array;
}

/**
 * Reads 4 bytes length of the trie (little endian), the trie as 32-bit units, then replacements that
 * each end in a zero byte.
 */
function readEntries(bytes: Uint8Array, field: string): Entries {
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
  const unit = (index: number): number => {
    if (index >= units.length) throw fail(`a trie unit points to ${index} of ${units.length}`);
    return units[index];
  };
  const base = (value: number): number => (value >>> 10) << ((value & 0x200) >>> 6);

  return {
    find(text, start, shortest) {
      const found = { length: 0, at: 0 };
      let node = base(unit(0)) >>> 0;
      for (let at = start; at < text.length && text[at] !== 0; at++) {
        node = (node ^ text[at]) >>> 0;
        const value = unit(node);
        if ((value & 0x800000ff) !== text[at]) break;
        node = (node ^ base(value)) >>> 0;
        if (value & 0x100) {
          found.length = at + 1 - start;
          found.at = unit(node) & 0x7fffffff;
          if (shortest) break;
        }
      }
      return found;
    },
    replacement(at) {
      // Looked for in a part: a damaged map could make every character look through all of it.
      const part = texts.subarray(at, at + MAX_REPLACEMENT + 1);
      const length = part.indexOf(0);
      if (length < 0) {
        throw fail(
          `a replacement starts at ${at} of ${texts.length} and does not end within ` +
            `${MAX_REPLACEMENT} bytes`,
        );
      }
      return part.subarray(0, length);
    },
  };
}

/**
 * A precompiled character map as SentencePiece applies it: the longest entry at each place.
 *
 * @param bytes the map, as stored in GGUF metadata or (base64-decoded) in tokenizer.json
 * @param field the field that it came from, for messages
 * @throws FormatError when the lengths do not fit together
 */
export function charsMap(bytes: Uint8Array, field: string): CharsMap {
  if (bytes.length === 0) return (text) => text;
  const entries = readEntries(bytes, field);
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  return (text) => {
    const input = utf8.encode(text);
    const out: Uint8Array[] = [];
    let kept = 0;
    for (let at = 0; at < input.length;) {
      const { length, at: replacement } = entries.find(input, at, false);
      if (length === 0) {
        do at++; while (at < input.length && (input[at] & 0xc0) === 0x80);
        continue;
      }
      out.push(input.subarray(kept, at), entries.replacement(replacement));
      at += length;
      kept = at;
    }
    if (kept === 0) return text;
    out.push(input.subarray(kept));
    return decoder.decode(concatenate(out));
  };
}

/** What a map says to replace at a place of a text; places are asked for in order. */
type MapCursor = (at: number) => { readonly text: string; readonly units: number } | undefined;

/**
 * A precompiled character map, entry by entry: for each text a function that tells what begins at a
 * place, how many UTF-16 units it takes and what stands in for it. SentencePiece's own files need the
 * single replacements, because what is done to spaces depends on where one ends.
 *
 * @param bytes the map, not empty
 * @param field where it came from, for messages
 * @throws FormatError when the lengths do not fit together
 */
export function mapEntries(bytes: Uint8Array, field: string): (text: string) => MapCursor {
  const entries = readEntries(bytes, field);
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  /** UTF-16 units of the character that a byte begins; 0 inside a character. */
  const unitsOf = (byte: number): number => byte < 0x80 ? 1 : byte < 0xc0 ? 0 : byte < 0xf0 ? 1 : 2;
  return (text) => {
    const input = utf8.encode(text);
    let byte = 0, unit = 0;
    /** Goes over one character, or what is left of one. */
    function step(): void {
      unit += unitsOf(input[byte++]);
      while (byte < input.length && unitsOf(input[byte]) === 0) byte++;
    }
    return (place) => {
      while (unit < place) step();
      const { length, at } = entries.find(input, byte, false);
      if (length === 0) return undefined;
      const [end, from] = [byte + length, unit];
      while (byte < end) step();
      return { text: decoder.decode(entries.replacement(at)), units: unit - from };
    };
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

// Characters of which no two in a row are one grapheme.
const PLAIN = " -~\\xa1-\\xac\\xae-\\u02ff\\u0370-\\u0482\\u2010-\\u2027\\u2030-\\u205e" +
  "\\u3000-\\u3029\\u3041-\\u3096\\u309d-\\u30ff\\u3400-\\u4dbf\\u4e00-\\u9fff\\uac00-\\ud7a3\\uff01-\\uff9d";
// The others, with the plain characters that they may be one with. The classes exclude each other.
const JOINING = new RegExp(`[${PLAIN}]?[^${PLAIN}]+(?:[${PLAIN}][^${PLAIN}]+)*[${PLAIN}]?`, "g");
const MAX_KEPT = 1 << 16;
const MAX_GRAPHEME = 5; // bytes of the longest one that is looked up as a whole

/**
 * A precompiled character map as the Hugging Face library applies it, and with it the models that were
 * trained on what it gives: to each grapheme that is short, else to each of its characters, and the
 * shortest entry that begins it stands for all of it.
 *
 * @param bytes the map
 * @param field the field that it came from, for messages
 * @throws FormatError when the lengths do not fit together
 */
export function graphemeCharsMap(bytes: Uint8Array, field: string): CharsMap {
  if (bytes.length === 0) return (text) => text;
  const entries = readEntries(bytes, field);
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const kept = new Map<string, string | undefined>();
  let segmenter: Intl.Segmenter | undefined;

  function lookUp(part: string): string | undefined {
    if (kept.has(part)) return kept.get(part);
    const { length, at } = entries.find(utf8.encode(part), 0, true);
    const found = length === 0 ? undefined : decoder.decode(entries.replacement(at));
    if (kept.size === MAX_KEPT) kept.clear();
    kept.set(part, found);
    return found;
  }

  function each(text: string, out: string[]): void {
    for (const character of text) out.push(lookUp(character) ?? character);
  }

  return (text) => {
    const out: string[] = [];
    let end = 0;
    for (const { 0: joining, index } of text.matchAll(JOINING)) {
      each(text.slice(end, index), out);
      end = index + joining.length;
      segmenter ??= new Intl.Segmenter("en", { granularity: "grapheme" });
      for (const { segment } of segmenter.segment(joining)) {
        const short = segment.length <= MAX_GRAPHEME &&
          utf8.encode(segment).length <= MAX_GRAPHEME;
        const found = short ? lookUp(segment) : undefined;
        if (found === undefined) each(segment, out);
        else out.push(found);
      }
    }
    each(text.slice(end), out);
    return out.join("");
  };
}
