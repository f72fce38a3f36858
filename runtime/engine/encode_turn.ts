/**
 * The turns of encoders: whole texts, as many as one run holds, or what a decoder answers to.
 *
 * @module
 */

import type { Output, RunPart, Sequence } from "../models/program.ts";
import type { TurnContext } from "./turn.ts";
import type { Entry, Failure } from "./waiting.ts";

/** Runs as many whole texts through an encoder as one run holds; they need no rows of their own. */
export async function encodeTexts(
  { runner, waiting }: TurnContext,
  entries: readonly Entry[],
  output: Output,
): Promise<void> {
  const chosen: Entry[] = [], parts: RunPart[] = [];
  let offset = 0;
  for (const entry of entries) {
    const { sequence, request } = entry, count = sequence.ids.length;
    const { program, names, rows } = request.output;
    const isAlike = program === output.program && `${names}` === `${output.names}` &&
      rows === output.rows;
    if (!isAlike || chosen.length > 0 && offset + count > runner.runRows) continue;
    chosen.push(entry);
    parts.push({ sequence, position: 0, count, offset, firstRow: 0 });
    offset += count;
  }
  try {
    const found = await runner.forward(parts, output, true);
    const width = runner.width(output);
    let at = 0;
    await waiting.finishAll(chosen.map((entry, i) => {
      const length = width * (output.rows === "all" ? parts[i]!.count : 1);
      return [entry, 0, found.slice(at, at += length)];
    }));
  } catch (error) {
    await waiting.fail(chosen.map((entry): Failure => [entry, error]));
  }
}

/** Has an encoder read what a decoder's sequence answers to, into the rows that it keeps for that. */
export async function encodeSource(
  { runner, leases, waiting }: TurnContext,
  entry: Entry,
  source: Sequence,
  firstRow: number,
): Promise<void> {
  const { holder } = entry.request;
  entry.begun = true;
  try {
    const part = { sequence: source, position: 0, count: source.ids.length, offset: 0, firstRow };
    await runner.forward([part], { program: "encode", names: [], rows: "last" }, false);
    holder.encoded = true;
    leases.renew(holder);
  } catch (error) {
    await waiting.fail([[entry, error]]);
  }
}
