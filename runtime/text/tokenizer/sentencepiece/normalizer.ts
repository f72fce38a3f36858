/**
 * What SentencePiece does to a text before it looks for pieces: character sequences are replaced as the
 * model's character map says, spaces are dropped, added and written as "▁". User-defined symbols
 * are left as they are written.
 *
 * Source: normalizer.cc of the SentencePiece library, whose steps and their order these are.
 *
 * @module
 */

import { FormatError } from "../../../../errors.ts";
import { quote } from "../../../../escape.ts";
import { mapEntries } from "../charsmap.ts";
import { Trie } from "../tables.ts";
import type { NormalizerSpec } from "./model_proto.ts";

/** How spaces are written in pieces. */
export const SPACE_MARK = "\u2581";

/** NFKC makes at most 18 characters of one; a map that grows a text beyond this is a trap. */
const MAX_GROWTH = 64;

/** Prepares a text; `addDummyPrefix` stands in for the model's own setting where it is given. */
export type PieceNormalizer = (text: string, addDummyPrefix?: boolean) => string;

/**
 * The normalizer of a model.
 *
 * @param spec its settings
 * @param spaceIsSuffix whether the added space goes to the end
 * @param symbols the user-defined symbols
 * @param name the model's file, for messages
 * @throws FormatError when the character map is damaged
 */
export function pieceNormalizer(
  spec: NormalizerSpec,
  spaceIsSuffix: boolean,
  symbols: readonly string[],
  name: string,
): PieceNormalizer {
  const { removeExtraSpaces: trims } = spec;
  const space = spec.escapeSpaces ? SPACE_MARK : " ";
  const map = spec.charsMap.length === 0 ? undefined : mapEntries(spec.charsMap, name);
  const kept = new Trie();
  for (const symbol of symbols) kept.add(symbol, 1);

  return (text, addDummyPrefix = spec.addDummyPrefix) => {
    const find = map?.(text);
    const most = MAX_GROWTH * text.length + 1024;
    let at = 0, replaced = "";

    /** Puts what the next characters become in `replaced`, and goes past them. */
    function next(): void {
      const symbol = symbols.length === 0 ? at : kept.longest(text, at).end;
      if (symbol > at) {
        replaced = text.slice(at, symbol);
        at = symbol;
        return;
      }
      const found = find?.(at);
      if (found) {
        replaced = found.text;
        at += found.units;
        return;
      }
      const end = at + (text.codePointAt(at)! > 0xffff ? 2 : 1);
      replaced = text.slice(at, end);
      at = end;
    }

    let pending = false; // whether a replacement that is not a lone space has been read
    while (at < text.length && !pending) {
      next();
      pending = !(trims && replaced === " ");
    }
    if (!pending) return "";
    let out = addDummyPrefix && !spaceIsSuffix ? space : "";
    let afterSpace = trims;
    do {
      if (!pending) next();
      pending = false;
      let from = 0;
      while (afterSpace && replaced[from] === " ") from++;
      if (from < replaced.length) {
        const part = from === 0 ? replaced : replaced.slice(from);
        out += spec.escapeSpaces ? part.replaceAll(" ", SPACE_MARK) : part;
        afterSpace = part.endsWith(" ");
      }
      if (!trims) afterSpace = false;
      if (out.length > most) {
        throw new FormatError(
          `Cannot encode the text: the character map of ${quote(name)} makes more than ` +
            `${MAX_GROWTH} characters of one; the file is damaged`,
        );
      }
    } while (at < text.length);
    if (trims) {
      let end = out.length;
      while (end > 0 && out[end - 1] === space) end--;
      out = out.slice(0, end);
    }
    return addDummyPrefix && spaceIsSuffix ? out + space : out;
  };
}
