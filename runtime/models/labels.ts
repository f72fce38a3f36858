/**
 * What a classifier's scores are called: `id2label` of config.json, `classifier.output_labels` of GGUF.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { ModelFile } from "../files/model_file.ts";

/** More than any classifier has. */
const MOST_LABELS = 100_000;

/** The field that names labels: by number, or in a list. */
function fieldOf({ format, metadata }: ModelFile): string {
  return format === "gguf"
    ? `${metadata["general.architecture"]}.classifier.output_labels`
    : "id2label";
}

/** The labels that a file names, in the order of its scores; undefined where it names none. */
export function readLabels(file: ModelFile): readonly string[] | undefined {
  return labelsIn(file.metadata[fieldOf(file)]);
}

/** Labels by number, or in a list; undefined for what is none of these. */
export function labelsIn(id2label: unknown): readonly string[] | undefined {
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
  const { shape = [] } = file.tensors.get(tensor) ?? {}, labels = readLabels(file);
  // One row alone may be written without its extent.
  const count = shape.length === 1 ? 1 : shape[0] ?? 0;
  const field = fieldOf(file), named = file.metadata[field] ?? null;
  if (named === null || labels?.length === count) return count;
  throw new ModelError(
    `Cannot load ${quote(file.name)}: tensor ${quote(tensor)} gives ${count} scores, and ` +
      `${quote(field)} is ${quote(named, 60)}, expected a label for each, by its number, from 0 on`,
  );
}

/** What MT-DNN calls the classifiers of its tasks, which it has one after the other. */
const TASK_HEAD = /^scoring_list\.(0|[1-9]\d{0,2})\.(.+)$/;
/** The parts of such a network that have weights (answer_network.ts). */
const ANSWERING = /^(query_wsum|attn|rnn|classifier)\./;

/**
 * Numbers of the tasks of MT-DNN (Liu et al., arXiv:1901.11504) that a file has classifiers for: those
 * of one layer each, and those with a stochastic answer network (Liu et al., arXiv:1804.07888).
 */
export function taskHeads({ tensors }: ModelFile): {
  readonly linear: readonly number[];
  readonly answering: readonly number[];
} {
  const linear = new Set<number>(), answering = new Set<number>();
  for (const name of tensors.keys()) {
    const [, task, part = ""] = TASK_HEAD.exec(name) ?? [];
    if (part === "weight") linear.add(Number(task));
    else if (ANSWERING.test(part)) answering.add(Number(task));
  }
  return { linear: Array.from(linear), answering: Array.from(answering) };
}
