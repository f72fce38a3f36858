/**
 * Tokens that are chosen where logits are computed, several in one submission (ahead.ts). The first token
 * after a prompt is the host's, and so are all where the backend cannot choose, or has failed and another
 * one has its place: random draws are numbered, so that the text is the same whoever chooses.
 *
 * @module
 */

import type { Backend, TokenChoice } from "../backends/backend.ts";
import type { Engine } from "../engine/engine.ts";
import type { Ahead } from "./ahead.ts";
import type { TextSession } from "./text_session.ts";
import type { Choice, Place, TokenSource } from "./token_source.ts";

/** Tokens of the device, where it can choose, else of `host`. */
export function deviceSource(
  session: TextSession,
  engine: Engine,
  choice: TokenChoice,
  signal: AbortSignal | undefined,
  host: TokenSource,
): TokenSource {
  let ahead: Ahead | undefined;
  /** What it runs on. */
  let backend: Backend | undefined;

  /** Goes on after an error, if another backend has taken over. */
  async function handOver(
    error: unknown,
    place: Place,
    length: number,
  ): Promise<Choice | undefined> {
    if (!await engine.recover(error, backend!)) throw error;
    // What ran ahead is lost; the tokens are known, and the number of the next draw.
    ahead = undefined;
    if (session.position > length) session.truncate(length);
    return await host.next(place);
  }

  async function nextAhead(ahead: Ahead, place: Place): Promise<Choice | undefined> {
    const ids = place.tokens as readonly number[]; // a prompt comes before all generated tokens
    const id = ids.at(-1)!;
    if (ids.length > 1) await session.prefill(ids.slice(0, -1), signal ? { signal } : {});
    const length = session.position;
    try {
      return { id: await ahead.next(id, place.wanted) };
    } catch (error) {
      return await handOver(error, { ...place, tokens: [id] }, length);
    }
  }

  return {
    next(place) {
      if (place.generated.length > 0 && !ahead) {
        ahead = session.ahead(choice, place.generated);
        backend = engine.backend;
      }
      return ahead ? nextAhead(ahead, place) : host.next(place);
    },
  };
}
