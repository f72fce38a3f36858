/**
 * How a server behaves: who may ask, how much at once, how long.
 *
 * @module
 */

import { CALLBACK, readOptions, type Rules, SIGNAL, TEXTS, wholeNumberIn } from "../options.ts";

/** A request that has been answered, or whose answer has begun. */
export interface ServedRequest {
  /** HTTP method. */
  readonly method: string;
  /** Path without what stands behind "?". */
  readonly path: string;
  /** HTTP status of the answer. */
  readonly status: number;
  /** Milliseconds until the answer, or its first piece, was there. */
  readonly ms: number;
  /** What was wrong, where something was. */
  readonly error?: unknown;
}

/** How to serve. */
export interface ServeOptions {
  /** Keys of which a request must show one, as `Authorization: Bearer KEY`; none where absent. */
  readonly apiKeys?: readonly string[];
  /**
   * Origins of pages that may ask beside those that come from the server itself, as
   * `https://chat.example`; `*` for all. None where absent.
   */
  readonly origins?: readonly string[];
  /**
   * Names by which the server may be called beside those of loopback; `*` for all. None where absent: a
   * page that has its own name point to this machine is refused.
   */
  readonly hosts?: readonly string[];
  /** Most requests that wait for a model. Default 64; more are told to come again. */
  readonly queue?: number;
  /** Most bytes of a request's body. Default 16 MiB. */
  readonly maxBodyBytes?: number;
  /** Longest time of an answer, in milliseconds. Default 10 minutes. */
  readonly timeoutMs?: number;
  /** Longest time for which a client may take nothing of a stream, in milliseconds. Default 30 seconds. */
  readonly stallMs?: number;
  /** Ends all answers with its reason; streams are told. */
  readonly signal?: AbortSignal;
  /** Told of each request. */
  readonly onRequest?: (request: ServedRequest) => void;
}

/** Whether a host names this machine and no other machine can be called by it. */
export function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|::1)$/.test(host);
}

const MOST = Number.MAX_SAFE_INTEGER, LONGEST_MS = 2 ** 31 - 1;

const SERVE_RULES: Rules<ServeOptions> = {
  apiKeys: TEXTS,
  origins: TEXTS,
  hosts: TEXTS,
  queue: wholeNumberIn(0, MOST),
  maxBodyBytes: wholeNumberIn(1, MOST),
  timeoutMs: wholeNumberIn(1, LONGEST_MS),
  stallMs: wholeNumberIn(1, LONGEST_MS),
  signal: SIGNAL,
  onRequest: CALLBACK,
};

/**
 * The options with their defaults.
 *
 * @throws InputError when one is unknown or wrong
 */
export function readServeOptions(
  given: ServeOptions,
): ServeOptions & Required<Omit<ServeOptions, "signal" | "onRequest">> {
  return {
    ...{ apiKeys: [], origins: [], hosts: [], queue: 64, maxBodyBytes: 16 << 20 },
    ...{ timeoutMs: 600_000, stallMs: 30_000 },
    ...readOptions("serve", given, SERVE_RULES),
  };
}
