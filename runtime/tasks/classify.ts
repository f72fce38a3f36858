/**
 * Labels for a text or a pair of texts, and texts in the order in which they answer a query: both by a
 * head that gives a score for each label.
 *
 * Source: the pipeline `text-classification` of Transformers, `CrossEncoder` of sentence-transformers.
 *
 * @module
 */

import { InputError, ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import {
  accepts,
  FLAG,
  readOptions,
  type Rule,
  type Rules,
  SIGNAL,
  TEXT,
  TEXTS,
  wholeNumberIn,
} from "../../options.ts";
import { read } from "../generation/read_texts.ts";
import type { Prompt } from "../models/prompt.ts";
import type { TaskLabels } from "./facts.ts";
import {
  checkText,
  inTurn,
  needs,
  promptOf,
  sigmoid,
  softmax,
  type TaskModel,
  type TextOrPair,
  TEXTS_AT_ONCE,
} from "./reader.ts";

/** How `Model.classify` reads. */
export interface ClassifyOptions {
  /**
   * Which task's classifier, for models with several (MT-DNN): a name of `task_specific_params` of
   * config.json, or the number. The texts of a pair are read in the order given; the first MT-DNNs were
   * trained with a hypothesis before its premise.
   */
  readonly task?: string;
  /** Whether of a text that is too long the beginning is read. Default false: it is an error. */
  readonly truncate?: boolean;
  /** Ends it before the run; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** A label with what the model gives it. */
export interface LabelScore {
  /** As `id2label` of config.json has it, else `LABEL_0` and so on. */
  readonly label: string;
  /** What the head gives: a logit, or the value itself of a regression. */
  readonly score: number;
  /** From 0 to 1; absent for a regression. */
  readonly probability?: number;
}

/** What a classifier says of a text. */
export interface Classification {
  /**
   * `single-label`: one of the labels is right, and probabilities add up to 1 (softmax). `multi-label`:
   * each is right or not by itself (sigmoid). `regression`: scores are values of their own, in the
   * file's order.
   */
  readonly kind: "single-label" | "multi-label" | "regression";
  /** The likeliest first. */
  readonly labels: readonly LabelScore[];
}

/** How `Model.rerank` answers. */
export interface RerankOptions {
  /** How many texts come back. Default all. */
  readonly top?: number;
  /** Which task's classifier, as for `Model.classify`. */
  readonly task?: string;
  /**
   * Whether a query and a text that are too long together are cut, the longer one first. Default false:
   * it is an error.
   */
  readonly truncate?: boolean;
  /** Ends it between two runs; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** A text with how well it answers a query. */
export interface RankedText {
  /** Its place in the list that was given. */
  readonly index: number;
  /** The text itself. */
  readonly text: string;
  /** What the model gives: any number, a larger one for a better answer. */
  readonly score: number;
  /** The score's sigmoid, from 0 to 1. */
  readonly probability: number;
}

const CLASSIFY_RULES: Rules<ClassifyOptions> = { task: TEXT, truncate: FLAG, signal: SIGNAL };
const RERANK_RULES: Rules<RerankOptions> = {
  top: wholeNumberIn(1, 1_000_000_000),
  task: TEXT,
  truncate: FLAG,
  signal: SIGNAL,
};

const PAIR: Rule = {
  expected: "a list of two texts",
  accepts: (value) => TEXTS.accepts(value) && (value as unknown[]).length === 2,
};

const HEAD = "a classifier of texts";

/** The labels of a text or a pair. */
export async function classify(
  model: TaskModel,
  input: TextOrPair,
  given: ClassifyOptions,
): Promise<Classification> {
  const { task, truncate, signal } = readOptions("classify", given, CLASSIFY_RULES);
  const isPair = accepts(PAIR, input);
  if (!isPair && !accepts(TEXT, input)) {
    throw new InputError(
      `Cannot classify ${quote(input)}: expected a text, or a pair of texts in a list`,
    );
  }
  const head = headOf(model, "classify", task);
  if (!isPair && head.pairTask !== undefined) {
    throw new InputError(
      `Cannot classify a text with task ${quote(head.pairTask)} of ${quote(model.name)}: its ` +
        `classifier compares two texts; give it a pair`,
    );
  }
  const what = isPair ? "the pair" : "the text";
  const scores = await scoresOf(
    model,
    head,
    promptOf(model, input, { action: "classify", what, truncate }),
    signal,
  );
  const kind = kindOf(head, scores.length), names = head.labels;
  if (names && names.length !== scores.length) {
    throw new ModelError(
      `Cannot classify with ${quote(model.name)}: it gives ${scores.length} scores, and id2label ` +
        `names ${names.length} labels`,
    );
  }
  const probabilities = kind === "single-label"
    ? softmax(scores)
    : kind === "multi-label"
    ? Float64Array.from(scores, sigmoid)
    : undefined;
  const labels = Array.from(scores, (score, i) => ({
    label: names?.[i] ?? `LABEL_${i}`,
    score,
    ...(probabilities && { probability: probabilities[i]! }),
  }));
  return {
    kind,
    labels: kind === "regression" ? labels : labels.sort((a, b) => b.score - a.score),
  };
}

/** As the pipeline of Transformers has it. */
function kindOf({ problemType }: Head, labels: number): Classification["kind"] {
  if (problemType === "regression") return "regression";
  return problemType === "multi_label_classification" || labels === 1
    ? "multi-label"
    : "single-label";
}

/** The texts, the best answer first. */
export async function rerank(
  model: TaskModel,
  query: string,
  texts: readonly string[],
  given: RerankOptions,
): Promise<RankedText[]> {
  const { top = Infinity, task, truncate, signal } = readOptions("rerank", given, RERANK_RULES);
  checkText("rerank for", query);
  if (!accepts(TEXTS, texts)) {
    throw new InputError(
      `Cannot rerank ${quote(texts)}: expected a list of texts, as in ["a text"]`,
    );
  }
  const head = headOf(model, "rerank", task);
  // Every text is looked at before the first one runs.
  const prompts = texts.map((text, i) =>
    promptOf(model, [query, text], {
      action: "rerank",
      what: `the query with text ${i + 1}`,
      truncate,
    })
  );
  const scores = await inTurn(prompts, TEXTS_AT_ONCE, async (prompt) => {
    const { length, 0: score } = await scoresOf(model, head, prompt, signal);
    if (length === 1) return score!;
    throw new ModelError(
      `Cannot rerank with ${quote(model.name)}: it gives ${length} scores for a pair, expected ` +
        `one; use classify`,
    );
  });
  return texts.map((text, index) => {
    const score = scores[index]!;
    return { index, text, score, probability: sigmoid(score) };
  }).sort((a, b) => b.score - a.score || a.index - b.index).slice(0, top);
}

/** The scores of a prompt, `[labels]`. */
async function scoresOf(
  { engine, name }: TaskModel,
  { output, isProbable, pairTask }: Head,
  prompt: Prompt,
  signal: AbortSignal | undefined,
): Promise<Float32Array> {
  if (pairTask !== undefined && prompt.tokenTypeIds === undefined) {
    throw new ModelError(
      `Cannot compare texts for task ${quote(pairTask)} of ${
        quote(name)
      }: its files say that it has ` +
        `no segments, by which its classifier tells two texts apart`,
    );
  }
  const names = [output];
  const found = await read(engine, prompt, { program: "encode", names, rows: "first" }, signal);
  return isProbable ? found.map(Math.log) : found;
}

/** A classifier: the output that it gives, and what its scores mean. */
interface Head extends Omit<TaskLabels, "name"> {
  readonly output: string;
  /** Whether it gives probabilities, whose logarithms are the scores. */
  readonly isProbable?: boolean;
  /** The task, where it reads two texts and not one. */
  readonly pairTask?: string;
}

/** More tasks than any model has. */
const MOST_TASKS = 1000;

/**
 * The classifier that is asked.
 *
 * @throws ModelError when the model has none, or one that is not supported
 * @throws InputError when it has several, and `task` names none of them
 */
function headOf(model: TaskModel, action: string, task: string | undefined): Head {
  const { engine, facts, name } = model;
  const nameOf = (i: number): string => facts.tasks.at(i)?.name ?? `${i}`;
  const outputOf = (i: number): string => `scores.${i}`;
  const isAsked = (i: number): boolean => task === nameOf(i) || task === `${i}`;
  const heads = Array.from({ length: engine.programs.encode ? MOST_TASKS : 0 }, (_, i) => i)
    .filter((i) => engine.gives("encode", outputOf(i)));
  const refused = Array.from(facts.answering).filter(([, it]) => typeof it === "string")
    .find(([i]) => isAsked(i) || heads.length === 0);
  if (refused) {
    throw new ModelError(
      `Cannot ${action} with ${quote(name)}: the classifier of task ${quote(nameOf(refused[0]))} ` +
        `is a stochastic answer network (SAN) with ${refused[1]}`,
    );
  }
  if (heads.length === 0) {
    needs(model, action, "scores", HEAD);
    if (task === undefined) return { ...facts, output: "scores" };
    throw new InputError(
      `Cannot ${action} with task ${quote(task)}: ${
        quote(name)
      } has one classifier; leave task away`,
    );
  }
  const found = task === undefined && heads.length === 1 ? heads[0] : heads.find(isAsked);
  if (found === undefined) {
    const known = heads.map((i) => quote(nameOf(i))).join(", ");
    throw new InputError(
      `Cannot ${action} with ${task === undefined ? "no task" : `task ${quote(task)}`}: ` +
        `${quote(name)} has ${known}, expected one of them, as with task ${
          quote(nameOf(heads[0]!))
        }`,
    );
  }
  const means = facts.tasks.at(found), answers = facts.answering.get(found);
  return {
    labels: means?.labels,
    problemType: means?.problemType,
    output: outputOf(found),
    ...(typeof answers === "object" && {
      isProbable: answers.averages,
      pairTask: nameOf(found),
    }),
  };
}
