/**
 * How requests fail: the two kinds of failure, the watch that notices silence, and waiting.
 *
 * @module
 */
import { SourceError } from "../../errors.ts";

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

/** A request's signal, aborted by silence or by the caller. */
export interface StallWatch {
  /** For `fetch`. */
  readonly signal: AbortSignal;
  /** Something moved: the silence begins anew. */
  touch(): void;
  /** Nothing is expected for now. */
  pause(): void;
  /** The request is over. */
  stop(): void;
  /** Drops the connection. */
  abort(): void;
  /** What an error of the request means: the caller's reason, a stall, a cut, or itself. */
  explain(error: unknown, subject: string, host: string): unknown;
}

/** Aborts a request when nothing moved for `ms`, and tells that apart from other ends. */
export function stallWatch(ms: number, outer?: AbortSignal): StallWatch {
  const controller = new AbortController();
  let stalled = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const forward = () => controller.abort(outer?.reason);
  if (outer?.aborted) forward();
  else outer?.addEventListener("abort", forward, { once: true });
  const watch: StallWatch = {
    signal: controller.signal,
    touch() {
      clearTimeout(timer);
      timer = setTimeout(() => {
        stalled = true;
        controller.abort();
      }, ms);
    },
    pause: () => clearTimeout(timer),
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
        return new NetworkError(`Cannot fetch ${subject}: ${host} sent nothing for ${ms / 1000} s`);
      }
      if (!(error instanceof Error)) return error;
      if (error instanceof Deno.errors.NotCapable) {
        return new HttpError(`Cannot fetch ${subject}: ${error.message}`, 0);
      }
      // The cause is what happened; it repeats the URL, whose query may be a signature.
      const { message } = error.cause instanceof Error ? error.cause : error;
      const reason = message.replace(/^.*https?:\/\/\S+\s*/, "").replace(
        /^client error \(\w+\): /,
        "",
      );
      return new NetworkError(`Cannot fetch ${subject} from ${host}: ${reason}`);
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
