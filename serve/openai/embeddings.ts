/**
 * `POST /v1/embeddings`, as OpenAI describes it
 * (https://platform.openai.com/docs/api-reference/embeddings).
 *
 * @module
 */

import { jsonNumbers } from "../../escape.ts";
import { z } from "../deps.ts";
import type { ServedModel } from "../models.ts";
import { vectorsOf } from "../vectors.ts";
import type { Answer } from "../answer.ts";

/** What a request may say. */
export const EMBEDDING_FIELDS = z.strictObject({
  model: z.string().optional(),
  input: z.union(
    [z.string(), z.array(z.string()).min(1).max(2048)],
    "expected a text or a list of 1 to 2048 texts; token ids are not supported",
  ),
  encoding_format: z.enum(["float", "base64"]).optional(),
  dimensions: z.int().min(1).optional(),
});

/** The fields of a request. */
export type EmbeddingFields = z.output<typeof EMBEDDING_FIELDS>;

/** Makes vectors of texts. */
export async function answerEmbeddings(
  served: ServedModel,
  { input, encoding_format: format = "float", dimensions }: EmbeddingFields,
  signal: AbortSignal,
): Promise<Answer> {
  const texts = typeof input === "string" ? [input] : input;
  const options = { truncate: false, dimensions };
  const { vectors, tokens } = await vectorsOf(served, texts, options, signal);
  const data = vectors.map((vector, index) => ({
    object: "embedding",
    index,
    embedding: written(vector, format),
  }));
  const usage = { prompt_tokens: tokens, total_tokens: tokens };
  return { whole: { object: "list", data, model: served.name, usage } };
}

/** As numbers, or as the bytes of little-endian f32 in base64. */
function written(vector: Float32Array, format: "float" | "base64"): readonly number[] | string {
  if (format === "float") return jsonNumbers(vector);
  const view = new DataView(new ArrayBuffer(4 * vector.length));
  vector.forEach((it, i) => view.setFloat32(4 * i, it, true));
  return new Uint8Array(view.buffer).toBase64();
}
