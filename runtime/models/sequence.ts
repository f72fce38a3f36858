/**
 * Sequences as sessions keep them: what two have in common, what is left of one, what can follow one.
 *
 * @module
 */

/** A text as a program takes it: tokens so far, and what belongs to them. */
export interface Sequence {
  /** Token ids, cached ones too. */
  readonly ids: readonly number[];
  /** Tokens at the start that see each other in both directions. */
  readonly prefixLength?: number;
  /** Segment of each token, for models that number them. */
  readonly tokenTypeIds?: readonly number[];
  /** Task of each token, for models that number them. */
  readonly taskTypeIds?: readonly number[];
  /** Tokens of the prompt that it began with, where these belong together (`PromptRules.together`). */
  readonly opening?: number;
  /** What an encoder reads before the decoder reads `ids`. */
  readonly source?: Sequence;
}

/** What a session has before anything is said. */
export const EMPTY: Sequence = { ids: [] };

/** The first tokens of a sequence; of a prefix or an opening no more than is left. */
export function firstTokens(sequence: Sequence, length: number): Sequence {
  if (length === 0) return EMPTY;
  const { prefixLength, opening } = sequence, ids = sequence.ids.slice(0, length);
  return {
    ...sequence,
    ids,
    ...(prefixLength !== undefined && { prefixLength: Math.min(prefixLength, ids.length) }),
    ...(opening !== undefined && { opening: Math.min(opening, ids.length) }),
  };
}

/**
 * Tokens at the start of both sequences whose keys and values are the same, fewer than `next` has: the
 * last one always runs again.
 */
export function sharedTokens(kept: Sequence, next: Sequence): number {
  if (kept === EMPTY || !sharesSetting(kept, next)) return 0;
  const most = Math.min(kept.ids.length, next.ids.length - 1);
  let shared = 0;
  while (shared < most && kept.ids[shared] === next.ids[shared]) shared++;
  return shared < Math.max(next.prefixLength ?? 0, next.opening ?? 0) ? 0 : shared;
}

/** Whether two sequences differ in nothing but their ids, so that a cache of one serves the other. */
export function sharesSetting(a: Sequence, b: Sequence): boolean {
  const same = (x: readonly number[] = [], y: readonly number[] = []): boolean =>
    x.length === y.length && x.every((it, i) => it === y[i]);
  if ((a.prefixLength ?? 0) !== (b.prefixLength ?? 0)) return false;
  if ((a.opening ?? 0) !== (b.opening ?? 0)) return false;
  if (!same(a.tokenTypeIds, b.tokenTypeIds) || !same(a.taskTypeIds, b.taskTypeIds)) return false;
  if (!a.source || !b.source) return a.source === b.source;
  return same(a.source.ids, b.source.ids) && sharesSetting(a.source, b.source);
}
