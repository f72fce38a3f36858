/**
 * From token ids to text: what each token spells, and a decoder that takes ids one by one and gives
 * out text that is never half a character. Bytes wait until they make a whole UTF-8 character;
 * bytes that never do become U+FFFD, so nothing is lost. Decoding a list is the same decoder run over
 * the list, so a stream and a list always agree.
 *
 * @module
 */

import { InputError } from "../../../errors.ts";
import { quote } from "../../../escape.ts";
import { unescapeBytes } from "./raw_bytes.ts";

/** Takes ids one by one and gives out whole characters. */
export interface TokenDecoder {
  /**
   * The text that is complete now that this id is known; often the token's own, sometimes empty.
   *
   * @throws InputError for an id outside the vocabulary
   */
  push(id: number): string;
  /** What is still waiting: U+FFFD for a character that never became whole, else nothing. */
  flush(): string;
}

/** Takes ids one by one and gives out bytes. */
export interface ByteDecoder {
  /**
   * The UTF-8 bytes that this id adds to the text, also those of characters that are not whole yet.
   *
   * @throws InputError for an id outside the vocabulary
   */
  push(id: number): Uint8Array<ArrayBuffer>;
  /** The bytes of what was still waiting; few kinds of decoders have any. */
  flush(): Uint8Array<ArrayBuffer>;
}

/** What the tokens of a vocabulary spell. */
export interface Pieces {
  /** Ids run from 0 to this, exclusive. */
  readonly vocabSize: number;
  /** Whether a token controls (begin, end, role marks) rather than spells. */
  isSpecial(id: number): boolean;
  /** Begins a text; a `raw` one has bytes that are no whole character as raw_bytes.ts writes them. */
  begin(raw: boolean): PieceStream;
}

/** A text that is being spelled. */
export interface PieceStream {
  /** What is certain with one more token. */
  push(id: number): string;
  /** What was still waiting. */
  end(): string;
  /** Whether more may be held back than what makes a character or a space. */
  readonly waits?: boolean;
}

/** Options of decoding. */
export interface DecodeOptions {
  /** Leave out tokens that control rather than spell. Default true. */
  readonly skipSpecial?: boolean;
}

/** Options of a streaming decoder. */
export interface StreamOptions extends DecodeOptions {
  /**
   * The ids that came before, as a prompt's before its continuation: the text then goes on after
   * theirs (a leading space stays, a character that they began is completed) without repeating it.
   * Ids outside the vocabulary spell nothing.
   */
  readonly after?: Iterable<number>;
}

function checked(pieces: Pieces, id: number): number {
  if (Number.isInteger(id) && id >= 0 && id < pieces.vocabSize) return id;
  throw new InputError(
    `Cannot decode token id ${quote(id)}: the vocabulary has ${pieces.vocabSize} tokens, ` +
      `expected a whole number from 0 to ${pieces.vocabSize - 1}`,
  );
}

/** A streaming decoder over a vocabulary's pieces. */
export function tokenDecoder(pieces: Pieces, options: StreamOptions = {}): TokenDecoder {
  return streamDecoder(pieces, options, false);
}

/** A streaming decoder that gives bytes. */
export function byteDecoder(pieces: Pieces, options: StreamOptions = {}): ByteDecoder {
  const decoder = streamDecoder(pieces, options, true);
  return {
    push: (id) => unescapeBytes(decoder.push(id)),
    flush: () => unescapeBytes(decoder.flush()),
  };
}

function streamDecoder(pieces: Pieces, options: StreamOptions, raw: boolean): TokenDecoder {
  const { skipSpecial = true, after = [] } = options;
  const stream = pieces.begin(raw);
  const push = (id: number): string => skipSpecial && pieces.isSpecial(id) ? "" : stream.push(id);
  const earlier = Array.from(after).filter((id) =>
    Number.isInteger(id) && id >= 0 && id < pieces.vocabSize
  );
  let given = 0;
  for (const id of earlier) given += push(id).length;
  // What the stream still holds back of the earlier ids' text, and is not to be repeated.
  let known = stream.waits && earlier.length > 0
    ? decodeAll(pieces, earlier, skipSpecial, raw).slice(given)
    : "";
  function fresh(text: string): string {
    if (known === "" || text === "") return text;
    let shared = 0;
    while (shared < text.length && text[shared] === known[shared]) shared++;
    known = shared === text.length ? known.slice(shared) : "";
    return text.slice(shared);
  }
  return {
    push: (id) => fresh(push(checked(pieces, id))),
    flush: () => fresh(stream.end()),
  };
}

/** The text of a list of ids: what a stream of them gives, in one go. */
export function decodeIds(
  pieces: Pieces,
  ids: Iterable<number>,
  { skipSpecial = true }: DecodeOptions = {},
): string {
  return decodeAll(pieces, ids, skipSpecial, false);
}

function decodeAll(
  pieces: Pieces,
  ids: Iterable<number>,
  skipSpecial: boolean,
  raw: boolean,
): string {
  const stream = pieces.begin(raw);
  const parts: string[] = [];
  for (const id of ids) {
    checked(pieces, id);
    if (!skipSpecial || !pieces.isSpecial(id)) parts.push(stream.push(id));
  }
  parts.push(stream.end());
  return parts.join("");
}

const BYTE_TOKEN = /^<0x([0-9A-Fa-f]{2})>$/;

/** The byte that a token like `<0x0A>` stands for, or -1. */
export function byteOfToken(token: string): number {
  const match = token.length === 6 ? BYTE_TOKEN.exec(token) : null;
  return match ? parseInt(match[1], 16) : -1;
}
