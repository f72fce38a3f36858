/**
 * HTML without its tags, as `striptags` and the method of marked texts leave it.
 *
 * @module
 */

import * as python from "./python_text.ts";
import type { Budget } from "./budget.ts";
import { joinTexts, own, type Text } from "./text.ts";

const ENTITIES: Readonly<Record<string, string>> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
  nbsp: "\xa0",
};

export function unescapeHtml(text: string): string {
  return text.replace(
    /&(?:#(\d{1,7})|#x([\da-f]{1,6})|(\w{1,8}));/gi,
    (whole, decimal, hex, name) => {
      if (name !== undefined) return ENTITIES[name] ?? whole;
      const code = decimal !== undefined ? Number(decimal) : parseInt(hex, 16);
      return code > 0x10ffff ? whole : String.fromCodePoint(code);
    },
  );
}

/** Text without HTML comments and tags, its white space made single. */
export function stripTags(budget: Budget, text: Text): Text {
  const { value } = text;
  budget.text(value.length);
  const parts: Text[] = [];
  let at = 0;
  for (const [open, close] of [["<!--", "-->"], ["<", ">"]] as const) {
    const source = at === 0 && parts.length === 0 ? text : joinTexts(parts.splice(0));
    at = 0;
    for (;;) {
      const start = source.value.indexOf(open, at);
      const end = start < 0 ? -1 : source.value.indexOf(close, start + open.length);
      if (end < 0) break;
      parts.push(source.slice(at, start));
      at = end + close.length;
    }
    parts.push(source.slice(at));
  }
  const words = python.split(budget, joinTexts(parts), null, -1, false);
  return python.join(budget, words.flatMap((word, i) => i > 0 ? [own(" "), word] : [word]))
    .map(unescapeHtml).marked(false);
}
