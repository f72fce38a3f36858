/**
 * What a route answers: one object, or the events of a stream.
 *
 * @module
 */

/** One of both. */
export type Answer =
  | { readonly whole: object }
  | { readonly events: AsyncGenerator<object, void, void> };
