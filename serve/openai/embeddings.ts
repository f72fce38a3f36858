/**
 * `POST /v1/embeddings`, as OpenAI describes it
 * (https://platform.openai.com/docs/api-reference/embeddings).
 *
 * @module
 */

import { z } from "../deps.ts";
import { badRequest, refusalOf } from "../errors.ts";
import type { ServedModel } from "../models.ts";
import type { Answer } from "./answer.ts";

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

/** Makes vectors of texts, pooled and normalized as the model's own files say. */
export async function answerEmbeddings(
  served: ServedModel,
  { input, encoding_format: format = "float", dimensions }: EmbeddingFields,
  signal: AbortSignal,
): Promise<Answer> {
  const { model, name, sessions } = served;
  const texts = typeof input === "string" ? [input] : input;
  sessions.admit(1);
  using _place = await sessions.lease([], signal); // so that no more than the queue has room for wait
  let vectors: readonly Float32Array[], tokens = 0;
  try {
    for (const text of texts) tokens += model.tokenizer.encode(text).length;
    vectors = await model.embed(texts, { signal });
  } catch (error) {
    signal.throwIfAborted();
    throw refusalOf(error);
  }
  const width = vectors[0]!.length;
  if (dimensions !== undefined && dimensions > width) {
    throw badRequest(
      `Cannot answer: dimensions is ${dimensions}, the vectors of this model have ${width}`,
      { param: "dimensions" },
    );
  }
  const data = vectors.map((vector, index) => ({
    object: "embedding",
    index,
    embedding: written(dimensions === undefined ? vector : shortened(vector, dimensions), format),
  }));
  const usage = { prompt_tokens: tokens, total_tokens: tokens };
  return { whole: { object: "list", data, model: name, usage } };
}

/** The first numbers of a vector, scaled to length 1 again, as models with such vectors are trained. */
function shortened(vector: Float32Array, dimensions: number): Float32Array {
  const first = vector.subarray(0, dimensions);
  const length = Math.hypot(...first);
  return length > 0 ? first.map((it) => it / length) : first;
}

/** As numbers, or as the bytes of little-endian f32 in base64. */
function written(vector: Float32Array, format: "float" | "base64"): readonly number[] | string {
  if (format === "float") return Array.from(vector, (it) => Number(it.toPrecision(9)));
  const view = new DataView(new ArrayBuffer(4 * vector.length));
  vector.forEach((it, i) => view.setFloat32(4 * i, it, true));
  return new Uint8Array(view.buffer).toBase64();
}
