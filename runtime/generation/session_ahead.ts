/**
 * A session whose tokens are chosen on the backend: how what ahead.ts computes becomes part of it.
 *
 * @module
 */

import type { TokenChoice } from "../backends/backend.ts";
import type { Engine } from "../engine/engine.ts";
import { notFinite } from "../engine/flaws.ts";
import { LAST_LOGITS } from "../engine/plans.ts";
import type { Sequence } from "../models/sequence.ts";
import { Ahead } from "./ahead.ts";
import type { SessionState } from "./text_session.ts";

/**
 * Generation where tokens are chosen on the backend, or undefined where it cannot. `generated` are the
 * tokens of the text so far, a list that grows with it.
 */
export function aheadOf(
  engine: Engine,
  session: SessionState,
  given: TokenChoice,
  generated: readonly number[],
): Ahead | undefined {
  if (!engine.canRunAhead) return undefined;
  const { contextLength } = engine.options;
  const { holder } = session, current = (): Sequence => session.current();
  const runner = {}, choice = { ...given, generated };
  return new Ahead({
    get room() {
      return contextLength - session.position;
    },
    submit: (id, count, underWay, draw) =>
      underWay
        ? engine.exclusive(() => {
          const goesOn = current().ids.length === holder.cached && engine.isAhead(runner);
          return Promise.resolve(
            goesOn ? { ids: engine.runAhead(runner, undefined, count, choice, draw) } : undefined,
          );
        })
        : engine.run({
          holder,
          output: LAST_LOGITS,
          sequence: current,
          finish: (_, firstRow) => {
            const before = current(), sequence = { ...before, ids: [...before.ids, id] };
            const start = { sequence, position: before.ids.length, count: 1, offset: 0, firstRow };
            return { ids: engine.runAhead(runner, start, count, choice, draw) };
          },
        }),
    flaw: () => notFinite("a logit that was computed on the GPU is NaN or infinite", engine.facts),
    accept: (id) => {
      const isCached = holder.cached === session.position;
      session.append(id);
      if (isCached) holder.cached = session.position;
    },
  }, generated.length);
}
