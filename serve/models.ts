/**
 * The models of a server by the names that requests call them.
 *
 * @module
 */

import { quote } from "../escape.ts";
import type { GenerationResult, Model } from "../mod.ts";
import { ApiError } from "./errors.ts";
import { type Sessions, sessionsOf } from "./sessions.ts";

/** A model with what its requests share. */
export interface ServedModel {
  /** Its name in requests. */
  readonly name: string;
  /** The model. */
  readonly model: Model;
  /** Its sequences. */
  readonly sessions: Sessions;
  /** Told what each generation came to. */
  readonly onResult: (result: GenerationResult) => void;
}

/** All models of a server. */
export interface ServedModels {
  /** In the order in which they were given. */
  readonly list: readonly ServedModel[];
  /** Seconds since 1970 when the server began, which is what "created" says of a model. */
  readonly created: number;
  /**
   * The model of a name; where there is only one, also without a name.
   *
   * @throws ApiError 404 when there is none of that name
   */
  find(name: string | undefined): ServedModel;
}

/** Makes them; before each model at most `queue` requests wait. `onResult` is told of generations. */
export function servedModels(
  models: Readonly<Record<string, Model>>,
  queue: number,
  onResult: (model: string, result: GenerationResult) => void,
): ServedModels {
  const list = Object.entries(models).map(([name, model]) => ({
    name,
    model,
    sessions: sessionsOf(model, queue),
    onResult: (result: GenerationResult): void => onResult(name, result),
  }));
  return {
    list,
    created: Math.floor(Date.now() / 1000),
    find(name) {
      const found = name === undefined && list.length === 1
        ? list[0]
        : list.find((it) => it.name === name);
      if (found) return found;
      const names = list.map((it) => quote(it.name)).join(", ");
      throw new ApiError(
        404,
        "not_found_error",
        name === undefined
          ? `Cannot answer: the field model is missing; there are the models ${names}`
          : `Cannot answer: there is no model ${quote(name)}; expected one of ${names}`,
        { param: "model", code: "model_not_found" },
      );
    },
  };
}
