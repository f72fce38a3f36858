/**
 * Tokens that are chosen on the host: the logits of every token are read back, and the sampler looks at
 * them.
 *
 * @module
 */

import type { Sampler } from "./sampler.ts";
import type { TextSession } from "./text_session.ts";
import type { TokenSource } from "./token_source.ts";

/** Tokens that `sample` takes from the session's logits. */
export function hostSource(
  session: TextSession,
  sample: Sampler,
  signal: AbortSignal | undefined,
): TokenSource {
  return {
    async next({ tokens, generated, onProgress }) {
      const logits = await session.prefill(tokens, {
        ...(signal && { signal }),
        ...(onProgress && { onProgress }),
      });
      return { id: sample(logits, session.history, generated.length) };
    },
  };
}
