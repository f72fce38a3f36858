/**
 * The options of Ollama's requests: what texts are drawn by, and what its own engine is told, which has
 * no meaning here (https://github.com/ollama/ollama/blob/main/docs/modelfile.mdx).
 *
 * @module
 */

import type { GenerateOptions } from "../../mod.ts";
import { z } from "../deps.ts";
import { badRequest } from "../errors.ts";
import { samplingOf, topOf } from "../generation.ts";
import type { ServedModel } from "../models.ts";

/** What tells Ollama's engine how to work, not what to answer. */
const ENGINE = [
  ...["f16_kv", "low_vram", "main_gpu", "num_batch", "num_gpu", "num_keep", "num_thread", "numa"],
  ...["use_mlock", "use_mmap", "vocab_only"],
];

/** Names of the options of a request that have no effect. */
export function ignoredOptions(body: Readonly<Record<string, unknown>>): string[] {
  const names = Object.keys(Object(body.options));
  return names.filter((it) => ENGINE.includes(it)).map((it) => `options.${it}`);
}

/** What options may be; those of `ENGINE` anything. */
export const OPTIONS = z.strictObject({
  temperature: z.number().min(0).optional(),
  top_k: z.int().min(0).optional(),
  top_p: z.number().min(0).max(1).optional(),
  min_p: z.number().min(0).max(1).optional(),
  repeat_penalty: z.number().gt(0).optional(),
  repeat_last_n: z.literal(64, "expected 64, the tokens that are looked back at").optional(),
  presence_penalty: z.number().optional(),
  frequency_penalty: z.number().optional(),
  seed: z.int().optional(),
  num_predict: z.int().min(-1).optional(),
  num_ctx: z.int().min(1).optional(),
  stop: z.union([z.string(), z.array(z.string()).max(16)]).optional(),
  ...Object.fromEntries(ENGINE.map((it) => [it, z.unknown().optional()])),
}).optional();

/** The fields that conversations and prompts have in common. */
export const COMMON = {
  model: z.string().optional(),
  stream: z.boolean().optional(),
  options: OPTIONS,
  think: z.literal(false, "thinking is not told apart from the answer").optional(),
  logprobs: z.boolean().optional(),
  top_logprobs: z.int().min(0).max(20).optional(),
  format: z.literal("", "a format cannot be held to yet").optional(),
} as const;

/** The fields of `COMMON`, read. */
export type CommonFields = z.output<z.ZodObject<typeof COMMON>>;

/**
 * How texts are drawn. Where an option is absent, what Ollama documents counts.
 *
 * @throws ApiError 400 for a context larger than the model was loaded with
 */
export function ollamaOptions({ model }: ServedModel, fields: CommonFields): GenerateOptions {
  const { options = {} } = fields;
  const { num_predict: most = -1, num_ctx: context, top_p: topP = 0.9, ...given } = options;
  if (context !== undefined && context > model.contextLength) {
    throw badRequest(
      `Cannot answer with a context of ${context} tokens: the model was loaded with ` +
        `${model.contextLength}; start the server with a larger context`,
      { param: "options.num_ctx" },
    );
  }
  const top = topOf(fields);
  const { temperature = 0.8, top_k = 40, min_p, repeat_penalty = 1.1, seed, stop } = given;
  const { presence_penalty, frequency_penalty } = given;
  return {
    ...samplingOf({
      ...{ temperature, top_k, repeat_penalty, top_p: Math.max(topP, Number.MIN_VALUE) },
      ...{ min_p, seed, stop, presence_penalty, frequency_penalty },
    }),
    ...(most >= 0 && { maxTokens: most }),
    ...(top !== undefined && { logprobs: top }),
  };
}
