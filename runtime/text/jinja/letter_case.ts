/**
 * Upper and lower case, as Python's strings change it.
 *
 * @module
 */

import { CASED } from "./python_text.ts";
import { joinTexts, type Text } from "./text.ts";

/** `capitalize`: the first character large, the others small. */
export function capitalize(text: Text): Text {
  const first = text.at(1);
  return joinTexts(
    [text.slice(0, first).map(titleCase), text.slice(first).map((part) => part.toLowerCase())],
    text.safe,
  );
}

/** Digraphs have a form of their own for titles. */
const DIGRAPHS: Readonly<Record<string, string>> = { Ǆ: "ǅ", Ǉ: "ǈ", Ǌ: "ǋ", Ǳ: "ǲ" };

function titleCase(character: string): string {
  const digraph = DIGRAPHS[character.toUpperCase()];
  if (digraph !== undefined) return digraph;
  // Of what becomes two letters, as ß, only the first is large.
  const upper = character.toUpperCase();
  return upper.length <= character.length ? upper : upper[0] + upper.slice(1).toLowerCase();
}

/** `title`: every letter after something else is large. */
export function title(text: Text): Text {
  let afterLetter = false;
  return text.map((part) =>
    part.replace(/[\s\S]/gu, (character) => {
      const isCased = CASED.test(character);
      const result = !isCased
        ? character
        : afterLetter
        ? character.toLowerCase()
        : titleCase(character);
      afterLetter = isCased;
      return result;
    })
  );
}

/** `casefold`: what is the same but for case becomes the same. */
export function caseFold(text: Text): Text {
  return text.map((part) =>
    part.replace(
      /[\s\S]/gu,
      (character) => character === "ı" ? character : character.toUpperCase().toLowerCase(),
    )
  );
}

/** `swapcase`. */
export function swapCase(text: Text): Text {
  return text.map((part) =>
    part.replace(/[\s\S]/gu, (character) => {
      const lower = character.toLowerCase();
      return lower !== character ? lower : character.toUpperCase();
    })
  );
}
