/**
 * Which tokens of a prompt need not be computed because another sequence has computed them: its cache
 * rows are copied. What is taken over is what the prompt would have got by itself, to the bit:
 *
 * - Rows count as standard where they were computed as in any prompt that begins with these tokens:
 *   always where a token's numbers do not depend on its run (`Backend.isSteady`), else in whole chunks,
 *   one after another from the first token on.
 * - The tokens that are left run as they would have: in any case, or from a border between whole chunks
 *   on.
 *
 * @module
 */

import { type Sequence, sharedTokens, sharesSetting } from "../models/sequence.ts";
import type { HeldRows, Lease, LeaseHolder } from "./leases.ts";

/** How a prompt is divided into runs when nothing else is under way. */
export interface Chunks {
  /** Tokens at the start that must share one run. */
  readonly whole: number;
  /** Most tokens of a run, beside them. */
  readonly most: number;
  /** Whether the number of tokens in a run makes no difference. */
  readonly isSteady: boolean;
}

/** What of a prompt is in other rows. */
export interface Found {
  /** Where. */
  readonly lease: Lease;
  /** Tokens at the start. */
  readonly tokens: number;
  /** Whether what an encoder read for it is there, too. */
  readonly encoded: boolean;
}

/** Whether a run's rows are those that any prompt with these tokens would get, like those before it. */
export function isStandard(chunks: Chunks, position: number, count: number): boolean {
  const { isSteady, most } = chunks, first = firstRun(chunks);
  if (isSteady) return true;
  if (position === 0) return count === first;
  return position >= first && (position - first) % most === 0 && count === most;
}

/** Notes a run from `position` on of which the first `standard` tokens get standard rows. */
export function noteRun(
  lease: Lease,
  holder: LeaseHolder,
  position: number,
  standard: number,
): void {
  lease.left = undefined;
  const before = Math.min(holder.standard ?? 0, position);
  holder.standard = before === position ? position + standard : before;
}

/** The most of a sequence that the rows of others hold, if that is more than its own holder has. */
export function findShared(
  sequence: Sequence,
  own: LeaseHolder,
  held: Iterable<readonly [Lease, HeldRows]>,
  chunks: Chunks,
): Found | undefined {
  let best: Found | undefined;
  const needsSource = sequence.source !== undefined;
  for (const [lease, rows] of held) {
    if (needsSource && !(rows.encoded && sharesSetting(rows.sequence, sequence))) continue;
    const most = Math.min(
      sharedTokens(rows.sequence, sequence),
      rows.cached,
      rows.standard ?? 0,
    );
    const tokens = takeable(most, chunks);
    const least = best?.tokens ?? own.cached;
    const encoded = best?.encoded ?? own.encoded ?? false;
    if (tokens > least || needsSource && !encoded) best = { lease, tokens, encoded: needsSource };
  }
  return best;
}

/** How many of the first `held` tokens of a prompt can be taken over, so that the rest runs as usual. */
export function takeable(held: number, chunks: Chunks): number {
  const { whole, most, isSteady } = chunks, first = firstRun(chunks);
  if (isSteady) return held < whole ? 0 : held;
  return held < first ? 0 : held - (held - first) % most;
}

function firstRun({ whole, most }: Chunks): number {
  return Math.max(whole, most);
}
