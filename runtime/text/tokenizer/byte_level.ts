/**
 * Bytes as characters: how byte-level tokens spell them.
 *
 * @module
 */

const utf8 = new TextEncoder();

/**
 * How GPT-2 spells bytes as printable characters: itself where Latin-1 prints, else the
 * next free character from U+0100 on (Radford et al. 2019). [256]
 */
export const BYTE_CHARACTERS: readonly string[] = byteCharacters();

const CHARACTER_BYTES = new Map(BYTE_CHARACTERS.map((character, byte) => [character, byte]));

function byteCharacters(): string[] {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const prints = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
    return String.fromCharCode(prints ? byte : next++);
  });
}

/** The bytes that a byte-level token spells; a token with other characters spells itself. */
export function byteLevelBytes(token: string): Uint8Array {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = CHARACTER_BYTES.get(token[i]);
    if (byte === undefined) return utf8.encode(token);
    bytes[i] = byte;
  }
  return bytes;
}

/** A word as GPT-2 spells its bytes: the inverse of {@linkcode byteLevelBytes}. */
export function byteLevelSpelling(word: string): string {
  let spelled = "";
  for (const byte of utf8.encode(word)) spelled += BYTE_CHARACTERS[byte];
  return spelled;
}
