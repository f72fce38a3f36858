/**
 * Texts that an encoder reads: which of those that wait go into one run. They lie in it one behind
 * the other, without padding; spans keep each to itself.
 *
 * @module
 */

import type { Output, RunPart, Sequence } from "../models/program.ts";

/** A text that waits, and what is wanted of it. */
export interface WaitingText {
  /** Its tokens. */
  readonly sequence: Sequence;
  /** Who asks. */
  readonly request: { readonly output: Output };
}

/** Whether a request is for an encoder alone. */
export function isText({ request: { output } }: Pick<WaitingText, "request">): boolean {
  return output.program === "encode";
}

/** Texts of one run, with the part of the run that each of them is. */
export interface TextRun<T> {
  /** In the order of arrival. */
  readonly texts: readonly T[];
  /** Of each. */
  readonly parts: readonly RunPart[];
}

/**
 * The texts that run next, in the order of arrival: the first of which `output` is wanted, however
 * long it is, and those behind it of which the same is wanted, as far as there is room for `most`
 * tokens. One that does not fit is first in a later run.
 */
export function textsOfRun<T extends WaitingText>(
  waiting: readonly T[],
  output: Output,
  most: number,
): TextRun<T> {
  const texts: T[] = [], parts: RunPart[] = [];
  let offset = 0;
  for (const text of waiting) {
    const { sequence, request } = text, count = sequence.ids.length;
    const isAlike = kindOf(request.output) === kindOf(output);
    if (!isAlike || texts.length > 0 && offset + count > most) continue;
    texts.push(text);
    parts.push({ sequence, position: 0, count, offset, firstRow: 0 });
    offset += count;
  }
  return { texts, parts };
}

function kindOf({ program, names, rows }: Output): string {
  return `${program} ${names} ${rows}`;
}
