/**
 * What the kinds of turns have in common: what they work with, and the rows that they get. The kinds
 * are step_turn.ts, prompt_turn.ts and encode_turn.ts; turns.ts decides between them.
 *
 * @module
 */

import type { Lease, Leases } from "./leases.ts";
import type { TurnRunner } from "./requests.ts";
import type { Entry, Waiting } from "./waiting.ts";

/** Most tokens of a prompt, or of several texts, in one run while others wait for their next token. */
export const SHARED_CHUNK = 64;

/** What a turn works with. */
export interface TurnContext {
  /** Runs it. */
  readonly runner: TurnRunner;
  /** Who has which cache rows. */
  readonly leases: Leases;
  /** Whose turn it may be. */
  readonly waiting: Waiting;
}

/** The rows that an entry gets, unless it has to wait for them; `chosen` are those that run with it. */
export function leaseFor(
  { leases, waiting }: TurnContext,
  { request: { holder }, sequence }: Entry,
  chosen: readonly Entry[] = [],
): Lease | undefined {
  return leases.take(holder, sequence, (it) => waiting.stateOf(it, chosen));
}

/** Whether at most one token is left to run, and only its result is wanted. */
export function isStep(runner: TurnRunner, { request, sequence }: Entry): boolean {
  const { holder, output } = request, { ids, source } = sequence;
  return output.program === "decode" && output.rows === "last" &&
    ids.length - holder.cached <= 1 && (!source || holder.encoded === true) &&
    (ids.length <= 1 || holder.cached >= runner.whole(sequence));
}
