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

/**
 * Goes through the fields of a message, in file order. It holds one field at a time, so that the hundreds
 * of thousands of them in a file leave nothing behind.
 */
export class WireReader {
  /** The field's number in the message's definition. */
  number = 0;
  /** How its value is stored: 0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes. */
  wire = 0;
  /** The value of a varint; 0 for the other kinds. */
  varint = 0;
  /** Where the value of another kind begins in `bytes`. */
  start = 0;
  /** Where it ends, exclusive. */
  end = 0;
  /** What is read. */
  readonly bytes: Uint8Array;
  readonly #name: string;
  #first = 0;
  #at = 0;
  #last: number;

  /**
   * A reader of one message.
   *
   * @param bytes the message
   * @param name the file, for messages
   */
  constructor(bytes: Uint8Array, name: string) {
    this.bytes = bytes;
    this.#name = name;
    this.#last = bytes.length;
  }

  /** Goes on with the message from byte `start` up to `end`. */
  enter(start: number, end: number): void {
    this.#first = this.#at = start;
    this.#last = end;
  }

  /**
   * Reads the next field; false after the last one.
   *
   * @throws FormatError when the bytes are no message
   */
  next(): boolean {
    if (this.#at >= this.#last) return false;
    const key = this.#number();
    this.number = Math.floor(key / 8);
    this.wire = key % 8;
    this.varint = 0;
    if (this.number < 1 || this.number > 0x1fffffff) {
      throw this.#fail(`a field has the number ${this.number}`);
    }
    if (this.wire === 0) this.varint = this.#number();
    else if (this.wire === 1) this.#take(8);
    else if (this.wire === 2) this.#take(this.#number());
    else if (this.wire === 5) this.#take(4);
    else {
      throw this.#fail(
        `field ${this.number} is stored in form ${this.wire}, expected 0, 1, 2 or 5`,
      );
    }
    return true;
  }

  /** Numbers beyond 2^53 lose their low bits; the fields that are read here have none. */
  #number(): number {
    let value = 0;
    for (let k = 0; k < 10; k++) {
      if (this.#at >= this.#last) throw this.#fail("a number is cut off");
      const byte = this.bytes[this.#at++];
      value += (byte & 0x7f) * 2 ** (7 * k);
      if (byte < 0x80) return value;
    }
    throw this.#fail("a number has more than 10 bytes");
  }

  #take(length: number): void {
    const left = this.#last - this.#at;
    if (length > left) throw this.#fail(`a field takes ${length} bytes, ${left} are left`);
    this.start = this.#at;
    this.end = this.#at += length;
  }

  #fail(why: string): FormatError {
    return new FormatError(
      `Cannot read the SentencePiece model ${quote(this.#name)}: at byte ` +
        `${this.#at - this.#first} of a message of ${this.#last - this.#first} bytes ${why}; the ` +
        `file is damaged or no SentencePiece model`,
    );
  }
}
