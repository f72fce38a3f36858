/**
 * How two texts become one sequence: what a model expects before, between and after them, and which
 * segment each token belongs to.
 *
 * @module
 */

/** A part of such a sequence. */
export interface PairPart {
  /** One of the two texts, or tokens of the model's own. */
  readonly content: "first" | "second" | readonly number[];
  /** Segment of its tokens, BERT's token type. */
  readonly segment: number;
}

/** A text or two as a model reads them. */
export interface SurroundedIds {
  /** Token ids. */
  readonly ids: number[];
  /** Segment of each token, for models that number them. `[ids]` */
  readonly tokenTypeIds: number[];
}

/** `[CLS] first [SEP] second [SEP]`, the second text and its end in a segment of their own: BERT. */
export function bertPair(cls: number, sep: number): readonly PairPart[] {
  return [
    { content: [cls], segment: 0 },
    { content: "first", segment: 0 },
    { content: [sep], segment: 0 },
    { content: "second", segment: 1 },
    { content: [sep], segment: 1 },
  ];
}

/** `<s> first </s></s> second </s>`, all in one segment: RoBERTa and XLM-R. */
export function robertaPair(cls: number, sep: number): readonly PairPart[] {
  return [
    { content: [cls], segment: 0 },
    { content: "first", segment: 0 },
    { content: [sep, sep], segment: 0 },
    { content: "second", segment: 0 },
    { content: [sep], segment: 0 },
  ];
}

/** The sequence that the parts make of two texts. */
export function joinPair(
  parts: readonly PairPart[],
  first: readonly number[],
  second: readonly number[],
): SurroundedIds {
  const ids: number[] = [], tokenTypeIds: number[] = [];
  for (const { content, segment } of parts) {
    const list = content === "first" ? first : content === "second" ? second : content;
    for (const id of list) {
      ids.push(id);
      tokenTypeIds.push(segment);
    }
  }
  return { ids, tokenTypeIds };
}
