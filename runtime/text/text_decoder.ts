/**
 * From token ids to text: what each token spells, and a decoder that takes ids one by one and gives
 * out text that is never half a character. Bytes wait until they make a whole UTF-8 character;
 * bytes that never do become U+FFFD, so nothing is lost. Decoding a list is the same decoder run over
 * the list, so a stream and a list always agree.
 *
 * @module
 */

import { InputError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { TokenizersLibrary } from "../deps.ts";
import { flagField, listField, objectField, textField, wrongField } from "./tokenizer_fields.ts";
import { compilePattern } from "./tokenizer_pattern.ts";

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

/** What the tokens of a vocabulary spell. */
export interface Pieces {
  /** Ids run from 0 to this, exclusive. */
  readonly vocabSize: number;
  /** The UTF-8 bytes of a token; bytes of one character may be spread over several tokens. */
  bytes(id: number): Uint8Array;
  /** Whether a token controls (begin, end, role marks) rather than spells. */
  isSpecial(id: number): boolean;
  /** Whether a space at the very start belongs to the encoding and not to the text. */
  readonly stripLeading: boolean;
  /** Whether a space at the very end belongs to the encoding and not to the text. */
  readonly stripTrailing: boolean;
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

const SPACE = 0x20;
const MAX_INSERT = 256; // UTF-16 units that one replacement may insert
const MAX_PIECE = 1 << 16; // UTF-16 units
const EMPTY = new Uint8Array(0);
const utf8 = new TextEncoder();

/** The bytes of ids one after the other, with the rules about spaces at the ends. */
function byteStream(pieces: Pieces, skipSpecial: boolean): (id: number) => Uint8Array {
  let started = false;
  let spaceWaits = false;
  return (id) => {
    if (!Number.isInteger(id) || id < 0 || id >= pieces.vocabSize) {
      throw new InputError(
        `Cannot decode token id ${quote(id)}: the vocabulary has ${pieces.vocabSize} tokens, ` +
          `expected a whole number from 0 to ${pieces.vocabSize - 1}`,
      );
    }
    if (skipSpecial && pieces.isSpecial(id)) return EMPTY;
    let bytes = pieces.bytes(id);
    if (bytes.length === 0) return EMPTY;
    if (!started && pieces.stripLeading && bytes[0] === SPACE) bytes = bytes.subarray(1);
    started = true;
    if (!pieces.stripTrailing) return bytes;
    if (spaceWaits) bytes = Uint8Array.of(SPACE, ...bytes);
    spaceWaits = bytes[bytes.length - 1] === SPACE;
    return spaceWaits ? bytes.subarray(0, -1) : bytes;
  };
}

/** A streaming decoder over a vocabulary's pieces. */
export function tokenDecoder(pieces: Pieces, options: StreamOptions = {}): TokenDecoder {
  const { skipSpecial = true, after = [] } = options;
  const next = byteStream(pieces, skipSpecial);
  const text = new TextDecoder("utf-8", { ignoreBOM: true });
  const push = (id: number): string => text.decode(next(id), { stream: true });
  for (const id of after) if (Number.isInteger(id) && id >= 0 && id < pieces.vocabSize) push(id);
  return { push, flush: () => text.decode() };
}

/** The text of a list of ids: what a stream of them gives, in one go. */
export function decodeIds(
  pieces: Pieces,
  ids: Iterable<number>,
  { skipSpecial = true }: DecodeOptions = {},
): string {
  const next = byteStream(pieces, skipSpecial);
  let all = new Uint8Array(256);
  let length = 0;
  for (const id of ids) {
    const bytes = next(id);
    if (length + bytes.length > all.length) {
      const more = new Uint8Array(2 * (length + bytes.length));
      more.set(all);
      all = more;
    }
    all.set(bytes, length);
    length += bytes.length;
  }
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(all.subarray(0, length));
}

const BYTE_TOKEN = /^<0x([0-9A-Fa-f]{2})>$/;

/** The byte that a token like `<0x0A>` stands for, or -1. */
export function byteOfToken(token: string): number {
  const match = token.length === 6 ? BYTE_TOKEN.exec(token) : null;
  return match ? parseInt(match[1], 16) : -1;
}

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

/** The vocabulary that {@linkcode piecesFromJson} reads. */
export interface PieceVocabulary {
  /** Token texts by id; undefined where an id has none. */
  readonly tokens: readonly (string | undefined)[];
  /** Ids of added tokens, which are spelled as they are written. */
  readonly added: ReadonlySet<number>;
  /** Ids of tokens that control rather than spell. */
  readonly special: ReadonlySet<number>;
}

/**
 * Reads the `decoder` of tokenizer.json: ByteLevel, Metaspace, WordPiece, BPEDecoder, or a Sequence of
 * Replace, ByteFallback, Fuse and Strip, which is what SentencePiece models have.
 *
 * @throws FormatError for any other chain
 */
export function piecesFromJson(
  library: TokenizersLibrary,
  config: unknown,
  { tokens, added, special }: PieceVocabulary,
): Pieces {
  const rewrites: ((token: string) => string)[] = [];
  const kind = { byteLevel: false, byteFallback: false, strip: false, trailing: false };
  let fused = false;

  function read(value: unknown, field: string): void {
    const fields = objectField(value, field);
    if (fused && fields.type !== "Strip") throw wrongField(field, value, "only Strip after Fuse");
    switch (fields.type) {
      case "Sequence":
        // A sequence nested so deep that its path is this long is a cycle.
        if (field.length > 1024) throw wrongField(field, value, "decoders nested less deep");
        listField(fields.decoders, `${field}.decoders`).forEach((part, i) =>
          read(part, `${field}.decoders[${i}]`)
        );
        return;
      case "ByteLevel":
        kind.byteLevel = true;
        return;
      case "ByteFallback":
        kind.byteFallback = true;
        return;
      case "Fuse":
        fused = true;
        return;
      case "Replace": {
        const pattern = compilePattern(library, fields.pattern, `${field}.pattern`);
        const content = textField(fields.content, `${field}.content`);
        if (content.length > MAX_INSERT) {
          throw wrongField(`${field}.content`, content, `at most ${MAX_INSERT} characters`);
        }
        rewrites.push((token) => token.replace(pattern, () => content));
        return;
      }
      case "Strip": {
        const leading = fields.content === " " && fields.start === 1 && !fields.stop;
        if (!leading && (fields.start || fields.stop)) {
          throw wrongField(field, value, "a Strip of one leading space");
        }
        kind.strip ||= leading;
        return;
      }
      case "Metaspace": {
        const mark = fields.replacement === undefined
          ? "\u2581"
          : textField(fields.replacement, `${field}.replacement`);
        const legacy = flagField(fields.add_prefix_space, `${field}.add_prefix_space`, true);
        kind.strip = legacy && fields.prepend_scheme !== "never";
        rewrites.push((token) => token.replaceAll(mark, " "));
        return;
      }
      case "WordPiece": {
        const prefix = fields.prefix === undefined
          ? "##"
          : textField(fields.prefix, `${field}.prefix`);
        const cleanup = flagField(fields.cleanup, `${field}.cleanup`, true);
        kind.strip = true;
        rewrites.push((token) => {
          const continues = prefix !== "" && token.startsWith(prefix);
          const text = continues ? token.slice(prefix.length) : " " + token;
          return cleanup ? cleanUp(text) : text;
        });
        return;
      }
      case "BPEDecoder": {
        const suffix = fields.suffix === undefined
          ? "</w>"
          : textField(fields.suffix, `${field}.suffix`);
        kind.trailing = true;
        if (suffix !== "") rewrites.push((token) => token.replaceAll(suffix, " "));
        return;
      }
      default:
        throw wrongField(
          `${field}.type`,
          fields.type,
          "ByteLevel, Metaspace, WordPiece, BPEDecoder, Sequence, Replace, ByteFallback, " +
            "Fuse or Strip",
        );
    }
  }

  if (config === null || config === undefined) {
    // Without a decoder the tokens are words, as in the original.
    kind.strip = true;
    rewrites.push((token) => " " + token);
  } else read(config, "decoder");

  return {
    vocabSize: tokens.length,
    isSpecial: (id) => special.has(id),
    stripLeading: kind.strip,
    stripTrailing: kind.trailing,
    bytes(id) {
      let token = tokens[id];
      if (token === undefined) return EMPTY;
      if (kind.byteLevel) return added.has(id) ? utf8.encode(token) : byteLevelBytes(token);
      for (const rewrite of rewrites) {
        token = rewrite(token);
        if (token.length > MAX_PIECE) {
          throw wrongField("decoder", token, `pieces of at most ${MAX_PIECE} characters`);
        }
      }
      const byte = kind.byteFallback ? byteOfToken(token) : -1;
      return byte >= 0 ? Uint8Array.of(byte) : utf8.encode(token);
    },
  };
}

/** Undoes the spaces that BERT's words got before punctuation and contractions. */
export function cleanUp(piece: string): string {
  return piece.replace(/^ (?=[.?!,]$|n't$|'(?:m|s|ve|re)$)/, "");
}
