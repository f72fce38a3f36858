/**
 * The tree that a regular expression is read into.
 *
 * @module
 */

import type { CodeSet } from "./code_set.ts";

/** A part of a regular expression. */
export type Node =
  | { readonly kind: "set"; readonly set: CodeSet; readonly literal?: string }
  | { readonly kind: "sequence"; readonly parts: readonly Node[] }
  | { readonly kind: "choice"; readonly options: readonly Node[] }
  | {
    readonly kind: "repeat";
    readonly body: Node;
    readonly min: number;
    readonly max: number;
    readonly mode: "greedy" | "lazy" | "possessive";
  }
  | { readonly kind: "atomic"; readonly body: Node }
  | {
    readonly kind: "look";
    readonly body: Node;
    readonly ahead: boolean;
    readonly negate: boolean;
  }
  | { readonly kind: "edge"; readonly edge: Edge };

/** Places that a pattern can ask for. */
export type Edge =
  | "textStart"
  | "textEnd"
  | "lineStart"
  | "lineEnd"
  | "lastLineEnd"
  | "word"
  | "notWord";

/** What a pattern cannot have, or has wrong; the message says what was expected instead. */
export class PatternError extends Error {}

/** A place in a pattern that is being read. */
export interface Cursor {
  /** The pattern. */
  readonly source: string;
  /** Where reading goes on. */
  at: number;
}

/** Whether a part can match without taking a character. */
export function isNullable(node: Node): boolean {
  switch (node.kind) {
    case "set":
      return false;
    case "sequence":
      return node.parts.every(isNullable);
    case "choice":
      return node.options.some(isNullable);
    case "repeat":
      return node.min === 0 || isNullable(node.body);
    case "atomic":
      return isNullable(node.body);
    case "look":
    case "edge":
      return true;
  }
}
