/**
 * How patient transfers are, and how much they ask for at once.
 *
 * @module
 */
import type { Pace } from "./failures.ts";

/** Patience and parallelism of transfers; the defaults suit real networks, tests shrink them. */
export interface TransferTuning extends Pace {
  /** Failures in a row, without progress between them, that a request survives. Default 8. */
  readonly retries: number;
  /** The same while nobody has answered at all, as without a network. Default 3. */
  readonly firstRetries: number;
  /** First wait before a retry in ms; doubles each time, less up to half at random. Default 500. */
  readonly backoffMs: number;
  /** Longest wait before a retry in ms, also when the server's Retry-After asks for more. Default 60 000. */
  readonly maxWaitMs: number;
  /** Longest time in ms for a lookup: a commit, or all pages of a listing. Default 600 000. */
  readonly lookupMs: number;
  /** Connections for one large file. Default 4. */
  readonly connections: number;
  /** Bytes that one ranged request asks for. Default 16 MiB. */
  readonly segmentBytes: number;
}

/** The defaults of {@linkcode TransferTuning}. */
export const TRANSFER_TUNING: TransferTuning = {
  retries: 8,
  firstRetries: 3,
  backoffMs: 500,
  maxWaitMs: 60_000,
  lookupMs: 600_000,
  stallMs: 30_000,
  slowMs: 60_000, // generous: a modem of 1990 brings 300 bytes a second
  slowRate: 250,
  connections: 4,
  segmentBytes: 16 << 20,
};
