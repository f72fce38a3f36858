/**
 * The turn of a prompt: one chunk of it, after what of it other sequences have computed already.
 *
 * @module
 */

import { encodeSource } from "./encode_turn.ts";
import { forget, type Lease } from "./leases.ts";
import type { TurnRunner } from "./requests.ts";
import { type Chunks, findShared, isStandard, noteRun } from "./sharing.ts";
import { leaseFor, SHARED_CHUNK, type TurnContext } from "./turn.ts";
import type { Entry } from "./waiting.ts";

/**
 * Runs a chunk of the first prompt that can have rows; whether there is one. It is `shared` with
 * others who wait for their next token.
 */
export async function runPrompt(
  turn: TurnContext,
  prompts: readonly Entry[],
  shared: boolean,
): Promise<boolean> {
  for (const entry of prompts) {
    const lease = leaseFor(turn, entry);
    if (!lease) continue;
    const { sequence: { source }, request: { holder, output } } = entry;
    try {
      if (!entry.begun && output.rows === "last") await takeOver(turn, entry, lease);
    } catch (error) {
      await turn.waiting.fail([[entry, error]]);
      return true;
    }
    lease.left = undefined;
    if (source && !holder.encoded) await encodeSource(turn, entry, source, lease.firstRow);
    else await runChunk(turn, entry, lease, shared);
    return true;
  }
  return false;
}

/** Runs the next chunk of a prompt. */
async function runChunk(
  { runner, leases, waiting }: TurnContext,
  entry: Entry,
  lease: Lease,
  shared: boolean,
): Promise<void> {
  const { sequence, request: { holder, output } } = entry, { firstRow } = lease;
  const whole = Math.min(runner.whole(sequence), sequence.ids.length);
  // What must share a run begins again where only a part of it is in the cache.
  if (holder.cached < whole) holder.cached = 0;
  const position = holder.cached;
  const most = Math.min(runner.chunk(output), shared ? SHARED_CHUNK : Infinity);
  const count = Math.min(Math.max(most, whole - position), sequence.ids.length - position);
  const isLast = position + count === sequence.ids.length;
  entry.begun = true;
  const standard = output.rows === "last" && isStandard(chunksOf(runner, entry), position, count);
  noteRun(lease, holder, position, standard ? count : 0);
  try {
    const parts = [{ sequence, position, count, offset: 0, firstRow }];
    const rows = await runner.forward(parts, output, isLast || output.rows === "all");
    const flaw = waiting.flaw(entry, rows, position);
    if (flaw) throw flaw;
    entry.rows?.set(rows, position * runner.width(output));
    if (waiting.has(entry)) entry.request.onRows?.(rows, position);
    holder.cached = position + count;
    leases.renew(holder);
    if (isLast) waiting.finish(entry, firstRow, entry.rows ?? rows);
  } catch (error) {
    return await waiting.fail([[entry, error]]);
  }
  try {
    if (!isLast) entry.request.progress?.(holder.cached);
  } catch (error) {
    waiting.reject(entry, error); // the caller's own, not the backend's
  }
}

/** How a prompt is divided into runs when nothing else is under way. */
function chunksOf(runner: TurnRunner, { sequence, request: { output } }: Entry): Chunks {
  return { whole: runner.whole(sequence), most: runner.chunk(output), isSteady: runner.isSteady() };
}

/** Takes over what of a prompt is in the rows of others, or was left in those that it got. */
async function takeOver(
  { runner, leases }: TurnContext,
  entry: Entry,
  lease: Lease,
): Promise<void> {
  const { sequence, request: { holder } } = entry;
  holder.taken = 0;
  const found = findShared(sequence, holder, leases.held(lease), chunksOf(runner, entry));
  if (!found) return;
  const { lease: from, tokens, encoded } = found;
  forget(holder); // until all is there
  if (from !== lease) {
    const source = encoded ? sequence.source!.ids.length : 0;
    await runner.copyRows(from.firstRow, lease.firstRow, { tokens, source });
  }
  holder.cached = holder.standard = holder.taken = tokens;
  holder.encoded = encoded;
}
