/**
 * How requests fail: the two kinds of failure, the watch that notices silence, and waiting.
 *
 * @module
 */
import { SourceError } from "../../errors.ts";
import { plain } from "../../escape.ts";

/** A server's definite answer: asking again gives the same. */
export class HttpError extends SourceError {
  /** The HTTP status; 0 where the fault is no status. */
  readonly status: number;
  /** An answer that was refused with `status`. */
  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

/** A failure of the moment: connection, stall, overload. Retried before anybody sees it. */
export class NetworkError extends SourceError {
  /** What the server's Retry-After asks for in ms; 0 when it asks for nothing. */
  readonly retryAfterMs: number;
  /** A failure after which the server wants `retryAfterMs` of peace. */
  constructor(message: string, retryAfterMs = 0) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

/** Bytes that come, but too slowly to be waited for. */
export class SlowError extends NetworkError {}

/** What a connection must bring to be waited for. */
export interface Pace {
  /** Silence in ms after which it counts as dead. */
  readonly stallMs: number;
  /** Time in ms over which its rate is measured. */
  readonly slowMs: number;
  /** Bytes a second that it must bring on the average of `slowMs`. */
  readonly slowRate: number;
}

/** A request's signal, aborted by silence, by a trickle or by the caller. */
export interface StallWatch {
  /** For `fetch`. */
  readonly signal: AbortSignal;
  /** From here on bytes are waited for. */
  touch(): void;
  /** So many came; nothing is waited for now. */
  pause(bytes?: number): void;
  /** The request is over. */
  stop(): void;
  /** Drops the connection. */
  abort(): void;
  /** What an error of the request means: the caller's reason, a stall, a cut, or itself. */
  explain(error: unknown, subject: string, host: string): unknown;
}

/** Aborts a request when nothing or too little comes, and tells that apart from other ends. */
export function stallWatch(pace: Pace, outer?: AbortSignal): StallWatch {
  const { stallMs, slowMs, slowRate } = pace;
  const controller = new AbortController();
  let stalled = false, slow = false;
  let since = 0, waited = 0, came = 0; // of the measurement under way: begin of the wait, ms, bytes
  let timer: ReturnType<typeof setTimeout> | undefined;
  const forward = () => controller.abort(outer?.reason);
  if (outer?.aborted) forward();
  else outer?.addEventListener("abort", forward, { once: true });
  const watch: StallWatch = {
    signal: controller.signal,
    touch() {
      clearTimeout(timer);
      since = performance.now();
      timer = setTimeout(() => {
        stalled = true;
        controller.abort();
      }, stallMs);
    },
    pause(bytes = 0) {
      clearTimeout(timer);
      waited += performance.now() - since;
      came += bytes;
      if (waited < slowMs) return;
      slow = came / waited * 1000 < slowRate;
      waited = came = 0;
      if (slow) controller.abort();
    },
    stop() {
      clearTimeout(timer);
      outer?.removeEventListener("abort", forward);
    },
    abort() {
      watch.stop();
      controller.abort();
    },
    explain(error, subject, host) {
      if (outer?.aborted) return outer.reason;
      if (error instanceof SourceError) return error;
      if (stalled) {
        return new NetworkError(
          `Cannot fetch ${subject}: ${host} sent nothing for ${stallMs / 1000} s`,
        );
      }
      if (slow) {
        return new SlowError(
          `Cannot fetch ${subject}: ${host} sends less than ${slowRate} bytes a second`,
        );
      }
      if (!(error instanceof Error)) return error;
      if (error.name === "NotCapable") {
        return new HttpError(`Cannot fetch ${subject}: ${plain(error.message)}`, 0);
      }
      // The cause is what happened; it repeats the URL, whose query may be a signature.
      const { message } = error.cause instanceof Error ? error.cause : error;
      const reason = message.replace(/^.*https?:\/\/\S+\s*/, "").replace(
        /^client error \(\w+\): /,
        "",
      );
      return new NetworkError(`Cannot fetch ${subject} from ${host}: ${plain(reason, 300)}`);
    },
  };
  return watch;
}

/** Retry-After as ms from now: seconds or an HTTP date (RFC 9110 §10.2.3); 0 when absent or past. */
export function retryAfterMs(value: string | null): number {
  if (value === null) return 0;
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : 0;
}

/** Waits, unless the signal ends it first; then throws the signal's reason. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    if (ms <= 0) return resolve();
    const stop = () => {
      clearTimeout(timer);
      reject(signal!.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
