/**
 * The sequences of a model that requests share: as many as the model keeps caches for, each of which
 * remembers its last text, so that the next request that begins alike goes on from there.
 *
 * @module
 */

import type { Model, Session } from "../mod.ts";
import { ApiError } from "./errors.ts";

/** A session that a request has for itself until it is given back. */
export interface Lease extends Disposable {
  /** The session. */
  readonly session: Session;
}

/** Sessions of one model. */
export interface Sessions {
  /** Requests that have a session, and that wait for one. */
  readonly counts: { readonly running: number; readonly waiting: number };
  /**
   * Refuses what would make the queue longer than it may be.
   *
   * @throws ApiError 429 with `Retry-After`
   */
  admit(requests: number): void;
  /**
   * A session for a prompt: of the idle ones the one that has most of it, else the one that was left
   * alone for longest. Who comes first gets the first that is free.
   */
  lease(ids: readonly number[], signal: AbortSignal): Promise<Lease>;
}

/** Seconds after which a client that was refused may come again. */
const RETRY_SECONDS = 1;

/** Makes the sessions of a model, before which at most `queue` requests wait. */
export function sessionsOf(model: Model, queue: number): Sessions {
  const idle: Session[] = []; // the one that was left alone for longest first
  const waiting: (() => void)[] = [];
  let made = 0, running = 0;

  /** The idle session that has most of a prompt, or a new one where there may be more. */
  const take = (ids: readonly number[]): Session => {
    const shared = idle.map(({ history }) => commonLength(history, ids));
    const best = shared.indexOf(Math.max(...shared));
    // Every prompt begins with the same token: one that shares no more is better off alone.
    if (made < model.sequences && (best < 0 || shared[best]! <= 1)) {
      made++;
      return model.session();
    }
    return idle.splice(best, 1)[0]!;
  };
  return {
    get counts() {
      return { running, waiting: waiting.length };
    },
    admit(requests) {
      const free = Math.max(0, model.sequences - running);
      if (waiting.length + Math.max(0, requests - free) <= queue) return;
      throw new ApiError(
        429,
        "rate_limit_error",
        `Cannot answer now: ${running} requests run and ${waiting.length} wait, of at most ` +
          `${model.sequences} and ${queue}; try again`,
        { code: "queue_full", headers: { "retry-after": String(RETRY_SECONDS) } },
      );
    },
    async lease(ids, signal) {
      signal.throwIfAborted();
      if (running < model.sequences && waiting.length === 0) running++;
      else await turn(waiting, signal);
      const session = take(ids);
      let isOver = false;
      return {
        session,
        [Symbol.dispose](): void {
          if (isOver) return;
          isOver = true;
          idle.push(session);
          const next = waiting.shift();
          if (next) next(); // which runs in its place
          else running--;
        },
      };
    },
  };
}

/** Waits until it is one's turn. */
function turn(waiting: (() => void)[], signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      waiting.splice(waiting.indexOf(begin), 1);
      reject(signal.reason);
    };
    const begin = (): void => {
      signal.removeEventListener("abort", leave);
      resolve();
    };
    waiting.push(begin);
    signal.addEventListener("abort", leave, { once: true });
  });
}

function commonLength(a: readonly number[], b: readonly number[]): number {
  const most = Math.min(a.length, b.length);
  let length = 0;
  while (length < most && a[length] === b[length]) length++;
  return length;
}
