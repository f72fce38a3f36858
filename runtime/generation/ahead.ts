/**
 * Generation on a backend that chooses tokens by itself: several are computed in one submission, and
 * the next submission is made before the ids of the last one are there. It knows no text, and does
 * not decide when to stop; what was computed beyond that is forgotten.
 *
 * @module
 */

/** What running ahead needs of a session. */
export interface AheadSession {
  /** Tokens that still fit into the context, before `accept`. */
  readonly room: number;
  /**
   * Runs `count` tokens, the first of which is `id` where nothing is under way; undefined where
   * something is, but another run came between.
   */
  submit(
    id: number,
    count: number,
    underWay: boolean,
    draw: number,
  ): Promise<{ ids: Promise<Int32Array> } | undefined>;
  /** Appends a token that has been computed. */
  accept(id: number): void;
  /** The error where no choice can be right. */
  flaw(): Error;
}

/** Tokens of the first submission: so few that the second token is soon there. */
const FIRST = 2;
/** Most tokens of one submission. */
const MOST = 64;
/** How long a submission shall take: what is shown comes in pieces of this length. */
const BURST_MS = 40;

/** Submissions over which time is measured; two are under way, so that single ones deceive. */
const WINDOW = 5;

/** Token after token, computed ahead. */
export class Ahead {
  readonly #session: AheadSession;
  /** Submissions whose ids are not there yet, oldest first. */
  readonly #waiting: { ids: Promise<Int32Array>; count: number }[] = [];
  #ready: number[] = [];
  /** Number of the next submission's first draw. */
  #draw: number;
  #count = FIRST;
  /** When the ids of the last submissions came, and how many. */
  #arrivals: { time: number; count: number }[] = [];

  /** `draw` random numbers have been drawn before. */
  constructor(session: AheadSession, draw: number) {
    this.#session = session;
    this.#draw = draw;
  }

  /**
   * The token after `id`, which becomes part of the session; at most `most` tokens are still wanted.
   *
   * @throws ModelError when a logit is NaN or Infinity
   */
  async next(id: number, most: number): Promise<number> {
    if (this.#ready.length > 0) this.#session.accept(id);
    else {
      if (this.#waiting.length === 0) {
        this.#arrivals = [];
        await this.#submit(id, most);
      }
      // What comes next is under way while this is waited for.
      if (this.#waiting.length < 2) await this.#submit(id, most);
      this.#session.accept(id);
      const { ids, count } = this.#waiting.shift()!;
      this.#ready = Array.from(await ids);
      this.#adapt(count);
    }
    const next = this.#ready.shift()!;
    if (next < 0) throw this.#session.flaw();
    return next;
  }

  async #submit(id: number, most: number): Promise<void> {
    const underWay = this.#waiting.reduce((sum, { count }) => sum + count, 0);
    const count = Math.min(this.#count, most - underWay, this.#session.room - underWay);
    if (count < 1) return;
    const submitted = await this.#session.submit(id, count, underWay > 0, this.#draw);
    if (!submitted) return;
    submitted.ids.catch(() => {}); // thrown by whoever waits for it, if anyone does
    this.#draw += count;
    this.#waiting.push({ ids: submitted.ids, count });
  }

  /** Chooses the size of further submissions by how long the last ones took. */
  #adapt(count: number): void {
    this.#arrivals.push({ time: performance.now(), count });
    if (this.#arrivals.length > WINDOW) this.#arrivals.shift();
    const [first, ...rest] = this.#arrivals;
    if (rest.length === 0) return;
    const tokens = rest.reduce((sum, { count }) => sum + count, 0);
    const each = (rest.at(-1)!.time - first!.time) / tokens;
    this.#count = Math.max(1, Math.min(MOST, 4 * this.#count, Math.round(BURST_MS / each)));
  }
}
