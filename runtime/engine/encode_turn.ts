/**
 * The turns of encoders: whole texts, as many as one run holds, or what a decoder answers to.
 *
 * @module
 */

import type { Sequence } from "../models/program.ts";
import { SHARED_CHUNK, type TurnContext } from "./turn.ts";
import type { Entry, Failure } from "./waiting.ts";
import { textsOfRun } from "./whole_texts.ts";

/**
 * Runs whole texts through an encoder, the first and as many of those behind it as fit into the same
 * run, fewer while others wait for their next token (`shared`). They need no rows of their own.
 */
export async function encodeTexts(
  { runner, waiting }: TurnContext,
  entries: readonly Entry[],
  shared: boolean,
): Promise<void> {
  const { output } = entries[0]!.request;
  const most = Math.min(runner.together(output), shared ? SHARED_CHUNK : Infinity);
  const { texts: chosen, parts } = textsOfRun(entries, output, most);
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
