/**
 * Which of several choices each item gets, so that the costs add up to little and the sizes to no more
 * than there is: a knapsack with one choice of each kind.
 *
 * @module
 */

/** One way to store an item. */
export interface Choice {
  /** Type of its numbers. */
  readonly type: string;
  /** Its size. */
  readonly bytes: number;
  /** What it costs in quality. */
  readonly cost: number;
}

/** Choices for the items so far. */
interface State {
  readonly bytes: number;
  readonly cost: number;
  /** The choice for the last of them, and the state before. */
  readonly choice?: Choice;
  readonly before?: State;
}

/** Most states that are gone on with; with fewer than that the result is the best there is. */
const MOST_STATES = 1024;

/**
 * The choice for each item with a small sum of costs whose sizes add up to at most `budget`.
 *
 * Item after item, every sum of sizes is kept that costs less than all smaller ones; of many that lie
 * close together the one that costs least.
 *
 * @param items at least one choice for each; `budget` must hold the smallest of each
 *
 * @example
 * ```ts
 * import { spend } from "./spend.ts";
 *
 * const small = { type: "Q4_0", bytes: 18, cost: 1 }, large = { type: "Q8_0", bytes: 34, cost: 0.1 };
 * spend([[small, large], [small, { ...large, cost: 0.5 }]], 60); // the first gets Q8_0
 * ```
 */
export function spend(items: readonly (readonly Choice[])[], budget: number): Choice[] {
  const least = items.map((choices) => Math.min(...choices.map((it) => it.bytes)));
  let needed = least.reduce((sum, it) => sum + it, 0);
  let states: State[] = [{ bytes: 0, cost: 0 }];
  for (const [i, choices] of items.entries()) {
    needed -= least[i]!;
    const next = states.flatMap((before) =>
      choices.map((choice): State => ({
        ...{ bytes: before.bytes + choice.bytes, cost: before.cost + choice.cost },
        ...{ choice, before },
      }))
    ).filter((it) => it.bytes <= budget - needed);
    states = thinned(next.sort((a, b) => a.bytes - b.bytes || a.cost - b.cost));
  }
  const chosen: Choice[] = [];
  // Costs fall as sizes grow.
  for (let it: State | undefined = states.at(-1); it?.choice; it = it.before) {
    chosen.unshift(it.choice);
  }
  return chosen;
}

/** Of states in order of size those that cost less than all before, and not too many of them. */
function thinned(sorted: readonly State[]): State[] {
  let cost = Infinity;
  const better = sorted.filter((it) => it.cost < cost && (cost = it.cost, true));
  if (better.length <= MOST_STATES) return better;
  const [first, last] = [better[0]!, better.at(-1)!];
  const width = (last.bytes - first.bytes) / MOST_STATES;
  const placeOf = ({ bytes }: State): number => Math.floor((bytes - first.bytes) / width);
  // The first must stay, or there might be nothing that fits; else the last of each place costs least.
  return better.filter((it, i) =>
    i === 0 || i + 1 === better.length || placeOf(it) !== placeOf(better[i + 1]!)
  );
}
