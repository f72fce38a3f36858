/**
 * Vectors of the texts of a request.
 *
 * @module
 */

import { refusalOf } from "./errors.ts";
import { checkLength } from "./generation.ts";
import type { ServedModel } from "./models.ts";

/** How vectors are made. */
export interface VectorOptions {
  /** Whether the beginning of a text that is too long will do. */
  readonly truncate: boolean;
  /** How many of their first numbers are wanted; all where absent. */
  readonly dimensions: number | undefined;
}

/** Makes them, pooled and normalized as the model's own files say. */
export async function vectorsOf(
  served: ServedModel,
  texts: readonly string[],
  { truncate, dimensions }: VectorOptions,
  signal: AbortSignal,
): Promise<{ readonly vectors: readonly Float32Array[]; readonly tokens: number }> {
  const { model, sessions } = served;
  sessions.admit(1);
  using _place = await sessions.lease([], signal); // so that no more than the queue has room for wait
  if (!truncate) texts.forEach((text) => checkLength(served, text.length, "input"));
  try {
    const tokens = texts.reduce((sum, text) => sum + model.tokenizer.encode(text).length, 0);
    const vectors = await model.embed(texts, {
      ...{ truncate, signal },
      ...(dimensions !== undefined && { dimensions }),
    });
    return { vectors, tokens };
  } catch (error) {
    signal.throwIfAborted();
    throw refusalOf(error);
  }
}
