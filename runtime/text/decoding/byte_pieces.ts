/**
 * Tokens that spell bytes, put together to characters: what is left of a character waits for the token that
 * completes it, and bytes that never become one are U+FFFD.
 *
 * @module
 */

import { escapeBytes } from "./raw_bytes.ts";
import type { Pieces, PieceStream } from "./text_decoder.ts";

const SPACE = 0x20;
const EMPTY = new Uint8Array(0);

/** How many bytes at the end begin a character that is not complete. */
function incomplete(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back];
    if (byte < 0x80) return 0;
    if (byte < 0xc0) continue; // a later byte of a character
    const length = byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
    return length > back ? back : 0;
  }
  return 0;
}

/** Bytes to text, piece by piece. */
export class ByteJoiner {
  readonly #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  readonly #raw: boolean;
  #waiting: Uint8Array = EMPTY;

  /** `raw` bytes do not wait for their character (raw_bytes.ts). */
  constructor(raw: boolean) {
    this.#raw = raw;
  }

  /** The text that is complete now. */
  push(bytes: Uint8Array): string {
    if (this.#raw) return escapeBytes(bytes);
    if (this.#waiting.length > 0) {
      const joined = new Uint8Array(this.#waiting.length + bytes.length);
      joined.set(this.#waiting);
      joined.set(bytes, this.#waiting.length);
      bytes = joined;
    }
    const whole = bytes.length - incomplete(bytes);
    this.#waiting = whole === bytes.length ? EMPTY : bytes.slice(whole);
    if (whole === 0) return "";
    return this.#utf8.decode(whole === bytes.length ? bytes : bytes.subarray(0, whole));
  }

  /** Whether bytes wait. */
  get isWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** What waits, as U+FFFD. */
  end(): string {
    const text = this.#utf8.decode(this.#waiting);
    this.#waiting = EMPTY;
    return text;
  }
}

/** What a vocabulary of byte tokens is made of. */
export interface BytePieces {
  /** Ids run from 0 to this, exclusive. */
  readonly vocabSize: number;
  /** Whether a token controls rather than spells. */
  isSpecial(id: number): boolean;
  /** The UTF-8 bytes of a token; bytes of one character may be spread over several tokens. */
  bytes(id: number): Uint8Array;
  /** Whether a space at the very start belongs to the encoding and not to the text. */
  readonly stripLeading: boolean;
}

/** Pieces of tokens that spell bytes. */
export function bytePieces({ vocabSize, isSpecial, bytes, stripLeading }: BytePieces): Pieces {
  const whole: (string | undefined)[] = []; // texts of tokens that are whole characters
  const utf8 = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });
  function text(id: number): string | undefined {
    if (!(id in whole)) {
      try {
        whole[id] = utf8.decode(bytes(id));
      } catch {
        whole[id] = undefined;
      }
    }
    return whole[id];
  }
  return {
    vocabSize,
    isSpecial,
    begin(raw): PieceStream {
      const joiner = new ByteJoiner(raw);
      let started = !stripLeading;
      return {
        push(id) {
          if (started && !joiner.isWaiting) {
            const known = text(id);
            if (known !== undefined) return known;
          }
          let part = bytes(id);
          if (part.length === 0) return "";
          if (!started && part[0] === SPACE) part = part.subarray(1);
          started = true;
          return joiner.push(part);
        },
        end: () => joiner.end(),
      };
    },
  };
}
