/**
 * What a model's files say about tasks: labels, the mask, how vectors are made, prompts by name. It is
 * read while they are open; the tasks need nothing else of them.
 *
 * @module
 */

import { FormatError, ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { ModelFile } from "../files/model_file.ts";
import { type AnswerNetwork, readAnswerNetworks } from "../models/answer_network.ts";
import { labelsIn, readLabels } from "../models/labels.ts";
import { readVectorModules, type VectorModules } from "./modules.ts";

/** What tasks know of a model's files. */
export interface TaskFacts {
  /** Names of a classifier's scores, in their order. */
  readonly labels: readonly string[] | undefined;
  /** `problem_type` of config.json. */
  readonly problemType: string | undefined;
  /** Tasks that have a classifier each, by their numbers: `task_specific_params` of config.json. */
  readonly tasks: readonly TaskLabels[];
  /**
   * Those whose classifier is a stochastic answer network, by their numbers; a sentence in place of one
   * that is made in a way that is not supported.
   */
  readonly answering: ReadonlyMap<number, AnswerNetwork | string>;
  /** How the token for a missing word is spelled, where a file says it. */
  readonly maskToken: string | undefined;
  /** Whether the segments of a pair go to the model. */
  readonly usesSegments: boolean;
  /** What becomes of hidden states; an error where that is not supported; undefined where no file says it. */
  readonly modules: VectorModules | ModelError | undefined;
  /** Most tokens of a text to embed, where a file says it. */
  readonly maxTokens: number | undefined;
  /** Whether texts to embed are written in lower case first. */
  readonly lowercase: boolean;
  /** What to put before a text to embed, by name. */
  readonly prompts: Readonly<Record<string, string>>;
  /** Name of the one that is put there where nobody says anything. */
  readonly defaultPrompt: string | undefined;
}

/** What a classifier's scores mean. */
export interface TaskLabels {
  /** Name of the task. */
  readonly name: string;
  /** Names of its scores, in their order. */
  readonly labels: readonly string[] | undefined;
  /** As in config.json. */
  readonly problemType: string | undefined;
}

/**
 * Reads them.
 *
 * @throws FormatError when a file is damaged
 */
export async function readTaskFacts(file: ModelFile): Promise<TaskFacts> {
  const { metadata, tokenizerConfig = {}, sentenceFiles = {} } = file;
  const { encoder = {}, settings = {} } = sentenceFiles;
  const most = encoder.max_seq_length ?? undefined;
  if (most !== undefined && !isCount(most)) {
    throw new FormatError(
      `Cannot read ${quote(file.name)}: field "max_seq_length" of sentence_bert_config.json is ` +
        `${quote(most)}, expected a whole number of at least 1`,
    );
  }
  const inputs = tokenizerConfig.model_input_names;
  // The tokenizer's own limit counts where sentence-transformers wrote it, and says nothing else.
  const limits = [encoder.max_seq_length, file.sentenceFiles && tokenizerConfig.model_max_length];
  const prompts = Object.entries(Object(settings.prompts) as Record<string, unknown>)
    .filter((entry): entry is [string, string] => typeof entry[1] === "string");
  return {
    labels: readLabels(file),
    tasks: Object.entries(Object(metadata.task_specific_params)).map(([name, params]) => {
      const fields = Object(params) as Record<string, unknown>;
      return { name, labels: labelsIn(fields.id2label), problemType: textOf(fields.problem_type) };
    }),
    answering: readAnswerNetworks(file),
    problemType: textOf(metadata.problem_type),
    maskToken: maskOf(file),
    usesSegments: !Array.isArray(inputs) || inputs.includes("token_type_ids"),
    modules: await readVectorModules(file).catch((error) => {
      if (error instanceof ModelError) return error;
      throw error;
    }),
    maxTokens: limits.find(isCount),
    lowercase: encoder.do_lower_case === true,
    prompts: Object.fromEntries(prompts),
    defaultPrompt: textOf(settings.default_prompt_name),
  };
}

/** How the files want vectors of texts to be made, in words; undefined where they do not say it. */
export function describeVectors(
  { modules, maxTokens, lowercase, prompts, defaultPrompt }: TaskFacts,
): string | undefined {
  if (modules === undefined) return undefined;
  if (modules instanceof ModelError) return modules.message;
  const { poolings, countsPrefix, steps, normalizes } = modules;
  const names = Object.keys(prompts).map((it) => it === defaultPrompt ? `${it} (default)` : it);
  return [
    `pooled by ${poolings.join(" and ")}${countsPrefix ? "" : " without the prompt"}`,
    ...(steps.length > 0 ? [`${steps.length} more ${steps.length > 1 ? "layers" : "layer"}`] : []),
    ...(normalizes ? ["length 1"] : []),
    ...(maxTokens !== undefined ? [`texts of at most ${maxTokens} tokens`] : []),
    ...(lowercase ? ["in lower case"] : []),
    ...(names.length > 0 ? [`prompts ${names.join(", ")}`] : []),
  ].join(", ");
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && value > 0 && Number.isInteger(value);
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/** The mask that tokenizer_config.json or GGUF metadata names. */
function maskOf({ metadata, tokenizerConfig }: ModelFile): string | undefined {
  const named = tokenizerConfig?.mask_token;
  const listed = metadata["tokenizer.ggml.tokens"];
  const id = Number(metadata["tokenizer.ggml.mask_token_id"] ?? NaN);
  return textOf(named) ?? textOf((Object(named) as { content?: unknown }).content) ??
    textOf(Array.isArray(listed) ? listed[id] : undefined);
}
