/**
 * Log-probabilities of generated tokens, with their texts and bytes.
 *
 * @module
 */

import type { ByteDecoder } from "../text/decoding/text_decoder.ts";
import { tokenText } from "../text/decoding/token_text.ts";
import type { Tokenizer } from "../text/tokenizer/tokenizer.ts";
import type { TokenLikelihoods } from "./log_probabilities.ts";

/** A token, and how likely the model finds it. */
export interface TokenLogprob {
  /** Its id. */
  readonly id: number;
  /**
   * Its own text, for showing: special tokens as they are written, bytes that are no whole character as
   * `<E6><98>`. Empty for a model without a tokenizer.
   */
  readonly text: string;
  /** The bytes that it adds to the text in UTF-8; none for a special token. */
  readonly bytes: readonly number[];
  /**
   * Natural logarithm of its probability, in float64, by the model's own distribution: the softmax of the
   * logits, before temperature, penalties, biases and constraints. -Infinity where the model rules it out.
   */
  readonly logprob: number;
}

/** A generated token, and what the model would have liked as well. */
export interface TokenLogprobs extends TokenLogprob {
  /** The most likely tokens, the best first; fewer where the model rules the others out. */
  readonly top: readonly TokenLogprob[];
}

/** The log-probabilities of a text that grows. */
export class LogprobList {
  /** Those of the tokens so far. */
  readonly list: TokenLogprobs[] = [];
  readonly #tokenizer: Tokenizer | undefined;
  readonly #decoder: ByteDecoder | undefined;
  /** What tokens spell by themselves, as far as it was asked for. */
  readonly #known = new Map<number, Pick<TokenLogprob, "text" | "bytes">>();

  /** Of the text after some tokens. */
  constructor(tokenizer: Tokenizer | undefined, after: readonly number[]) {
    this.#tokenizer = tokenizer;
    this.#decoder = tokenizer?.byteDecoder({ after: after.filter((id) => this.#isWord(id)) });
  }

  /** One more token. */
  push({ own, top }: TokenLikelihoods): void {
    const bytes = this.#isWord(own.id) ? Array.from(this.#decoder!.push(own.id)) : [];
    const { text } = this.#spell(own.id);
    this.list.push({
      ...{ id: own.id, text, bytes, logprob: own.logprob },
      top: top.map(({ id, logprob }) => ({ id, ...this.#spell(id), logprob })),
    });
  }

  /** Gives the last token the bytes that were still waiting. */
  end(): void {
    const rest = Array.from(this.#decoder?.flush() ?? []), last = this.list.pop();
    if (last) this.list.push({ ...last, bytes: [...last.bytes, ...rest] });
  }

  /** A model may have more words than its tokenizer; those have no text. */
  #isWord(id: number): boolean {
    return this.#tokenizer !== undefined && id < this.#tokenizer.vocabSize;
  }

  /** What a token spells in the midst of a text. */
  #spell(id: number): Pick<TokenLogprob, "text" | "bytes"> {
    let known = this.#known.get(id);
    if (!known) {
      known = { text: "", bytes: [] };
      if (this.#tokenizer && this.#isWord(id)) {
        const decoder = this.#tokenizer.byteDecoder({ after: [id] });
        const bytes = [...decoder.push(id), ...decoder.flush()];
        known = { text: tokenText(this.#tokenizer, id), bytes };
      }
      this.#known.set(id, known);
    }
    return known;
  }
}
