/**
 * Bytes that are no whole character, carried within text: as lone surrogates U+DC80 to U+DCFF, one for
 * each byte, as Python's "surrogateescape" does it (PEP 383). So the same decoders can give bytes as they
 * come, where a text has to wait for whole characters.
 *
 * @module
 */

const encoder = new TextEncoder();
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });

/** Bytes as text: whole characters as they are, every other byte as `other` writes it. */
export function textOfBytes(bytes: Uint8Array, other: (byte: number) => string): string {
  try {
    return utf8.decode(bytes);
  } catch {
    // Some are no whole character.
  }
  let text = "";
  for (let at = 0; at < bytes.length;) {
    let length = Math.min(4, bytes.length - at);
    let character: string | undefined;
    for (; length > 0; length--) {
      character = characterOf(bytes.subarray(at, at + length));
      if (character !== undefined) break;
    }
    text += character ?? other(bytes[at]);
    at += Math.max(1, length);
  }
  return text;
}

/** The one character that some bytes are, or undefined. */
function characterOf(bytes: Uint8Array): string | undefined {
  try {
    const text = utf8.decode(bytes);
    return [...text].length === 1 ? text : undefined;
  } catch {
    return undefined;
  }
}

/** Bytes as text in which those that are no whole character are lone surrogates. */
export function escapeBytes(bytes: Uint8Array): string {
  return textOfBytes(bytes, escapeByte);
}

/** One byte of a character, or an ASCII character. */
export function escapeByte(byte: number): string {
  return String.fromCharCode(byte < 0x80 ? byte : 0xdc00 + byte);
}

/** The bytes behind such a text. */
export function unescapeBytes(text: string): Uint8Array<ArrayBuffer> {
  if (text.isWellFormed()) return encoder.encode(text);
  const parts = text.split(/([\udc80-\udcff])/u).map((part, i) =>
    i % 2 === 1 ? Uint8Array.of(part.charCodeAt(0) - 0xdc00) : encoder.encode(part)
  );
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
