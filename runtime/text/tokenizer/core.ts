/**
 * The tokenizer that every source ends in: text is parted at special tokens, normalized, cut into words,
 * and each word goes through a model. This module has the public interface and that one path;
 * tokenizer.ts and gguf.ts build its parts from files.
 *
 * @module
 */

import { InputError, SparrowError } from "../../../errors.ts";
import { isListOf } from "../../../options.ts";
import type { TextPiece } from "../jinja/text.ts";
import { byteDecoder, decodeIds, tokenDecoder } from "../decoding/text_decoder.ts";
import type {
  ByteDecoder,
  DecodeOptions,
  Pieces,
  StreamOptions,
  TokenDecoder,
} from "../decoding/text_decoder.ts";
import {
  type AddedToken,
  piecesTrust,
  tokenFinder,
  type Trust,
  wholeTrust,
} from "./token_finder.ts";
import type { WordModel } from "./bpe.ts";
import { reasonOf } from "./fields.ts";
import { joinPair, type PairPart, type SurroundedIds } from "./pair.ts";

export type { AddedToken } from "./token_finder.ts";
export type { SurroundedIds } from "./pair.ts";

/** Options of encoding. */
export interface EncodeOptions {
  /** Add what the model expects around a text, as a begin-of-sequence token. Default true. */
  readonly addSpecial?: boolean;
  /**
   * Read the spellings of special tokens in the text as those tokens. Default false: in a user's
   * text "<|im_end|>" is ten characters. In pieces the default is true, for those that are trusted.
   */
  readonly parseSpecial?: boolean;
}

/** Text to token ids and back. */
export interface Tokenizer {
  /** Ids run from 0 to this, exclusive. */
  readonly vocabSize: number;
  /** The begin-of-sequence token, where the model has one. */
  readonly bosId: number | undefined;
  /** Every token that ends a generation: end of sequence, of turn, of message. */
  readonly eosIds: readonly number[];
  /**
   * The token ids of a text. Lone surrogates count as U+FFFD. Pieces are encoded as one text, but
   * only trusted pieces can spell special tokens, so that nobody's message becomes the end of a turn.
   *
   * @throws InputError when the text is neither a string nor pieces, or the vocabulary cannot express it
   *
   * @example
   * ```ts ignore
   * tokenizer.encode([
   *   { text: "<s>[INST] ", trusted: true },
   *   { text: "what is </s>?", trusted: false },
   *   { text: " [/INST]", trusted: true },
   * ], { addSpecial: false });
   * ```
   */
  encode(text: string | readonly TextPiece[], options?: EncodeOptions): number[];
  /**
   * What the model expects around one text or around a pair, put there: ids of `encode` with
   * `addSpecial: false` become a whole sequence, with the segment of each token.
   *
   * @throws InputError when there are two texts and the tokenizer's files do not say how two go together
   *
   * @example
   * ```ts ignore
   * const [question, answer] = ["who?", "me"].map((it) => tokenizer.encode(it, { addSpecial: false }));
   * const { ids, tokenTypeIds } = tokenizer.surround(question, answer); // [CLS] who ? [SEP] me [SEP]
   * ```
   */
  surround(first: readonly number[], second?: readonly number[]): SurroundedIds;
  /**
   * The text of token ids; bytes that are not UTF-8 come out as U+FFFD.
   *
   * @throws InputError for an id outside the vocabulary
   */
  decode(ids: Iterable<number>, options?: DecodeOptions): string;
  /** A decoder for ids that come one by one: its parts together are what `decode` gives. */
  decoder(options?: StreamOptions): TokenDecoder;
  /**
   * A decoder that gives the bytes of ids that come one by one, those of a character that is spread over
   * tokens each with its token: together they are the text's in UTF-8, but for bytes that make no
   * character, which the text has as U+FFFD.
   *
   * @example
   * ```ts
   * import { loadModel } from "@sparrow/sparrow";
   *
   * await using model = await loadModel();
   * const { tokenizer } = model, decoder = tokenizer.byteDecoder();
   * const ids = tokenizer.encode("麻雀", { addSpecial: false });
   * console.log(ids.map((id) => Array.from(decoder.push(id))));
   * ```
   */
  byteDecoder(options?: StreamOptions): ByteDecoder;
  /** The token as the vocabulary spells it ("▁the", "Ġthe"), or undefined. */
  idToToken(id: number): string | undefined;
  /** The id of a token as the vocabulary spells it, or undefined. */
  tokenToId(token: string): number | undefined;
  /**
   * What the tokenizer's file asks for and `encode` does not do, in words: cutting ("truncation to 512
   * tokens"), padding, random merges. Usually empty.
   */
  readonly unused: readonly string[];
}

/** What a tokenizer is made of. */
export interface TokenizerParts {
  /** Token texts by id; undefined where an id has none. */
  readonly tokens: readonly (string | undefined)[];
  /** The id of a token. */
  idOf(token: string): number | undefined;
  /** Tokens that are found before words are. */
  readonly added: readonly AddedToken[];
  /** What happens to a text before it is cut. */
  normalize(text: string): string;
  /** The words of a normalized text; `atStart` tells whether it begins the whole input. */
  split(text: string, atStart: boolean): readonly string[];
  /** What makes ids of a word. */
  readonly model: WordModel;
  /** What `addSpecial` puts before a text. */
  readonly prefix: readonly number[];
  /** What `addSpecial` puts after a text. */
  readonly suffix: readonly number[];
  /** What a pair of texts becomes, where the files say it. */
  readonly pair?: readonly PairPart[] | undefined;
  /** What tokens spell. */
  readonly pieces: Pieces;
  /** The begin-of-sequence token. */
  readonly bosId: number | undefined;
  /** The tokens that end a generation. */
  readonly eosIds: readonly number[];
  /** Settings of the file that no text is encoded by, in words. */
  readonly unused?: readonly string[];
}

/** Puts a tokenizer together. */
export function assembleTokenizer(parts: TokenizerParts): Tokenizer {
  const { tokens, model, pieces } = parts;
  const given = parts.added.filter((token) => !token.normalized);
  const normalized = parts.added.filter((token) => token.normalized)
    .map((token) => ({ ...token, content: parts.normalize(token.content) }));
  const findGiven = tokenFinder(given);
  const findNormalized = tokenFinder(normalized);
  const special = new Set(parts.added.filter((token) => token.special).map(({ id }) => id));
  const isControl = (token: AddedToken): boolean =>
    token.special || parts.eosIds.includes(token.id) || CONTROL_FORM.test(token.content);

  function encodeAll(text: string, trust: Trust, out: number[]): void {
    let atStart = true;
    const onToken = (id: number): void => {
      out.push(id);
      atStart = false;
    };
    findGiven(text, trust.given, (part, start) => {
      const result = parts.normalize(part);
      findNormalized(result, trust.normalized(part, start, result), (rest) => {
        for (const word of parts.split(rest, atStart)) encodeWord(word, out);
        atStart = false;
      }, onToken);
    }, onToken);
  }

  /** A word, in which nothing may come out as a special token: what was meant as one was found before. */
  function encodeWord(word: string, out: number[]): void {
    const start = out.length;
    model.encode(word, out);
    for (let i = start; i < out.length; i++) {
      if (!special.has(out[i])) continue;
      const content = tokens[out[i]] ?? "";
      const first = String.fromCodePoint(content.codePointAt(0) ?? 0);
      // An unknown token that stands for other text stays.
      if (first.length >= content.length || !word.includes(content)) continue;
      out.length = start;
      const cut = word.split(content);
      const rest = content.slice(first.length);
      cut.forEach((part, k) => {
        const piece = (k > 0 ? rest : "") + part + (k < cut.length - 1 ? first : "");
        if (piece !== "") encodeWord(piece, out);
      });
      return;
    }
  }

  function trustOf(text: string | readonly TextPiece[], parseSpecial: boolean | undefined): Trust {
    if (typeof text === "string") return wholeTrust(parseSpecial ?? false);
    return parseSpecial === false
      ? wholeTrust(false)
      : piecesTrust(text, isControl, (part) => parts.normalize(part));
  }

  return {
    vocabSize: tokens.length,
    bosId: parts.bosId,
    eosIds: parts.eosIds,
    encode(given, { addSpecial = true, parseSpecial } = {}) {
      const text = joined(given).toWellFormed();
      const out: number[] = addSpecial ? [...parts.prefix] : [];
      try {
        encodeAll(text, trustOf(given, parseSpecial), out);
      } catch (cause) {
        if (cause instanceof SparrowError) throw cause;
        // What is left is the engine's own limits: string length, the stack of a pattern.
        throw new InputError(
          `Cannot encode a text of ${text.length} characters: ${reasonOf(cause)}; ` +
            `encode it in smaller parts`,
          { cause },
        );
      }
      if (addSpecial) out.push(...parts.suffix);
      return out;
    },
    surround(first, second) {
      if (second === undefined) {
        const ids = [...parts.prefix, ...first, ...parts.suffix];
        return { ids, tokenTypeIds: ids.map(() => 0) };
      }
      if (parts.pair) return joinPair(parts.pair, first, second);
      throw new InputError(
        "Cannot encode a pair of texts: the files of the tokenizer do not say how two texts go " +
          "together; put tokenizer.json with its post_processor beside the model",
      );
    },
    decode: (list, options) => decodeIds(pieces, list, options),
    decoder: (options) => tokenDecoder(pieces, options),
    byteDecoder: (options) => byteDecoder(pieces, options),
    idToToken: (id) => tokens[id],
    tokenToId: (token) => parts.idOf(token),
    unused: parts.unused ?? [],
  };
}

/** How files write tokens of turns that they forgot to call special. */
const CONTROL_FORM = /^<[|\uff5c][\s\S]*[|\uff5c]>$/;

function joined(text: string | readonly TextPiece[]): string {
  if (typeof text === "string") return text;
  const isPieces = isListOf(text, (piece) => {
    const { text, trusted } = Object(piece) as TextPiece;
    return typeof text === "string" && typeof trusted === "boolean";
  });
  if (!isPieces) {
    const found = Array.isArray(text) ? "a list of something else" : typeof text;
    throw new InputError(
      `Cannot encode ${found} as text: expected a string, or pieces { text, trusted }`,
    );
  }
  return text.map((piece) => piece.text).join("");
}

// Tokens that end a turn, a message or a text in the common model families. Files often name only
// one of them as the end of sequence, and a chat then runs on (llama.cpp keeps the same kind of list).
const END_TOKENS = new Set([
  "</s>",
  "<eos>",
  "<|endoftext|>",
  "<|end_of_text|>",
  "<｜end▁of▁sentence｜>",
  "[EOS]",
  "<|eot_id|>",
  "<|eom_id|>",
  "<|im_end|>",
  "<|end|>",
  "<|return|>",
  "<|call|>",
  "<end_of_turn>",
  "<turn|>",
  "<EOT>",
  "_<EOT>",
  "[EOT]",
  "<end_of_utterance>",
  "<|fim_pad|>",
  "<|repo_name|>",
  "<|file_sep|>",
]);

/** The tokens that end a generation: the ones that a file names, then those whose names tell. */
export function endTokens(
  named: readonly (number | undefined)[],
  idOf: (token: string) => number | undefined,
): number[] {
  const found = new Set<number>(named.filter((id) => id !== undefined));
  // In the harmony format "<|end|>" closes one of several messages of the same turn.
  const harmony = idOf("<|return|>") !== undefined && idOf("<|call|>") !== undefined;
  for (const name of END_TOKENS) {
    const id = idOf(name);
    if (id !== undefined && !(harmony && name === "<|end|>")) found.add(id);
  }
  return [...found];
}
