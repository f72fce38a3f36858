/**
 * What a measurement leaves behind: a table of ratios by name, which hold better than times from one
 * day to the next, and how two such tables differ.
 *
 * @module
 */

import { digits, type Machine, type Spread } from "./stats.ts";

/** Ratios by name; more is better. */
export type Ratios = Readonly<Record<string, Spread>>;

/** What every `--json` of kernels, peers and gpu holds, beside its own rows. */
export interface Measured {
  /** Where. */
  readonly machine: Machine;
  /** What was compared with what. */
  readonly ratios: Ratios;
}

/** A kept table: the last accepted ratios of a machine. */
export interface Baseline {
  /** Machine, as its measurements describe it. */
  readonly machine: Machine;
  /** Ratios, with the day on which each was accepted. */
  readonly ratios: Readonly<Record<string, Spread & { readonly accepted: string }>>;
}

/** How one ratio moved. */
export interface Move {
  /** What was measured, as the record calls it. */
  readonly name: string;
  /** What happened: `same` is within the noise of both measurements. */
  readonly verdict: "better" | "worse" | "same" | "new" | "absent";
  /** Accepted before; absent where it is new. */
  readonly before?: Spread;
  /** Measured now; absent where it was not. */
  readonly now?: Spread;
}

/** A change of the median below this is never called one. */
const LEAST_CHANGE = 0.03;

/**
 * Compares ratios with accepted ones. One has moved when each median lies outside the other's range
 * and they differ by 3 % or more; ranges may overlap at their ends, since one slow run of five is no
 * reason to be silent.
 */
export function compareRatios(before: Ratios, now: Ratios): Move[] {
  const names = new Set([...Object.keys(before), ...Object.keys(now)]);
  return Array.from(names, (name): Move => {
    const old = before[name], fresh = now[name];
    if (!old) return { name, verdict: "new", now: fresh! };
    if (!fresh) return { name, verdict: "absent", before: old };
    const both = { name, before: old, now: fresh };
    const isOutside = (median: number, { min, max }: Spread): boolean =>
      median < min || median > max;
    const change = fresh.median / old.median - 1;
    const moved = Math.abs(change) >= LEAST_CHANGE && isOutside(fresh.median, old) &&
      isOutside(old.median, fresh);
    return { ...both, verdict: !moved ? "same" : change > 0 ? "better" : "worse" };
  });
}

/** Takes new ratios into a baseline; those that were not measured stay. */
export function acceptRatios(
  baseline: Baseline | undefined,
  { machine, ratios }: Measured,
  day: string,
): Baseline {
  const merged = { ...baseline?.ratios };
  for (const [name, { min, median, max }] of Object.entries(ratios)) {
    merged[name] = { min, median, max, accepted: day };
  }
  const sorted = Object.entries(merged).sort(([a], [b]) => a < b ? -1 : 1);
  return { machine, ratios: Object.fromEntries(sorted) };
}

/** File name for a machine: its GPU where one was measured, else its processor and its cores. */
export function machineName({ cpu, cores, adapter }: Machine): string {
  const plain = (adapter ?? cpu).toLowerCase().replace(/\(r\)|\(tm\)|processor|cpu/g, " ");
  const slug = plain.replace(/[^a-z0-9.]+/g, "-").replace(/^-|-$/g, "");
  return adapter === undefined ? `${slug}-${cores}-cores` : slug;
}

/** A table of moves as text, one line each; nothing of what is the same. */
export function describeMoves(moves: readonly Move[]): string {
  const show = (it: Spread | undefined): string =>
    it ? `${digits(it.median, 3)} (${digits(it.min, 3)} to ${digits(it.max, 3)})` : "-";
  const lines = moves.filter(({ verdict }) => verdict !== "same").map((move) =>
    `${move.verdict.padEnd(7)} ${move.name}: ${show(move.before)} → ${show(move.now)}`
  );
  const count = (verdict: Move["verdict"]): number =>
    moves.filter((move) => move.verdict === verdict).length;
  lines.push(
    `${count("worse")} worse, ${count("better")} better, ${count("same")} the same, ` +
      `${count("new")} new, ${count("absent")} not measured`,
  );
  return lines.join("\n");
}
