/**
 * GLM-4's `tokenizer.model`, which is no SentencePiece model: a list of byte strings in base64, each with
 * its rank. Neighbours merge into the byte string of the lowest rank; the rank is the token's id.
 *
 * Source: the tiktoken library's format of vocabularies, and the class that GLM-4 came with.
 *
 * @module
 */

import { FormatError } from "../../../../errors.ts";
import { bytePieces } from "../../decoding/byte_pieces.ts";
import { bpeModel } from "../bpe.ts";
import { BYTE_CHARACTERS, byteLevelBytes, byteLevelSpelling } from "../byte_level.ts";
import { assembleTokenizer, endTokens, type Tokenizer } from "../core.ts";
import { MAX_VOCABULARY, wrongField } from "../fields.ts";
import { scoredRules, Symbols } from "../merge.ts";
import { checkGaps } from "../model.ts";
import { preTokenizerRule } from "../pre.ts";
import { patternSplitter } from "../split.ts";
import { type Published, readSpecials, textFile } from "./settings.ts";

const MAX_LINE = 4096;

/** Whether a file begins as such a list does. */
export function isRankedList(bytes: Uint8Array): boolean {
  const start = new TextDecoder().decode(bytes.subarray(0, 200));
  return /^[A-Za-z0-9+/]+={0,2} \d+(?:\r?\n|$)/.test(start);
}

/** The tokens, spelled as byte-level tokens are, by id. */
function readRanks(text: string): (string | undefined)[] {
  const lines = text.split(/\r?\n/);
  if (lines.at(-1) === "") lines.pop();
  if (lines.length > MAX_VOCABULARY) {
    throw wrongField("tokenizer.model", lines, `at most ${MAX_VOCABULARY} lines`);
  }
  const tokens: (string | undefined)[] = [];
  lines.forEach((line, i) => {
    const match = line.length <= MAX_LINE ? /^([A-Za-z0-9+/]+={0,2}) (\d{1,7})$/.exec(line) : null;
    const field = `tokenizer.model: line ${i + 1}`;
    if (!match) throw wrongField(field, line, "base64, a space and a rank");
    const rank = Number(match[2]);
    // Ranks rise by one, as a rank is an id.
    if (rank !== i) throw wrongField(field, line, `the rank ${i}`);
    let units: string;
    try {
      units = atob(match[1]);
    } catch {
      throw wrongField(field, line, "base64, a space and a rank");
    }
    tokens[rank] = Array.from(units, (unit) => BYTE_CHARACTERS[unit.charCodeAt(0)]).join("");
  });
  return tokens;
}

/** ChatGLM4Tokenizer: a text begins with `[gMASK]` and `<sop>`. */
export function glm4(published: Published): Tokenizer {
  const { config } = published;
  const tokens = readRanks(textFile(published, "tokenizer.model"));
  const size = tokens.length;
  const ids = new Map<string, number>();
  tokens.forEach((token, id) => {
    if (ids.has(token!)) throw wrongField(`tokenizer.model: line ${id + 1}`, token, "a new token");
    ids.set(token!, id);
  });
  if (config.added_tokens_decoder === undefined) {
    throw new FormatError(
      `Cannot read the tokenizer: tokenizer_config.json has no added_tokens_decoder, where this class ` +
        `has its special tokens; fetch the whole folder`,
    );
  }
  const symbols = new Symbols(tokens.slice(), ids);
  const specials = readSpecials(published, { eos_token: "<|endoftext|>" }, () => undefined, size);
  for (const { id, content } of specials.added) {
    if (id < size) throw wrongField("added_tokens_decoder", id, `ids from ${size}`);
    tokens[id] = content;
  }
  checkGaps(tokens, size + specials.added.length);
  for (let id = 0; id < tokens.length; id++) tokens[id] ??= undefined;
  const own = new Map(specials.added.map(({ content, id }) => [content, id]));
  const added = specials.added.map((token) => ({ ...token, special: true }));
  const eosIds = endTokens(
    [specials.id("eos_token"), own.get("<|user|>"), own.get("<|observation|>")],
    (name) => own.get(name),
  );
  return assembleTokenizer({
    tokens,
    idOf: (token) => own.get(token) ?? ids.get(token),
    added,
    normalize: (text) => text,
    split: patternSplitter(preTokenizerRule("glm4").patterns),
    model: bpeModel({
      symbols,
      rules: scoredRules(symbols, Float64Array.from({ length: size }, (_, id) => -id), () => true),
      byteSymbols: BYTE_CHARACTERS.map((text) => symbols.intern(text)),
      wholeWord: (word) => ids.get(byteLevelSpelling(word)),
    }),
    prefix: [own.get("[gMASK]"), own.get("<sop>")].filter((id) => id !== undefined),
    suffix: [],
    pieces: bytePieces({
      vocabSize: tokens.length,
      isSpecial: (id) => id >= size,
      stripLeading: false,
      bytes: (id) =>
        id < size ? byteLevelBytes(tokens[id]!) : new TextEncoder().encode(tokens[id] ?? ""),
    }),
    bosId: undefined,
    eosIds,
  });
}
