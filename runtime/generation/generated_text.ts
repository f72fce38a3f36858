/**
 * The text of the tokens that are generated: whole characters as they become certain, up to a stop
 * string.
 *
 * @module
 */

import type { TokenDecoder } from "../text/decoding/text_decoder.ts";
import type { Tokenizer } from "../text/tokenizer/tokenizer.ts";
import { hiddenTexts, StopScanner } from "./stop_scanner.ts";

/** A text that grows token by token. */
export class GeneratedText {
  /** A model may have more words than its tokenizer; those have no text, nor has any without one. */
  readonly #words: number;
  readonly #decoder: TokenDecoder | undefined;
  readonly #hidden: ((id: number) => string) | undefined;
  readonly #scanner: StopScanner;

  /**
   * The text after the tokens `after`, up to any of the `stops`; special tokens have none, unless
   * `skipSpecial` is false.
   */
  constructor(
    tokenizer: Tokenizer | undefined,
    after: readonly number[],
    stops: readonly string[],
    skipSpecial: boolean,
  ) {
    this.#words = tokenizer?.vocabSize ?? 0;
    const known = after.filter((id) => id < this.#words);
    // What marks the start stands before a text as if nothing did.
    const first = skipSpecial ? 0 : known.findIndex((id) => tokenizer?.decode([id]) !== "");
    this.#decoder = tokenizer?.decoder({
      after: first < 0 ? [] : known.slice(first),
      skipSpecial,
    });
    this.#hidden = tokenizer && skipSpecial ? hiddenTexts(tokenizer, stops) : undefined;
    this.#scanner = new StopScanner(stops);
  }

  /** All text that is certain so far. */
  get text(): string {
    return this.#scanner.text;
  }

  /** Whether a stop string has come. */
  get stopped(): boolean {
    return this.#scanner.stopped;
  }

  /** The text that is certain with one more token. */
  push(id: number): string {
    if (id >= this.#words) return this.#scanner.push("");
    return this.#scanner.push(this.#decoder!.push(id), this.#hidden?.(id));
  }

  /** What was still held back: characters and stop strings that stay incomplete are text after all. */
  end(): string {
    return this.#scanner.end(this.#decoder?.flush() ?? "");
  }
}
