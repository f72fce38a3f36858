/**
 * Tokens that are chosen on the host: the logits of every token are read back and looked at. Here, and
 * only here, a constraint has its say and log-probabilities are computed.
 *
 * @module
 */

import type { TokenChoice } from "../backends/backend.ts";
import { chooser, offsetsOf } from "./chooser.ts";
import type { Constrained } from "./constrained.ts";
import { likelihoods } from "./log_probabilities.ts";
import type { TextSession } from "./text_session.ts";
import type { TokenSource } from "./token_source.ts";

/** How a host chooses. */
export interface HostOptions {
  /** Settings of the sampler. */
  readonly choice: TokenChoice;
  /** What the text may go on with, if that is limited. */
  readonly constrained: Constrained | undefined;
  /** Most likely tokens whose log-probabilities are wanted beside the chosen one's; undefined for none. */
  readonly logprobs: number | undefined;
  /** Ends it between two parts of a prompt. */
  readonly signal: AbortSignal | undefined;
}

/** Tokens that are chosen from the session's logits. */
export function hostSource(
  session: TextSession,
  { choice, constrained, logprobs, signal }: HostOptions,
): TokenSource {
  const choose = chooser(choice), offsets = offsetsOf(choice);
  /** Generated tokens that the offsets know. */
  let noted = 0;
  return {
    async next({ tokens, generated, onProgress }) {
      if (await constrained?.isOver()) return undefined;
      const logits = await session.prefill(tokens, {
        ...(signal && { signal }),
        ...(onProgress && { onProgress }),
      });
      for (; noted < generated.length; noted++) offsets?.accept(generated[noted]!);
      const place = { history: session.history, offsets, draw: generated.length };
      const id = constrained
        ? constrained.choose(logits, (scores) => choose(scores, place))
        : choose(logits, place);
      const likely = logprobs === undefined ? undefined : likelihoods(logits, id, logprobs);
      if (!constrained) return likely ? { id, likely } : { id };
      constrained.accept(id);
      return { id, ...(likely && { likely }), isLast: await constrained.isOver() };
    },
  };
}
