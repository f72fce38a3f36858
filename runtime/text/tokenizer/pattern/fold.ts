/**
 * Characters that equal several others when case is ignored, as "ß" equals "ss" and "ﬁ" equals "fi".
 *
 * @module
 */

import { type CodeSet, intersect, invert, setOf } from "./code_set.ts";
import { ignoringCase, unicodeProperty } from "./properties.ts";
import type { Node } from "./tree.ts";

let longFolds: Map<string, string> | undefined;

/** What single characters stand for when case is ignored, by what they stand for: "ss" → "ßẞ". */
function foldTable(): Map<string, string> {
  if (longFolds) return longFolds;
  longFolds = new Map();
  const cased = unicodeProperty("Changes_When_Casefolded")!;
  for (let i = 0; i < cased.length; i += 2) {
    for (let code = cased[i]; code <= cased[i + 1]; code++) {
      const character = String.fromCodePoint(code);
      // "ẞ" is its own upper case; its lower case tells.
      const folded = character.toLowerCase().toUpperCase().toLowerCase();
      if ([...folded].length > 1) {
        longFolds.set(folded, (longFolds.get(folded) ?? "") + character);
      }
    }
  }
  return longFolds;
}

/** A literal character when case is ignored. */
export function foldedLiteral(character: string): Node {
  const set: Node = { kind: "set", set: ignoringCase(setOf(character)), literal: character };
  for (const [long, characters] of foldTable()) {
    if (!characters.includes(character)) continue;
    return { kind: "choice", options: [spelled(long), { kind: "set", set: setOf(characters) }] };
  }
  return set;
}

/** A class when case is ignored: what its members stand for counts too, unless they are left out. */
export function foldedClass(members: CodeSet, negate: boolean): Node {
  const set = ignoringCase(members);
  if (negate) return { kind: "set", set: invert(set) };
  const options: Node[] = [{ kind: "set", set }];
  for (const [long, characters] of foldTable()) {
    if (intersect(setOf(characters), set).length > 0) options.push(spelled(long));
  }
  return options.length === 1 ? options[0] : { kind: "choice", options };
}

function spelled(text: string): Node {
  const parts = [...text].map((it): Node => ({ kind: "set", set: ignoringCase(setOf(it)) }));
  return { kind: "sequence", parts };
}

/** Lets literals in a row also match the single characters that equal them. */
export function foldSequences(parts: readonly Node[]): readonly Node[] {
  const literals = parts.map((part) =>
    part.kind === "set" && part.literal !== undefined ? part.literal.toLowerCase() : undefined
  );
  const out: Node[] = [];
  for (let i = 0; i < parts.length; i++) {
    let length = 0, characters = "";
    for (const count of [3, 2]) {
      const run = literals.slice(i, i + count);
      if (length > 0 || run.length < count || run.includes(undefined)) continue;
      const found = foldTable().get(run.join(""));
      if (found) [length, characters] = [count, found];
    }
    if (length === 0) {
      out.push(parts[i]);
      continue;
    }
    const row: Node = { kind: "sequence", parts: parts.slice(i, i + length) };
    out.push({ kind: "choice", options: [row, { kind: "set", set: setOf(characters) }] });
    i += length - 1;
  }
  return out;
}
