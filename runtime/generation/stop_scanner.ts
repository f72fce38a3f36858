/**
 * Stop strings in a text that comes in pieces: no part of one is ever given out. Special tokens are no part of
 * the text, but a stop string may be one, or have one in its midst: they run along as hidden pieces.
 *
 * @module
 */

import type { Tokenizer } from "../text/tokenizer/tokenizer.ts";

/** A stretch of hidden text among what is held. */
interface Hidden {
  readonly start: number;
  readonly end: number;
}

/** Holds back text that may be the beginning of a stop string. */
export class StopScanner {
  readonly #stops: readonly string[];
  /** Visible and hidden text that is not given out yet. */
  #held = "";
  #hidden: readonly Hidden[] = [];
  /** All text that was certain so far. */
  text = "";
  /** Whether a stop string has come; it and what follows it are no part of the text. */
  stopped = false;

  /** Looks for any of some strings; empty ones stop nothing. */
  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== "");
  }

  /** Text that is certain now. A `hidden` piece is text of a special token: matched, never given out. */
  push(piece: string, hidden = ""): string {
    this.#held += piece;
    if (hidden !== "") {
      const start = this.#held.length;
      this.#held += hidden;
      this.#hidden = [...this.#hidden, { start, end: this.#held.length }];
    }
    // A stop string is looked for in the text that is seen, and in that with special tokens.
    const seen = this.#hidden.length === 0 ? this.#held : this.#visible(this.#held.length);
    let end = -1;
    for (const stop of this.#stops) {
      for (const at of [this.#place(seen.indexOf(stop)), this.#findHidden(stop)]) {
        if (at >= 0 && (end < 0 || at < end)) end = at;
      }
    }
    if (end >= 0) {
      this.stopped = true;
      return this.#emit(end);
    }
    let kept = this.#held.length;
    for (const stop of this.#stops) {
      kept = Math.min(
        kept,
        this.#place(seen.length - overlap(seen, stop)),
        this.#held.length - overlap(this.#held, stop),
      );
    }
    return this.#emit(kept);
  }

  /** The last text, and what is still held, unless a stop string has come. */
  end(piece: string): string {
    const text = this.push(piece);
    return this.stopped ? text : text + this.#emit(this.#held.length);
  }

  /** The place in the held text of a place in what is seen of it; -1 stays. */
  #place(seen: number): number {
    let at = seen;
    for (const { start, end } of this.#hidden) if (at >= 0 && start < at) at += end - start;
    return at;
  }

  /** Where a stop string is in the held text such that no special token is part of it in part. */
  #findHidden(stop: string): number {
    if (this.#hidden.length === 0) return -1;
    for (let at = this.#held.indexOf(stop); at >= 0; at = this.#held.indexOf(stop, at + 1)) {
      const last = at + stop.length;
      const cuts = this.#hidden.some(({ start, end }) =>
        start < at && at < end || start < last && last < end
      );
      if (!cuts) return at;
    }
    return -1;
  }

  /** What is seen of the first `length` units. */
  #visible(length: number): string {
    let text = "", at = 0;
    for (const { start, end } of this.#hidden) {
      if (start >= length) break;
      text += this.#held.slice(at, start);
      at = end;
    }
    return at < length ? text + this.#held.slice(at, length) : text;
  }

  #emit(length: number): string {
    // Not the first part of a special token.
    const cut = this.#hidden.find(({ start, end }) => start < length && length < end);
    if (cut) length = cut.start;
    const text = this.#hidden.length === 0 ? this.#held.slice(0, length) : this.#visible(length);
    this.#held = this.#held.slice(length);
    this.#hidden = this.#hidden
      .filter(({ start }) => start >= length)
      .map(({ start, end }) => ({ start: start - length, end: end - length }));
    this.text += text;
    return text;
  }
}

/** How many units at the end of a text begin a stop string, and are less than all of it. */
function overlap(text: string, stop: string): number {
  for (let n = Math.min(stop.length - 1, text.length); n > 0; n--) {
    if (text.endsWith(stop.slice(0, n))) return n;
  }
  return 0;
}

/**
 * What the special tokens of a vocabulary are to stop strings: for each id the text that runs along
 * hidden, empty for one that spells its text. Undefined where no stop string has a special token in it.
 */
export function hiddenTexts(
  tokenizer: Tokenizer,
  stops: readonly string[],
): ((id: number) => string) | undefined {
  const isHidden = (id: number): boolean =>
    tokenizer.decode([id]) === "" && tokenizer.decode([id], { skipSpecial: false }) !== "";
  const asks = (stop: string): boolean =>
    tokenizer.encode(stop, { addSpecial: false, parseSpecial: true }).some(isHidden);
  if (!stops.some(asks)) return undefined;
  const known = new Map<number, string>();
  return (id) => {
    let text = known.get(id);
    if (text === undefined) {
      known.set(id, text = isHidden(id) ? tokenizer.idToToken(id) ?? "" : "");
    }
    return text;
  };
}
