/**
 * Text that knows who wrote it. A prompt is written by two: the template, whose special tokens are
 * meant, and the caller, whose messages may spell such a token by chance or by malice. Every text
 * carries the places where the writer changes, and every operation keeps them.
 *
 * @module
 */

/** A stretch of a prompt with one writer. */
export interface TextPiece {
  /** As it will stand in the prompt. */
  readonly text: string;
  /** Whether the template wrote it, so that special tokens in it are meant. */
  readonly trusted: boolean;
}

/** An immutable text. Positions are in UTF-16 units here. */
export class Text {
  /** The characters. */
  readonly value: string;
  /** Where the writer changes, rising; before the first the template writes. [changes] */
  readonly cuts: readonly number[];
  /** Whether it is marked as HTML (`safe`, `escape`), as markupsafe's Markup. */
  readonly safe: boolean;
  #starts: Int32Array | undefined;
  #length: number | undefined;

  /** A text; written by the template unless `cuts` say otherwise. */
  constructor(value: string, cuts: readonly number[] = NO_CUTS, safe = false) {
    this.value = value;
    this.cuts = cuts;
    this.safe = safe;
  }

  /** Length in characters (code points). */
  get length(): number {
    return this.#length ??= this.#isSimple() ? this.value.length : this.starts().length;
  }

  /** Whether every character is one UTF-16 unit. */
  #isSimple(): boolean {
    return !/[\ud800-\udbff][\udc00-\udfff]/.test(this.value);
  }

  /** Where each character starts. [characters] */
  starts(): Int32Array {
    if (this.#starts) return this.#starts;
    const starts = new Int32Array(this.value.length);
    let count = 0;
    for (let i = 0; i < this.value.length; count++) {
      starts[count] = i;
      i += this.value.codePointAt(i)! > 0xffff ? 2 : 1;
    }
    return this.#starts = starts.subarray(0, count);
  }

  /** The UTF-16 position of a character; the end for positions past the last. */
  at(character: number): number {
    if (this.length === this.value.length) return Math.min(character, this.value.length);
    return character < this.length ? this.starts()[character] : this.value.length;
  }

  /** Whether the caller wrote the unit at a position. */
  isCallers(position: number): boolean {
    return changesUpTo(this.cuts, position) % 2 === 1;
  }

  /** A part, in UTF-16 units. */
  slice(from: number, to = this.value.length): Text {
    if (from <= 0 && to >= this.value.length) return this;
    if (from >= to) return this.safe ? SAFE_EMPTY : EMPTY;
    const value = this.value.slice(from, to);
    if (this.cuts.length === 0) return new Text(value, NO_CUTS, this.safe);
    const first = changesUpTo(this.cuts, from);
    const cuts = first % 2 === 1 ? [0] : [];
    for (let i = first; i < this.cuts.length && this.cuts[i] < to; i++) {
      cuts.push(this.cuts[i] - from);
    }
    return new Text(value, cuts, this.safe);
  }

  /** The stretches with one writer, in order. */
  pieces(): TextPiece[] {
    const pieces: TextPiece[] = [];
    let start = 0;
    let trusted = true;
    for (const end of [...this.cuts, this.value.length]) {
      if (end > start) pieces.push({ text: this.value.slice(start, end), trusted });
      start = end;
      trusted = !trusted;
    }
    return pieces;
  }

  /** The same characters as HTML, or as plain text. */
  marked(safe: boolean): Text {
    return safe === this.safe ? this : new Text(this.value, this.cuts, safe);
  }

  /** A text in which every stretch is changed by itself, or the whole where that cannot differ. */
  map(change: (text: string) => string): Text {
    if (this.cuts.length === 0 || (this.cuts.length === 1 && this.cuts[0] === 0)) {
      return plain(change(this.value), this.cuts, this.safe);
    }
    const whole = change(this.value);
    if (whole.length === this.value.length) return new Text(whole, this.cuts, this.safe);
    return joinTexts(
      this.pieces().map(({ text, trusted }) => trusted ? own(change(text)) : callers(change(text))),
      this.safe,
    );
  }
}

const NO_CUTS: readonly number[] = [];
const ALL_CALLERS: readonly number[] = [0];

/** The empty text. */
export const EMPTY: Text = new Text("");
const SAFE_EMPTY = new Text("", NO_CUTS, true);

function plain(value: string, cuts: readonly number[], safe: boolean): Text {
  return value === "" ? (safe ? SAFE_EMPTY : EMPTY) : new Text(value, cuts, safe);
}

/** A text that the template wrote. */
export function own(value: string): Text {
  return value === "" ? EMPTY : new Text(value);
}

/** A text that the caller wrote. */
export function callers(value: string): Text {
  return value === "" ? EMPTY : new Text(value, ALL_CALLERS);
}

/** How many writer changes lie at or before a position. */
function changesUpTo(cuts: readonly number[], position: number): number {
  let [low, high] = [0, cuts.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (cuts[middle] <= position) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Texts one after another. */
export function joinTexts(texts: readonly Text[], safe = false): Text {
  if (texts.length === 1) return texts[0].marked(safe);
  let value = "";
  let isCallers = false;
  const cuts: number[] = [];
  for (const text of texts) {
    if (text.value === "") continue;
    const begins = text.cuts[0] === 0;
    if (begins !== isCallers) cuts.push(value.length);
    isCallers = begins;
    for (const cut of text.cuts) {
      if (cut === 0) continue;
      cuts.push(value.length + cut);
      isCallers = !isCallers;
    }
    value += text.value;
  }
  return plain(value, cuts, safe);
}
