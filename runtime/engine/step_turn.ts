/**
 * The turn of single tokens: one of each of several sequences, as one run (continuous batching: Yu et
 * al., "Orca", OSDI 2022).
 *
 * @module
 */

import type { RunPart } from "../models/program.ts";
import { noteRun } from "./sharing.ts";
import { isStep, leaseFor, type TurnContext } from "./turn.ts";
import type { Entry, Failure } from "./waiting.ts";

/** Runs one token, or none, of as many sequences as have rows and a place; whether there are any. */
export async function runSteps(turn: TurnContext, steps: readonly Entry[]): Promise<boolean> {
  const { runner, waiting } = turn;
  const chosen: Entry[] = [], parts: RunPart[] = [];
  for (const entry of steps) {
    if (chosen.length === runner.batch) break;
    const { sequence, request: { holder, output } } = entry;
    if (chosen.length > 0 && `${chosen[0]!.request.output.names}` !== `${output.names}`) continue;
    const lease = leaseFor(turn, entry, chosen);
    // Whoever lost its rows to another one has more to run than one token now.
    if (!lease || !isStep(runner, entry)) continue;
    const { cached: position } = holder, { firstRow } = lease;
    const count = sequence.ids.length - position; // 0 or 1
    const offset = parts.reduce((sum, { count }) => sum + count, 0);
    if (count > 0) noteRun(lease, holder, position, runner.isSteady() ? count : 0);
    chosen.push(entry);
    parts.push({ sequence, position, count, offset, firstRow });
  }
  const running = parts.filter(({ count }) => count > 0);
  try {
    const rows = running.length > 0
      ? await runner.forward(running, chosen[0]!.request.output, true)
      : new Float32Array(0); // [running, width]
    const width = rows.length / Math.max(1, running.length);
    await waiting.finishAll(chosen.map((entry, i) => {
      const part = parts[i]!, at = running.indexOf(part) * width;
      const row = part.count === 0
        ? new Float32Array(0)
        : running.length === 1
        ? rows
        : rows.slice(at, at + width);
      return [entry, part.firstRow, row];
    }));
  } catch (error) {
    await waiting.fail(chosen.map((entry): Failure => [entry, error]));
  }
  return chosen.length > 0;
}
