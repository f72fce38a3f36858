/**
 * What a classifier's scores are called: `id2label` of config.json.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { ModelFile } from "../files/model_file.ts";

/** More than any classifier has. */
const MOST_LABELS = 100_000;

/** The labels that a file names, in the order of its scores; undefined where it names none. */
export function readLabels({ metadata }: ModelFile): readonly string[] | undefined {
  const { id2label } = metadata;
  if (typeof id2label !== "object" || id2label === null) return undefined;
  const count = Object.keys(id2label).length;
  const labels = Array.from(
    { length: Math.min(count, MOST_LABELS) },
    (_, i) => (id2label as Record<string, unknown>)[i],
  );
  const isLabel = (it: unknown): boolean => typeof it === "string" || typeof it === "number";
  return labels.length > 0 && labels.every(isLabel) ? labels.map(String) : undefined;
}

/**
 * How many scores the tensor `[scores, width]` of a classifier gives.
 *
 * @throws ModelError when the file names another number of labels
 */
export function countScores(file: ModelFile, tensor: string): number {
  const count = file.tensors.get(tensor)?.shape[0] ?? 0, labels = readLabels(file);
  const { id2label = null } = file.metadata;
  if (id2label === null || labels?.length === count) return count;
  throw new ModelError(
    `Cannot load ${quote(file.name)}: tensor ${quote(tensor)} gives ${count} scores, and ` +
      `"id2label" is ${quote(id2label, 60)}, expected a label for each, by numbers from "0" on`,
  );
}
