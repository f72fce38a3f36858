/**
 * Python's `textwrap.wrap` for one line, as the filter `wordwrap` uses it.
 *
 * @module
 */

import { type Budget, TemplateError } from "./budget.ts";
import { join } from "./python_text.ts";
import type { Text } from "./text.ts";

/** How lines are broken. */
export interface WrapOptions {
  /** Most characters of a line. */
  readonly width: number;
  /** Whether words that are longer are cut. */
  readonly breakLongWords: boolean;
  /** Whether words may end after hyphens. */
  readonly breakOnHyphens: boolean;
}

// White space; dashes between words; a word, perhaps up to a hyphen between letters.
const CHUNKS =
  /[ \t\n\v\f\r]+|(?<=[\p{L}\p{N}_!"'&.,?])-{2,}(?=[\p{L}\p{N}_])|[^ \t\n\v\f\r](?:[^ \t\n\v\f\r])*?(?:-(?:(?<=[^\P{L}\d_]{2}-)|(?<=[^\P{L}\d_]-[^\P{L}\d_]-))(?=[^\P{L}\d_]-?[^\P{L}\d_])|(?=[ \t\n\v\f\r]|$)|(?<=[\p{L}\p{N}_!"'&.,?])(?=-{2,}[\p{L}\p{N}_]))/gu;
const PLAIN_CHUNKS = /[ \t\n\v\f\r]+|[^ \t\n\v\f\r]+/g;

/** Divides a line into lines of at most the width. */
export function wrapLine(budget: Budget, line: Text, options: WrapOptions): Text[] {
  const { width, breakLongWords, breakOnHyphens } = options;
  if (width <= 0) throw new TemplateError(`invalid width ${width} (must be > 0)`);
  budget.read(line.value.length);
  const chunks: Text[] = [];
  for (const { 0: chunk, index } of line.value.matchAll(breakOnHyphens ? CHUNKS : PLAIN_CHUNKS)) {
    budget.items(1);
    chunks.push(line.slice(index, index + chunk.length));
  }
  chunks.reverse(); // the next one is the last
  const isBlank = (chunk: Text): boolean => chunk.value.trim() === "";
  const lines: Text[] = [];
  while (chunks.length > 0) {
    if (lines.length > 0 && isBlank(chunks.at(-1)!)) chunks.pop();
    const parts: Text[] = [];
    let length = 0;
    while (chunks.length > 0 && length + chunks.at(-1)!.length <= width) {
      length += chunks.at(-1)!.length;
      parts.push(chunks.pop()!);
    }
    if (chunks.length > 0 && chunks.at(-1)!.length > width) {
      const long = chunks.pop()!;
      const room = width - length;
      if (breakLongWords) {
        let end = room;
        if (breakOnHyphens && long.length > room) {
          const hyphen = long.value.slice(0, long.at(room)).lastIndexOf("-");
          if (hyphen > 0 && /[^-]/.test(long.value.slice(0, hyphen))) end = hyphen + 1;
        }
        parts.push(long.slice(0, long.at(end)));
        chunks.push(long.slice(long.at(end)));
      } else if (parts.length === 0) parts.push(long);
      else chunks.push(long);
    }
    if (parts.length > 0 && isBlank(parts.at(-1)!)) parts.pop();
    if (parts.length > 0) lines.push(join(budget, parts));
    budget.items(1);
  }
  return lines;
}
