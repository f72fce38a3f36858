/**
 * What a terminal sends, divided into keys and pastes: terminals that are asked to mark pastes put
 * them between two escape sequences (xterm, "bracketed paste"), which `node:readline` does not know.
 *
 * @module
 */

/** Asks the terminal to mark pastes, and ends that. */
export const MARK_PASTES = "\x1b[?2004h", MARK_NO_PASTES = "\x1b[?2004l";

const BEGIN = "\x1b[200~", END = "\x1b[201~";

/** Takes what a terminal sent, cut anywhere, and hands on keys and whole pastes in their order. */
export class PasteSplitter {
  readonly #onKeys: (keys: string) => void;
  readonly #onPaste: (text: string) => void;
  readonly #decoder = new TextDecoder();
  #rest = "";
  #isPasting = false;

  /** A splitter that calls `onKeys` and `onPaste`. */
  constructor(onKeys: (keys: string) => void, onPaste: (text: string) => void) {
    this.#onKeys = onKeys;
    this.#onPaste = onPaste;
  }

  /** Takes bytes. */
  push(bytes: Uint8Array): void {
    this.#rest += this.#decoder.decode(bytes, { stream: true });
    for (;;) {
      const mark = this.#isPasting ? END : BEGIN;
      const at = this.#rest.indexOf(mark);
      if (at < 0) break;
      this.#hand(this.#rest.slice(0, at));
      this.#rest = this.#rest.slice(at + mark.length);
      this.#isPasting = !this.#isPasting;
    }
    if (this.#isPasting) return; // until it is whole
    // A mark may be cut. The Escape key waits for the next one, and means nothing before it either.
    let kept = BEGIN.length - 1;
    while (kept > 0 && !this.#rest.endsWith(BEGIN.slice(0, kept))) kept--;
    const keys = this.#rest.slice(0, this.#rest.length - kept);
    this.#rest = this.#rest.slice(keys.length);
    this.#hand(keys);
  }

  #hand(text: string): void {
    if (text === "") return;
    if (!this.#isPasting) this.#onKeys(text);
    // Terminals send a paste's line breaks as they would send Enter. Other controls are no text.
    // deno-lint-ignore no-control-regex
    else this.#onPaste(text.replace(/\r\n?/g, "\n").replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, ""));
  }
}
