/**
 * `GET /api/tags` and `/api/ps`, `POST /api/show`, `GET /api/version`, as Ollama describes them
 * (https://github.com/ollama/ollama/blob/main/docs/api.md). What is not known of a model is left out.
 *
 * @module
 */

import type { Answer } from "../answer.ts";
import { z } from "../deps.ts";
import type { ServedModel, ServedModels } from "../models.ts";

/** The release of Ollama whose description the routes follow. */
export const OLLAMA_VERSION = "0.13.0";

/** What a request for one model may say. */
export const SHOW_FIELDS = z.strictObject({
  model: z.string().optional(),
  name: z.string().optional(),
  verbose: z.boolean().optional(),
});

function detailsOf({ model }: ServedModel): object {
  const { architecture } = model.config;
  return { family: architecture, families: [architecture] };
}

/** All models, each of which is in memory. */
export function tagList({ list, created }: ServedModels): object {
  const models = list.map((it) => {
    const { wasm = 0, webgpu = 0, reference = 0 } = it.model.placedBytes;
    return {
      ...{ name: it.name, model: it.name, modified_at: new Date(1000 * created).toISOString() },
      ...{ size: wasm + webgpu + reference, size_vram: webgpu },
      details: detailsOf(it),
    };
  });
  return { models };
}

/** What is known of one model. */
export function answerShow(served: ServedModel, created: number): Promise<Answer> {
  const { model } = served, { architecture } = model.config;
  const whole = {
    modified_at: new Date(1000 * created).toISOString(),
    details: detailsOf(served),
    model_info: {
      "general.architecture": architecture,
      [`${architecture}.context_length`]: model.contextLength,
      [`${architecture}.embedding_length`]: model.config.hiddenSize,
      [`${architecture}.block_count`]: model.config.layers,
    },
    capabilities: ["completion"],
  };
  return Promise.resolve({ whole });
}
