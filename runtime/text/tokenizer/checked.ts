/**
 * A tokenizer that looks at what callers pass: texts, lists of ids, options.
 *
 * @module
 */

import { InputError } from "../../../errors.ts";
import { quote } from "../../../escape.ts";
import {
  accepts,
  FLAG,
  isListOf,
  readIds,
  readOptions,
  type Rule,
  type Rules,
} from "../../../options.ts";
import type { TextPiece } from "../jinja/text.ts";
import type { DecodeOptions, StreamOptions } from "../decoding/text_decoder.ts";
import type { EncodeOptions, Tokenizer } from "./core.ts";

const ENCODE_RULES: Rules<EncodeOptions> = { addSpecial: FLAG, parseSpecial: FLAG };
const DECODE_RULES: Rules<DecodeOptions> = { skipSpecial: FLAG };
const ITERABLE: Rule = {
  expected: "a list of token ids",
  accepts: (value) => typeof value === "object" && Symbol.iterator in (value as object),
};
const STREAM_RULES: Rules<StreamOptions> = { skipSpecial: FLAG, after: ITERABLE };

const PIECES: Rule = {
  expected: "a list of { text, trusted }",
  accepts: (value) =>
    isListOf(value, (it) => {
      const { text, trusted } = it as TextPiece;
      return typeof text === "string" && typeof trusted === "boolean";
    }),
};

/** The same tokenizer, with its arguments checked. */
export function checkedTokenizer(tokenizer: Tokenizer): Tokenizer {
  const checkId = (id: unknown): number => {
    if (Number.isInteger(id) && (id as number) >= 0 && (id as number) < tokenizer.vocabSize) {
      return id as number;
    }
    throw new InputError(
      `Cannot decode token id ${quote(id)}: the vocabulary has ${tokenizer.vocabSize} tokens, ` +
        `expected a whole number from 0 to ${tokenizer.vocabSize - 1}`,
    );
  };
  const checkStream = (options: StreamOptions | undefined): StreamOptions => {
    const { after, ...others } = readOptions("decode", options, STREAM_RULES);
    return { ...others, ...(after && { after: listOf(after) }) };
  };
  return {
    ...tokenizer,
    encode(text, options) {
      if (typeof text !== "string" && !accepts(PIECES, text)) {
        throw new InputError(`Cannot encode ${quote(text)} as text: expected a string`);
      }
      return tokenizer.encode(text, readOptions("encode", options, ENCODE_RULES));
    },
    surround(first, second) {
      const idsOf = (ids: readonly number[]): readonly number[] =>
        readIds(ids, tokenizer.vocabSize, 0);
      return tokenizer.surround(idsOf(first), second === undefined ? undefined : idsOf(second));
    },
    decode: (ids, options) =>
      tokenizer.decode(
        listOf(ids, checkId),
        readOptions("decode", options, DECODE_RULES),
      ),
    idToToken: (id) => Number.isInteger(id) ? tokenizer.idToToken(id) : undefined,
    tokenToId: (token) => typeof token === "string" ? tokenizer.tokenToId(token) : undefined,
    decoder(options) {
      const decoder = tokenizer.decoder(checkStream(options));
      return { push: (id) => decoder.push(checkId(id)), flush: () => decoder.flush() };
    },
    byteDecoder(options) {
      const decoder = tokenizer.byteDecoder(checkStream(options));
      return { push: (id) => decoder.push(checkId(id)), flush: () => decoder.flush() };
    },
  };
}

/** Most ids that are decoded at once: more would be a list that does not end. */
const MOST_IDS = 2 ** 27;

function checkNumber(id: unknown): number {
  if (typeof id === "number") return id;
  throw new InputError(`Cannot decode token id ${quote(id)}: expected a number`);
}

function listOf(ids: Iterable<number>, check = checkNumber): number[] {
  const list: number[] = [];
  try {
    for (const id of ids) {
      list.push(check(id));
      if (list.length > MOST_IDS) break;
    }
  } catch (cause) {
    if (cause instanceof InputError) throw cause;
    throw new InputError(`Cannot decode ${quote(ids)}: expected a list of token ids`, { cause });
  }
  if (list.length <= MOST_IDS) return list;
  throw new InputError(`Cannot decode more than ${MOST_IDS} token ids at once: decode fewer`);
}
