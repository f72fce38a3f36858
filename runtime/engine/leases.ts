/**
 * Cache rows and who holds them. There are rows for a fixed number of sequences; sessions beyond
 * that number take rows from each other, which costs the loser its cached tokens.
 *
 * @module
 */

/** Whoever needs cache rows. */
export interface LeaseHolder {
  /**
   * Tokens at the start of its sequence whose keys and values are in its rows. Becomes 0 when it
   * loses them.
   */
  cached: number;
  /** Whether what an encoder read for the sequence is in its rows. Becomes false when it loses them. */
  encoded?: boolean;
}

/** What another holder is about: it will not miss its rows, it will, or it must keep them. */
export type HolderState = "idle" | "active" | "pinned";

/**
 * Turns for which an active holder keeps its rows when others wait for them: to compute a whole
 * sequence again after every token would leave time for nothing else.
 */
const SLICE = 32;

/** The rows of all sequences. */
export class Leases {
  /** Least recently used first. */
  readonly #leases: { sequence: number; holder: LeaseHolder | undefined; since: number }[];

  /** Rows for `sequences` sequences. */
  constructor(sequences: number) {
    this.#leases = Array.from(
      { length: sequences },
      (_, sequence) => ({ sequence, holder: undefined, since: 0 }),
    );
  }

  /** Whether it has rows. */
  has(holder: LeaseHolder): boolean {
    return this.#leases.some((it) => it.holder === holder);
  }

  /**
   * The sequence whose rows a holder gets: its own, free ones, those of an idle holder, those of an
   * active one that has had them for its slice of turns; undefined where it has to wait.
   */
  take(
    holder: LeaseHolder,
    turn: number,
    stateOf: (other: LeaseHolder) => HolderState,
  ): number | undefined {
    let at = this.#leases.findIndex((it) => it.holder === holder);
    if (at < 0) at = this.#leases.findIndex((it) => it.holder === undefined);
    if (at < 0) at = this.#leases.findIndex((it) => stateOf(it.holder!) === "idle");
    if (at < 0) {
      this.#leases.forEach(({ holder, since }, i) => {
        if (turn - since < SLICE || stateOf(holder!) === "pinned") return;
        if (at < 0 || since < this.#leases[at]!.since) at = i;
      });
    }
    if (at < 0) return undefined;
    const [lease] = this.#leases.splice(at, 1);
    if (lease!.holder !== holder) {
      if (lease!.holder) forget(lease!.holder);
      forget(holder);
      lease!.holder = holder;
      lease!.since = turn;
    }
    this.#leases.push(lease!);
    return lease!.sequence;
  }

  /** Lets the slice of a holder begin now. */
  renew(holder: LeaseHolder, turn: number): void {
    for (const lease of this.#leases) if (lease.holder === holder) lease.since = turn;
  }

  /** Gives rows back. */
  release(holder: LeaseHolder): void {
    for (const lease of this.#leases) {
      if (lease.holder !== holder) continue;
      lease.holder = undefined;
      forget(holder);
    }
  }

  /** Takes all rows from everybody. */
  releaseAll(): void {
    for (const { holder } of this.#leases) if (holder) this.release(holder);
  }
}

/** Notes that nothing of a sequence is in any rows. */
export function forget(holder: LeaseHolder): void {
  holder.cached = 0;
  holder.encoded = false;
}
