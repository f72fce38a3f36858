/**
 * The wire format of protocol buffers, as far as SentencePiece's files use it: a message is a run of
 * fields, each with a number and a value. Nothing is copied and nothing is allocated by what a file
 * claims: a length that leaves the message is an error.
 *
 * Source: Protocol Buffers documentation, "Encoding".
 *
 * @module
 */

import { FormatError } from "../../../../errors.ts";
import { quote } from "../../../../escape.ts";

/** One field of a message. */
export interface WireField {
  /** Its number in the message's definition. */
  readonly number: number;
  /** A varint, or 0 for the other kinds. */
  readonly varint: number;
  /** The bytes of a length-delimited or fixed-width value; undefined for a varint. */
  readonly bytes: Uint8Array | undefined;
  /** How the value is stored: 0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes. */
  readonly wire: number;
}

/**
 * The fields of a message, in file order.
 *
 * @param bytes the message
 * @param what the file, for messages
 * @throws FormatError when the bytes are no message
 */
export function* readFields(bytes: Uint8Array, what: string): Generator<WireField> {
  let at = 0;
  const fail = (why: string): FormatError =>
    new FormatError(
      `Cannot read the SentencePiece model ${quote(what)}: at byte ${at} of a message of ` +
        `${bytes.length} bytes ${why}; the file is damaged or no SentencePiece model`,
    );

  /** Numbers beyond 2^53 lose their low bits; the fields that are read here have none. */
  function varint(): number {
    let value = 0;
    for (let k = 0; k < 10; k++) {
      if (at >= bytes.length) throw fail("a number is cut off");
      const byte = bytes[at++];
      value += (byte & 0x7f) * 2 ** (7 * k);
      if (byte < 0x80) return value;
    }
    throw fail("a number has more than 10 bytes");
  }

  function take(length: number): Uint8Array {
    if (length > bytes.length - at) {
      throw fail(`a field takes ${length} bytes, ${bytes.length - at} are left`);
    }
    at += length;
    return bytes.subarray(at - length, at);
  }

  while (at < bytes.length) {
    const key = varint();
    const number = Math.floor(key / 8), wire = key % 8;
    if (number < 1 || number > 0x1fffffff) throw fail(`a field has the number ${number}`);
    if (wire === 0) yield { number, wire, varint: varint(), bytes: undefined };
    else if (wire === 1) yield { number, wire, varint: 0, bytes: take(8) };
    else if (wire === 2) yield { number, wire, varint: 0, bytes: take(varint()) };
    else if (wire === 5) yield { number, wire, varint: 0, bytes: take(4) };
    else throw fail(`field ${number} is stored in form ${wire}, expected 0, 1, 2 or 5`);
  }
}
