/**
 * What a model's file says the model is: its family, its configuration, its weights and what they need
 * in memory. The one way from an open file to that, for loading and for telling about it.
 *
 * @module
 */

import { quote } from "../../escape.ts";
import type { ModelFile } from "../files/model_file.ts";
import type { ModelConfig, ModelDefinition } from "../models/definition.ts";
import type { Warn } from "../models/fields.ts";
import type { Programs } from "../models/program.ts";
import { readQuantized } from "../models/quantized.ts";
import { findDefinition } from "../models/registry.ts";
import type { PlanSizes } from "./record.ts";
import { unusedTensors } from "../models/unused_tensors.ts";
import { type ResolvedWeights, resolveWeights, type WeightsOption } from "../models/weights.ts";

/** A model as its file describes it. */
export interface ResolvedModel {
  /** Its family. */
  readonly definition: ModelDefinition;
  /** What the file says of its sizes, as the family reads it. */
  readonly config: ModelConfig;
  /** What it does. */
  readonly programs: Programs;
  /** How its memory and plans are sized. */
  readonly sizes: PlanSizes;
  /** Its weights, found in the file. */
  readonly weights: ResolvedWeights;
  /** What a quantizer did to its file, in words; undefined for a file of plain numbers. */
  readonly quantization: string | undefined;
}

/** What is chosen when a model is loaded. */
export interface ResolveOptions extends Partial<PlanSizes> {
  /** How weights are stored. Default `as-is`. */
  readonly weights?: WeightsOption;
  /** How the embedding table and the head are stored. Default: the head as `weights`, the table as is. */
  readonly wordTables?: WeightsOption;
}

/** Most tokens of a sequence where nobody names a number, unless the model itself has fewer. */
const DEFAULT_CONTEXT = 4096;
/** Tokens in one run of a prompt. */
const DEFAULT_CHUNK = 256;

/**
 * Reads what a file says of its model; `warn` is told what has no effect.
 *
 * @throws ModelError when the model cannot run
 */
export async function resolveModel(
  packed: ModelFile,
  options: ResolveOptions,
  warn: Warn,
): Promise<ResolvedModel> {
  const { file, quantization } = await readQuantized(packed, warn);
  const definition = await findDefinition(file);
  const config = definition.parseConfig(file, warn);
  const {
    contextLength = Math.min(config.maxPositions, DEFAULT_CONTEXT),
    sequences = 1,
    cacheType = "f32",
    chunk = Math.min(DEFAULT_CHUNK, contextLength),
    weights: storage = "as-is",
    wordTables,
  } = options;
  const specs = await definition.weights(config, file, contextLength, warn);
  if (contextLength > config.maxPositions) {
    warn(
      `${quote(file.name)} was made for texts of up to ${config.maxPositions} tokens: with ` +
        `contextLength ${contextLength}, longer ones may make no sense`,
    );
  }
  const { vocabSize } = config;
  const words = wordTables === undefined ? undefined : { vocabSize, option: wordTables };
  const weights = resolveWeights(specs, file, storage, words);
  unusedTensors(packed, weights, config.layers).forEach(warn);
  tellObstacles(file, weights, warn);
  const sizes = { contextLength, sequences, cacheType, chunk };
  const programs = definition.programs(config);
  return { definition, config, programs, sizes, weights, quantization };
}

/** Tells which matrices of integers take the room of f32. */
function tellObstacles(file: ModelFile, weights: ResolvedWeights, warn: Warn): void {
  const held = Array.from(weights.values()).filter((it) => it.obstacle !== undefined);
  for (const [obstacle, some] of Map.groupBy(held, (it) => it.obstacle)) {
    warn(
      `${
        quote(file.name)
      } has ${some.length} quantized matrices that no layout of integers keeps ` +
        `as they are (${quote(some[0]!.tensors[0])}: ${obstacle}): they are held as f32; weights ` +
        `"int8" takes a quarter of that and rounds them`,
    );
  }
}
