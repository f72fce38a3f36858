/**
 * SentencePiece `.model` files, read and checked: the pieces with their scores and types, and the
 * settings that encoding and decoding go by. Not here: what is done with them.
 *
 * Source: sentencepiece_model.proto of the SentencePiece library (field numbers and defaults).
 *
 * @module
 */

import { FormatError } from "../../../../errors.ts";
import { quote } from "../../../../escape.ts";
import { MAX_VOCABULARY } from "../fields.ts";
import { WireReader } from "./protobuf.ts";

/** What a piece is. The values are those of GGUF's `token_type` too. */
export const PIECE = {
  normal: 1,
  unknown: 2,
  control: 3,
  userDefined: 4,
  unused: 5,
  byte: 6,
} as const;

/** How text becomes pieces. */
export type PieceModel = "unigram" | "bpe" | "word" | "char";

/** How text is prepared. */
export interface NormalizerSpec {
  /** The precompiled character map; empty for none. */
  readonly charsMap: Uint8Array;
  /** Put a space before (or, with spaces as suffixes, after) every text. */
  readonly addDummyPrefix: boolean;
  /** Drop spaces at both ends and all but one of a run. */
  readonly removeExtraSpaces: boolean;
  /** Write spaces as "▁". */
  readonly escapeSpaces: boolean;
}

/** A model file, read. */
export interface SentencePieceModel {
  /** The file's name for messages. */
  readonly name: string;
  /** Texts by id. */
  readonly pieces: readonly string[];
  /** Scores by id, single precision. */
  readonly scores: Float32Array;
  /** Types by id, of {@linkcode PIECE}. */
  readonly types: Uint8Array;
  /** Ids of normal, user-defined and unused pieces, which text can spell. */
  readonly ids: ReadonlyMap<string, number>;
  /** Ids of unknown, control and byte pieces. */
  readonly reserved: ReadonlyMap<string, number>;
  /** The unknown piece. */
  readonly unknownId: number;
  /** The control pieces that begin and end a text; undefined where there are none. */
  readonly bosId: number | undefined;
  /** See `bosId`. */
  readonly eosId: number | undefined;
  /** How text becomes pieces. */
  readonly kind: PieceModel;
  /** Whether characters that no piece covers become bytes. */
  readonly byteFallback: boolean;
  /** Whether "▁" ends words rather than begins them. */
  readonly spaceIsSuffix: boolean;
  /** What the unknown piece is decoded as. */
  readonly unknownSurface: string;
  /** What is done to a text first. */
  readonly normalizer: NormalizerSpec;
  /** What is done to a decoded text last; undefined for nothing. */
  readonly denormalizer: NormalizerSpec | undefined;
}

const KINDS: Readonly<Record<number, PieceModel>> = {
  1: "unigram",
  2: "bpe",
  3: "word",
  4: "char",
};
const MAX_PIECE = 1 << 16; // bytes
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A normalizer while its fields are read, with the format's defaults. */
interface Spec {
  charsMap: Uint8Array;
  addDummyPrefix: boolean;
  removeExtraSpaces: boolean;
  escapeSpaces: boolean;
}

/**
 * Reads a SentencePiece model.
 *
 * @param bytes the file
 * @param name the file, for messages
 * @throws FormatError when the bytes are damaged, or no such model
 */
export function readSentencePieceModel(bytes: Uint8Array, name: string): SentencePieceModel {
  const fail = (why: string): FormatError =>
    new FormatError(
      `Cannot read the SentencePiece model ${quote(name)}: ${why}; ` +
        `the file is damaged or no SentencePiece model`,
    );
  const file = new WireReader(bytes, name), part = new WireReader(bytes, name);
  const numbers = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  /** The part's value as text. */
  const text = (of: string): string => {
    if (part.wire !== 2) throw fail(`${of} is no text`);
    const length = part.end - part.start;
    if (length > MAX_PIECE) throw fail(`${of} has ${length} bytes`);
    try {
      return utf8.decode(bytes.subarray(part.start, part.end));
    } catch {
      throw fail(`${of} is not UTF-8`);
    }
  };
  const flag = (of: string): boolean => {
    if (part.wire !== 0) throw fail(`${of} is no flag`);
    return part.varint !== 0;
  };
  /** Lets `part` go through the field's value. */
  const enter = (of: string): void => {
    if (file.wire !== 2) throw fail(`${of} is no message`);
    part.enter(file.start, file.end);
  };

  const pieces: string[] = [], scores: number[] = [], types: number[] = [];
  const trainer = {
    kind: 1,
    byteFallback: false,
    spaceIsSuffix: false,
    unknownSurface: " \u2047 ",
    bos: "<s>",
    eos: "</s>",
  };
  const specs = new Map<number, Spec>();

  function readPiece(): void {
    const of = `piece ${pieces.length}`;
    if (pieces.length === MAX_VOCABULARY) throw fail(`it has more than ${MAX_VOCABULARY} pieces`);
    let piece = "", score = 0, type: number = PIECE.normal;
    enter(of);
    while (part.next()) {
      if (part.number === 1) piece = text(of);
      else if (part.number === 2) {
        if (part.wire !== 5) throw fail(`the score of ${of} is no number`);
        score = numbers.getFloat32(part.start, true);
      } else if (part.number === 3) type = part.varint;
    }
    if (piece === "") throw fail(`${of} is empty`);
    if (!Number.isFinite(score)) throw fail(`${of} has the score ${score}`);
    if (type < PIECE.normal || type > PIECE.byte) throw fail(`${of} has the type ${type}`);
    pieces.push(piece);
    scores.push(score);
    types.push(type);
  }

  function readTrainer(): void {
    enter("trainer_spec");
    while (part.next()) {
      if (part.number === 3) trainer.kind = part.varint;
      else if (part.number === 24) trainer.spaceIsSuffix = flag("treat_whitespace_as_suffix");
      else if (part.number === 35) trainer.byteFallback = flag("byte_fallback");
      else if (part.number === 44) trainer.unknownSurface = text("unk_surface");
      else if (part.number === 46) trainer.bos = text("bos_piece");
      else if (part.number === 47) trainer.eos = text("eos_piece");
    }
  }

  function readSpec(): void {
    const spec = specs.get(file.number) ?? {
      charsMap: new Uint8Array(0),
      addDummyPrefix: true,
      removeExtraSpaces: true,
      escapeSpaces: true,
    };
    specs.set(file.number, spec);
    enter("normalizer_spec");
    while (part.next()) {
      if (part.number === 2 && part.wire !== 2) throw fail("precompiled_charsmap is no bytes");
      if (part.number === 2) spec.charsMap = bytes.slice(part.start, part.end);
      else if (part.number === 3) spec.addDummyPrefix = flag("add_dummy_prefix");
      else if (part.number === 4) spec.removeExtraSpaces = flag("remove_extra_whitespaces");
      else if (part.number === 5) spec.escapeSpaces = flag("escape_whitespaces");
    }
  }

  while (file.next()) {
    if (file.number === 1) readPiece();
    else if (file.number === 2) readTrainer();
    else if (file.number === 3 || file.number === 5) readSpec();
  }
  if (pieces.length === 0) throw fail("it has no pieces");
  if (!specs.has(3)) throw fail("it has no normalizer_spec");
  if (!Object.hasOwn(KINDS, trainer.kind)) {
    throw fail(
      `its model_type is ${trainer.kind}, expected 1 (unigram), 2 (BPE), 3 (word) or 4 (char)`,
    );
  }

  const ids = new Map<string, number>(), reserved = new Map<string, number>();
  let unknownId = -1, bytePieces = 0;
  pieces.forEach((piece, id) => {
    const type = types[id];
    const isSpelled = type === PIECE.normal || type === PIECE.userDefined || type === PIECE.unused;
    const map = isSpelled ? ids : reserved;
    if (map.has(piece)) throw fail(`pieces ${map.get(piece)} and ${id} are both ${quote(piece)}`);
    map.set(piece, id);
    if (type === PIECE.unknown && unknownId >= 0) throw fail("it has two unknown pieces");
    if (type === PIECE.unknown) unknownId = id;
    if (type === PIECE.byte) {
      if (!/^<0x[0-9A-F]{2}>$/.test(piece)) throw fail(`byte piece ${id} is ${quote(piece)}`);
      bytePieces++;
    }
  });
  if (unknownId < 0) throw fail("it has no unknown piece");
  if (bytePieces !== (trainer.byteFallback ? 256 : 0)) {
    const wanted = trainer.byteFallback
      ? "256: byte_fallback is set"
      : "none without byte_fallback";
    throw fail(`it has ${bytePieces} byte pieces, expected ${wanted}`);
  }
  const control = (piece: string): number | undefined => {
    const id = reserved.get(piece);
    return id !== undefined && types[id] === PIECE.control ? id : undefined;
  };
  const denormalizer = specs.get(5);
  return {
    name,
    pieces,
    scores: new Float32Array(scores),
    types: new Uint8Array(types),
    ids,
    reserved,
    unknownId,
    bosId: control(trainer.bos),
    eosId: control(trainer.eos),
    kind: KINDS[trainer.kind],
    byteFallback: trainer.byteFallback,
    spaceIsSuffix: trainer.spaceIsSuffix,
    unknownSurface: trainer.unknownSurface,
    normalizer: specs.get(3)!,
    denormalizer: denormalizer && denormalizer.charsMap.length > 0 ? denormalizer : undefined,
  };
}
