/**
 * Where the next token comes from: one interface for tokens that are chosen on the host, from logits
 * (host_source.ts), and for those that are chosen on the device, several at once (device_source.ts). The
 * loop in generate.ts knows only this.
 *
 * @module
 */

import type { Prompt } from "../models/prompt.ts";
import type { TokenLikelihoods } from "./log_probabilities.ts";
import type { PromptProgress } from "./text_session.ts";

/** Where a text is. */
export interface Place {
  /**
   * What the text ends with and the session does not have yet: at first what is new of the prompt, then
   * the last token, after the later half of a full context where that slides.
   */
  readonly tokens: readonly number[] | Prompt;
  /** All tokens generated so far, the last of them among `tokens`; their number is that of the next random draw. */
  readonly generated: readonly number[];
  /** Most tokens that are still wanted; at least 1. */
  readonly wanted: number;
  /** Told how far a prompt has come. */
  readonly onProgress?: ((progress: PromptProgress) => void) | undefined;
}

/** A token that was chosen. */
export interface Choice {
  /** Number of the token in the vocabulary. */
  readonly id: number;
  /** Where it was asked for, how likely the model finds it, and the most likely tokens. */
  readonly likely?: TokenLikelihoods;
  /** Whether the text ends with it. */
  readonly isLast?: boolean;
}

/** Gives the tokens of one text. */
export interface TokenSource {
  /**
   * Makes the tokens of the place part of the session, and gives the next one; undefined, without
   * changing the session, where the text must not even begin.
   *
   * @throws ModelError when a logit is NaN or infinite
   */
  next(place: Place): Promise<Choice | undefined>;
}
