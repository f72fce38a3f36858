/**
 * HTML escaping, which templates of chats meet in `escape`, `safe` and what is made of their results.
 *
 * @module
 */

import type { Budget } from "./budget.ts";
import { textFrom } from "./printing.ts";
import type { Text } from "./text.ts";
import type { Value } from "./values.ts";

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  "'": "&#39;",
  '"': "&#34;",
};

/** A value as HTML; what is HTML already stays. */
export function escapeHtml(budget: Budget, value: Value): Text {
  const text = textFrom(budget, value);
  if (text.safe) return text;
  budget.text(text.value.length);
  return text.map((part) => part.replace(/[&<>'"]/g, (character) => ENTITIES[character]))
    .marked(true);
}
