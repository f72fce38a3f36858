/**
 * What the pieces of a SentencePiece model spell: "▁" is a space, `<0x41>` a byte, and the space that was
 * put before a text is taken away again.
 *
 * Source: the Decode functions of sentencepiece_processor.cc of the SentencePiece library.
 *
 * @module
 */

import { byteOfToken, type PieceStream } from "../../decoding/text_decoder.ts";
import { escapeByte } from "../../decoding/raw_bytes.ts";
import { PIECE, type SentencePieceModel } from "./model_proto.ts";
import { pieceNormalizer, SPACE_MARK } from "./normalizer.ts";

/** A text that is being spelled, in pieces of a model and in texts that are no pieces. */
export interface SpelledText extends Omit<PieceStream, "push"> {
  /** What is certain with one more piece. */
  push(id: number): string;
  /** What is certain with a text between pieces. */
  text(text: string): string;
}

/** Begins a text in pieces of a model; a `raw` one has single bytes as raw_bytes.ts writes them. */
export function pieceSpeller(model: SentencePieceModel): (raw: boolean) => SpelledText {
  const { pieces, types, normalizer } = model;
  const strips = normalizer.addDummyPrefix || normalizer.removeExtraSpaces;
  const finish = model.denormalizer &&
    pieceNormalizer(model.denormalizer, model.spaceIsSuffix, [], model.name);
  const spelled: string[] = []; // by id, away from the start

  return (raw) => {
    // What a denormalizer reads are characters.
    const bytes = new SpelledBytes(raw && finish === undefined);
    let atStart = true;
    let hadSpace = false; // whether the space at the start was found
    let isEmpty = true; // whether nothing has been given out
    let held = ""; // all of it, where a denormalizer has the last word

    function give(text: string): string {
      if (text !== "") isEmpty = false;
      if (finish === undefined) return text;
      held += text;
      return "";
    }

    function spell(id: number): string {
      if (types[id] === PIECE.control) return "";
      if (types[id] === PIECE.unknown) return model.unknownSurface;
      if (!atStart || !strips || !pieces[id].startsWith(SPACE_MARK)) {
        return spelled[id] ??= pieces[id].replaceAll(SPACE_MARK, " ");
      }
      // Where spaces are dropped, every one of the start is.
      hadSpace = !normalizer.removeExtraSpaces;
      return pieces[id].slice(1).replaceAll(SPACE_MARK, " ");
    }

    return {
      waits: finish !== undefined,
      push(id) {
        if (types[id] === PIECE.byte) return give(bytes.push(byteOfToken(pieces[id])));
        const before = give(bytes.end());
        if (hadSpace || !isEmpty) atStart = false;
        return before + give(spell(id));
      },
      text(text) {
        const before = give(bytes.end());
        return before + give(text);
      },
      end() {
        const rest = give(bytes.end());
        if (finish === undefined) return rest;
        const whole = finish(held);
        held = "";
        return whole;
      },
    };
  };
}

/**
 * Bytes to characters. Each byte that is part of none becomes U+FFFD, where a TextDecoder makes one of
 * several.
 */
class SpelledBytes {
  #waiting: number[] = [];
  readonly #utf8 = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });

  readonly #raw: boolean;

  constructor(raw: boolean) {
    this.#raw = raw;
  }

  /** The text that is certain with one more byte. */
  push(byte: number): string {
    if (this.#raw) return escapeByte(byte);
    this.#waiting.push(byte);
    return this.#take(false);
  }

  /** What waits. */
  end(): string {
    return this.#waiting.length === 0 ? "" : this.#take(true);
  }

  #take(isEnd: boolean): string {
    const bytes = this.#waiting;
    let text = "", at = 0;
    while (at < bytes.length) {
      const first = bytes[at];
      const length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
      const there = Math.min(length, bytes.length - at);
      let trail = 1;
      while (trail < there && (bytes[at + trail] & 0xc0) === 0x80) trail++;
      const whole = length > 0 && first < 0xf8 && trail === there;
      if (whole && there < length && !isEnd) break;
      const character = whole && there === length ? this.#character(at, length) : undefined;
      text += character ?? "\ufffd";
      at += character === undefined ? 1 : length;
    }
    this.#waiting = bytes.slice(at);
    return text;
  }

  #character(at: number, length: number): string | undefined {
    try {
      return this.#utf8.decode(Uint8Array.from(this.#waiting.slice(at, at + length)));
    } catch {
      return undefined; // an encoding that is too long, a surrogate, or beyond Unicode
    }
  }
}
