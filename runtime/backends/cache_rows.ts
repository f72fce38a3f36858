/**
 * Rows of caches as a backend hands them over: copied from one sequence to another, read to be kept,
 * written again. Part of the contract in backend.ts.
 *
 * @module
 */

/**
 * Rows of placed caches `[rows, kvHeads, headDim]`, by the cache's name. A range begins at a multiple
 * of 128 rows, where a sequence begins. What follows it up to the end of a block of rows that are
 * stored together is overwritten, too: those rows belong to the same sequence.
 */
export interface CacheRows {
  /** How rows are stored; bytes of one form mean nothing to another. */
  readonly form: string;
  /** Bytes of the first `rows` rows of a sequence, whole blocks. */
  bytes(cache: string, rows: number): number;
  /** Copies `rows` rows from row `from` on to row `to`. */
  copy(cache: string, from: number, to: number, rows: number): void;
  /** The bytes of `rows` rows from row `from` on; those of rows behind them are zeros. */
  read(cache: string, from: number, rows: number): Promise<Uint8Array>;
  /** Writes what `read` gave for `rows` rows, from row `to` on. */
  write(cache: string, to: number, rows: number, bytes: Uint8Array): Promise<void>;
}
