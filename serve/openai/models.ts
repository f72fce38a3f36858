/**
 * `GET /v1/models` and `/v1/models/NAME`, as OpenAI describes them
 * (https://platform.openai.com/docs/api-reference/models).
 *
 * @module
 */

import type { ServedModel, ServedModels } from "../models.ts";

/** One model; beside OpenAI's fields, how long its texts may be. */
export function modelEntry({ name, model }: ServedModel, created: number): object {
  return {
    ...{ id: name, object: "model", created, owned_by: "sparrow" },
    context_length: model.contextLength,
  };
}

/** All models. */
export function modelList({ list, created }: ServedModels): object {
  return { object: "list", data: list.map((it) => modelEntry(it, created)) };
}
