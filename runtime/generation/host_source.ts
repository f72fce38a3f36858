/**
 * Tokens that are chosen on the host: the logits of every token are read back and looked at.
 *
 * @module
 */

import type { TokenChoice } from "../backends/backend.ts";
import { chooser, offsetsOf } from "./chooser.ts";
import type { TextSession } from "./text_session.ts";
import type { TokenSource } from "./token_source.ts";

/** Tokens that are chosen from the session's logits. */
export function hostSource(
  session: TextSession,
  choice: TokenChoice,
  signal: AbortSignal | undefined,
): TokenSource {
  const choose = chooser(choice), offsets = offsetsOf(choice);
  /** Generated tokens that the offsets know. */
  let noted = 0;
  return {
    async next({ tokens, generated, onProgress }) {
      const logits = await session.prefill(tokens, {
        ...(signal && { signal }),
        ...(onProgress && { onProgress }),
      });
      for (; noted < generated.length; noted++) offsets?.accept(generated[noted]!);
      const { history } = session;
      return { id: choose(logits, { history, offsets, draw: generated.length }) };
    },
  };
}
