/**
 * Stop strings in a text that comes in pieces: no part of one is ever given out.
 *
 * @module
 */

/** Holds back text that may be the beginning of a stop string. */
export class StopScanner {
  readonly #stops: readonly string[];
  #held = "";
  /** All text that was certain so far. */
  text = "";
  /** Whether a stop string has come; it and what follows it are no part of the text. */
  stopped = false;

  /** Looks for any of some strings; empty ones stop nothing. */
  constructor(stops: readonly string[]) {
    this.#stops = stops.filter((stop) => stop !== "");
  }

  /** Text that is certain now. */
  push(piece: string): string {
    this.#held += piece;
    let end = -1;
    for (const stop of this.#stops) {
      const at = this.#held.indexOf(stop);
      if (at >= 0 && (end < 0 || at < end)) end = at;
    }
    if (end >= 0) {
      this.stopped = true;
      return this.#emit(end);
    }
    let held = 0;
    for (const stop of this.#stops) {
      for (let n = Math.min(stop.length - 1, this.#held.length); n > held; n--) {
        if (this.#held.endsWith(stop.slice(0, n))) held = n;
      }
    }
    return this.#emit(this.#held.length - held);
  }

  /** The last text, and what is still held, unless a stop string has come. */
  end(piece: string): string {
    const text = this.push(piece);
    return this.stopped ? text : text + this.#emit(this.#held.length);
  }

  #emit(length: number): string {
    const text = this.#held.slice(0, length);
    this.#held = this.#held.slice(length);
    this.text += text;
    return text;
  }
}
