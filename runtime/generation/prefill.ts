/**
 * Tokens that are appended to a session: what `Session.prefill` and `Session.logits` do.
 *
 * @module
 */

import { CALLBACK, readIds, readOptions, type Rules, SIGNAL } from "../../options.ts";
import type { Engine } from "../engine/engine.ts";
import { LAST_LOGITS } from "../engine/plans.ts";
import { idsOf, type Prompt } from "../models/prompt.ts";
import { EMPTY, type Sequence } from "../models/sequence.ts";
import type { PrefillOptions, SessionState } from "./text_session.ts";

const PREFILL_RULES: Rules<PrefillOptions> = { signal: SIGNAL, onProgress: CALLBACK };

/** Appends tokens and gives the logits after the last one, `[vocab]`. */
export async function prefill(
  engine: Engine,
  session: SessionState,
  given: readonly number[] | Prompt,
  options: PrefillOptions,
): Promise<Float32Array> {
  const { signal, onProgress } = readOptions("process a prompt", options, PREFILL_RULES);
  let next = EMPTY;
  const append = appending(engine, session, given);
  const logits = await engine.run({
    holder: session.holder,
    output: LAST_LOGITS,
    signal,
    ...(onProgress && {
      progress: (done: number) => onProgress({ done, total: next.ids.length }),
    }),
    sequence: () => next = append(),
    finish: (logits) => {
      session.become(next);
      return logits;
    },
  });
  onProgress?.({ done: next.ids.length, total: next.ids.length });
  return logits;
}

/** Appends tokens and gives the logits after each of them, `[tokens, vocab]`. */
export async function prefillAll(
  engine: Engine,
  session: SessionState,
  given: readonly number[] | Prompt,
  options: Pick<PrefillOptions, "signal">,
): Promise<Float32Array> {
  const { signal } = readOptions("compute logits", options, { signal: SIGNAL });
  const { vocabSize } = engine.config, { holder } = session;
  let next = EMPTY, begin = 0, logits: Float32Array | undefined;
  const append = appending(engine, session, given);
  return await engine.run({
    holder,
    output: { program: "decode", names: ["logits"], rows: "all" },
    signal,
    sequence: () => {
      begin = session.position;
      next = append();
      // Their logits are not kept: the last of them runs again if nothing else does.
      holder.cached = Math.min(holder.cached, begin);
      return next;
    },
    onRows: (rows, first) => {
      logits ??= new Float32Array((next.ids.length - begin) * vocabSize);
      const skipped = Math.max(0, begin - first);
      const own = rows.subarray(skipped * vocabSize);
      if (own.length > 0) logits.set(own, (first + skipped - begin) * vocabSize);
    },
    finish: () => {
      session.become(next);
      return logits!;
    },
  });
}

/** What makes of a session's sequence the one with a prompt behind it, in the turn that runs it. */
function appending(
  engine: Engine,
  session: SessionState,
  given: readonly number[] | Prompt,
): () => Sequence {
  // What begins a session is checked at once; so is what is nothing but ids.
  const opening = session.isUnbegun ? engine.sequenceOf(given) : undefined;
  const ids = opening?.ids ?? readIds(idsOf(given), engine.config.vocabSize);
  return () => {
    const sequence = session.current();
    // It may have been reset since the call.
    if (session.isUnbegun) return opening ?? engine.sequenceOf(ids);
    return engine.extended(sequence, ids);
  };
}
