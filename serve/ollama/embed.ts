/**
 * `POST /api/embed`, as Ollama describes it (https://github.com/ollama/ollama/blob/main/docs/api.md), but
 * that a text which is too long is refused where `truncate` is not said.
 *
 * @module
 */

import { jsonNumbers } from "../../escape.ts";
import type { Answer } from "../answer.ts";
import { z } from "../deps.ts";
import type { ServedModel } from "../models.ts";
import { vectorsOf } from "../vectors.ts";
import { OPTIONS } from "./options.ts";

/** What a request may say. */
export const EMBED_FIELDS = z.strictObject({
  model: z.string().optional(),
  input: z.union([z.string(), z.array(z.string()).min(1).max(2048)]),
  truncate: z.boolean().optional(),
  dimensions: z.int().min(1).optional(),
  options: OPTIONS,
});

/** Makes vectors of texts. */
export async function answerEmbed(
  served: ServedModel,
  { input, truncate = false, dimensions }: z.output<typeof EMBED_FIELDS>,
  signal: AbortSignal,
): Promise<Answer> {
  const start = performance.now();
  const texts = typeof input === "string" ? [input] : input;
  const { vectors, tokens } = await vectorsOf(served, texts, { truncate, dimensions }, signal);
  return {
    whole: {
      model: served.name,
      embeddings: vectors.map(jsonNumbers),
      total_duration: Math.round((performance.now() - start) * 1e6),
      load_duration: 0,
      prompt_eval_count: tokens,
    },
  };
}
