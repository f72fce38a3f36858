/**
 * Cache rows and who holds them. There are rows for a fixed number of sequences; sessions beyond
 * that number take rows from each other, which costs the loser its cached tokens.
 *
 * @module
 */

import type { Sequence } from "../models/sequence.ts";

/** Whoever needs cache rows. */
export interface LeaseHolder {
  /**
   * Tokens at the start of its sequence whose keys and values are in its rows. Becomes 0 when it
   * loses them.
   */
  cached: number;
  /** Whether what an encoder read for the sequence is in its rows. Becomes false when it loses them. */
  encoded?: boolean;
  /**
   * Tokens at the start whose rows are, to the bit, those of any prompt that begins with them; see
   * sharing.ts. Those behind `cached` do not count.
   */
  standard?: number;
  /** How many of the tokens of its last prompt came from the rows of another holder. */
  taken?: number;
}

/** What rows hold. */
export interface HeldRows extends Readonly<LeaseHolder> {
  /** The tokens; there may be more of them than are cached, or fewer. */
  readonly sequence: Sequence;
}

/** The rows of one sequence. */
export interface Lease {
  /** That of its first token. */
  readonly firstRow: number;
  /** What the one before has left in them, until its holder writes into them. */
  left: HeldRows | undefined;
}

/** What another holder is about: it will not miss its rows, it will, or it must keep them. */
export type HolderState = "idle" | "active" | "pinned";

/**
 * Turns for which an active holder keeps its rows when others wait for them: to compute a whole
 * sequence again after every token would leave time for nothing else.
 */
const SLICE = 32;

interface Entry extends Lease {
  holder: LeaseHolder | undefined;
  /** What was last run in them. */
  sequence: Sequence | undefined;
  /** Turn in which its holder got them. */
  since: number;
}

/** The rows of all sequences. */
export class Leases {
  /** Least recently used first. */
  readonly #leases: Entry[];
  #turn = 0;

  /** Rows for `sequences` sequences, `rows` for each, of which the first `blank` are before its tokens'. */
  constructor(sequences: number, rows: number, blank: number) {
    this.#leases = Array.from({ length: sequences }, (_, i) => ({
      firstRow: i * rows + blank,
      holder: undefined,
      sequence: undefined,
      left: undefined,
      since: 0,
    }));
  }

  /** Begins a turn: holders keep their rows for a number of them. */
  nextTurn(): void {
    this.#turn++;
  }

  /** Its rows, if it has any. */
  of(holder: LeaseHolder): Lease | undefined {
    return this.#leases.find((it) => it.holder === holder);
  }

  /**
   * The rows that a holder gets for a sequence: its own, free ones, those of the idle holder that has
   * not used them for longest, those of an active one that has had them for its slice of turns;
   * undefined where it has to wait.
   */
  take(
    holder: LeaseHolder,
    sequence: Sequence,
    stateOf: (other: LeaseHolder) => HolderState,
  ): Lease | undefined {
    let at = this.#leases.findIndex((it) => it.holder === holder);
    if (at < 0) at = this.#leases.findIndex((it) => it.holder === undefined);
    if (at < 0) at = this.#leases.findIndex((it) => stateOf(it.holder!) === "idle");
    if (at < 0) {
      this.#leases.forEach(({ holder, since }, i) => {
        if (this.#turn - since < SLICE || stateOf(holder!) === "pinned") return;
        if (at < 0 || since < this.#leases[at]!.since) at = i;
      });
    }
    if (at < 0) return undefined;
    const lease = this.#leases.splice(at, 1)[0]!;
    if (lease.holder !== holder) {
      lease.left = heldBy(lease);
      if (lease.holder) forget(lease.holder);
      forget(holder);
      lease.holder = holder;
      lease.since = this.#turn;
    }
    lease.sequence = sequence;
    this.#leases.push(lease);
    return lease;
  }

  /** What the rows of all others hold, and what was left in those of `own`. */
  *held(own: Lease): Iterable<readonly [lease: Lease, rows: HeldRows]> {
    if (own.left) yield [own, own.left];
    for (const lease of this.#leases) {
      const rows = lease === own ? undefined : heldBy(lease);
      if (rows) yield [lease, rows];
    }
  }

  /** Lets the slice of a holder begin now. */
  renew(holder: LeaseHolder): void {
    for (const lease of this.#leases) if (lease.holder === holder) lease.since = this.#turn;
  }

  /** Gives rows back. */
  release(holder: LeaseHolder): void {
    for (const lease of this.#leases) {
      if (lease.holder !== holder) continue;
      lease.holder = lease.sequence = lease.left = undefined;
      forget(holder);
    }
  }

  /** Takes all rows from everybody. */
  releaseAll(): void {
    for (const { holder } of this.#leases) if (holder) this.release(holder);
  }
}

/** What the holder of rows has in them. */
function heldBy({ holder, sequence }: Entry): HeldRows | undefined {
  return holder && sequence && { ...holder, sequence };
}

/** Notes that nothing of a sequence is in any rows. */
export function forget(holder: LeaseHolder): void {
  holder.cached = holder.standard = 0;
  holder.encoded = false;
}
