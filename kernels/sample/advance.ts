/**
 * How the inputs of a run go on to the next one, where a backend chooses tokens by itself.
 *
 * @module
 */

/** How an input of one or two numbers goes on from one token to the next. */
export interface Advance {
  /** What is added to each of its numbers. */
  readonly step: readonly number[];
  /** Where its two numbers are the start and the end of a span: the most that may lie between them. */
  readonly window?: number | undefined;
}
