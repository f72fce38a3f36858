/**
 * The tokenizer that every source ends in: text is parted at special tokens, normalized, cut into words,
 * and each word goes through a model. This module has the public interface and that one path;
 * tokenizer.ts and tokenizer_gguf.ts build its parts from files.
 *
 * @module
 */

import { InputError, SparrowError } from "../../errors.ts";
import { decodeIds, tokenDecoder } from "./text_decoder.ts";
import type { DecodeOptions, Pieces, StreamOptions, TokenDecoder } from "./text_decoder.ts";
import type { WordModel } from "./tokenizer_bpe.ts";
import { reasonOf } from "./tokenizer_fields.ts";
import { Trie } from "./tokenizer_tables.ts";

/** Options of encoding. */
export interface EncodeOptions {
  /** Add what the model expects around a text, as a begin-of-sequence token. Default true. */
  readonly addSpecial?: boolean;
  /**
   * Read the spellings of special tokens in the text as those tokens. Default false: in a user's
   * text "<|im_end|>" is ten characters. A rendered chat template wants true, and `addSpecial` false.
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
   * The token ids of a text. Lone surrogates count as U+FFFD.
   *
   * @throws InputError when the text is not a string or the vocabulary cannot express it
   */
  encode(text: string, options?: EncodeOptions): number[];
  /**
   * The text of token ids; bytes that are not UTF-8 come out as U+FFFD.
   *
   * @throws InputError for an id outside the vocabulary
   */
  decode(ids: Iterable<number>, options?: DecodeOptions): string;
  /** A decoder for ids that come one by one: its parts together are what `decode` gives. */
  decoder(options?: StreamOptions): TokenDecoder;
  /** The token as the vocabulary spells it ("▁the", "Ġthe"), or undefined. */
  idToToken(id: number): string | undefined;
  /** The id of a token as the vocabulary spells it, or undefined. */
  tokenToId(token: string): number | undefined;
}

/** A token that is found in a text before the text is cut into words. */
export interface AddedToken {
  /** Its id. */
  readonly id: number;
  /** How it is written. */
  readonly content: string;
  /** Whether it controls rather than spells; such ones are found only with `parseSpecial`. */
  readonly special: boolean;
  /** Whether it takes the white space on its left with it. */
  readonly leftStrip: boolean;
  /** Whether it takes the white space on its right with it. */
  readonly rightStrip: boolean;
  /** Whether it counts only where no letter, digit or underscore touches it. */
  readonly singleWord: boolean;
  /** Whether it is looked for in the normalized text rather than in the text as given. */
  readonly normalized: boolean;
}

/** What a tokenizer is made of. */
export interface TokenizerParts {
  /** Token texts by id; undefined where an id has none. */
  readonly tokens: readonly (string | undefined)[];
  /** Token ids by text. */
  readonly ids: ReadonlyMap<string, number>;
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
  /** What tokens spell. */
  readonly pieces: Pieces;
  /** The begin-of-sequence token. */
  readonly bosId: number | undefined;
  /** The tokens that end a generation. */
  readonly eosIds: readonly number[];
}

/** Puts a tokenizer together. */
export function assembleTokenizer(parts: TokenizerParts): Tokenizer {
  const { tokens, ids, model, pieces } = parts;
  const given = parts.added.filter((token) => !token.normalized);
  const normalized = parts.added.filter((token) => token.normalized)
    .map((token) => ({ ...token, content: parts.normalize(token.content) }));
  // [parseSpecial][as given, normalized]
  const finders = [false, true].map((all) =>
    [given, normalized].map((list) => tokenFinder(list.filter((token) => all || !token.special)))
  );

  function encodeAll(text: string, parseSpecial: boolean, out: number[]): void {
    const [findGiven, findNormalized] = finders[Number(parseSpecial)];
    let atStart = true;
    findGiven(text, out, (part) => {
      findNormalized(parts.normalize(part), out, (rest) => {
        for (const word of parts.split(rest, atStart)) model.encode(word, out);
        atStart = false;
      }, () => atStart = false);
    }, () => atStart = false);
  }

  return {
    vocabSize: tokens.length,
    bosId: parts.bosId,
    eosIds: parts.eosIds,
    encode(text, { addSpecial = true, parseSpecial = false } = {}) {
      if (typeof text !== "string") {
        throw new InputError(`Cannot encode ${typeof text} as text: expected a string`);
      }
      const out: number[] = addSpecial ? [...parts.prefix] : [];
      try {
        encodeAll(text.toWellFormed(), parseSpecial, out);
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
    decode: (list, options) => decodeIds(pieces, list, options),
    decoder: (options) => tokenDecoder(pieces, options),
    idToToken: (id) => tokens[id],
    tokenToId: (token) => ids.get(token),
  };
}

type TokenFinder = (
  text: string,
  out: number[],
  onText: (part: string) => void,
  onToken: () => void,
) => void;

const WORD_CHARACTER = /[\p{L}\p{M}\p{N}_]/u;

/** Parts a text at the longest of some tokens that start at each place. */
function tokenFinder(tokens: readonly AddedToken[]): TokenFinder {
  const trie = new Trie();
  tokens.forEach(({ content }, index) => content !== "" && trie.add(content, index));

  return (text, out, onText, onToken) => {
    let start = 0; // of the text since the last token
    for (let at = 0; tokens.length > 0 && at < text.length;) {
      const { end, value } = trie.longest(text, at);
      const token = tokens[value];
      if (end === at || (token.singleWord && !standsAlone(text, at, end))) {
        at++;
        continue;
      }
      let before = text.slice(start, at);
      if (token.leftStrip) before = before.trimEnd();
      if (before !== "") onText(before);
      out.push(token.id);
      onToken();
      at = start = end;
      if (token.rightStrip) at = start = text.length - text.slice(end).trimStart().length;
    }
    if (start < text.length) onText(text.slice(start));
  };
}

function standsAlone(text: string, start: number, end: number): boolean {
  const before = start > 0 ? text[start - 1] : " ";
  const after = end < text.length ? text[end] : " ";
  return !WORD_CHARACTER.test(before) && !WORD_CHARACTER.test(after);
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
