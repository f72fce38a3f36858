/**
 * Which type each tensor of a model gets: by its kind, by what was asked for, or by measuring under a
 * size.
 *
 * @module
 */

import { ModelError } from "../errors.ts";
import { quote } from "../escape.ts";
import type { ResolvedModel } from "../runtime/engine/resolve.ts";
import type { GgufFile, MetadataValue } from "../runtime/files/gguf.ts";
import { layoutGguf } from "../runtime/files/gguf_write.ts";
import { calibrationIds } from "./calibration.ts";
import {
  aligned,
  type Budget,
  checkReachable,
  chooseTypes,
  groupsOf,
  isReachable,
  mixtureOf,
} from "./choose.ts";
import { measuredTokens, type TensorGroup } from "./costs.ts";
import { layersOf, weightsOutside } from "./layers.ts";
import { MIXTURE_NAMES, mixtureNumber } from "./mixtures.ts";
import type { ChosenOptions } from "./options.ts";
import { bitsOf, type ChosenType, planTypes, type TensorPlan } from "./types.ts";

/** Numbers of `general.file_type`: the type of most tensors (ggml-org/ggml, docs/gguf.md). */
const FILE_TYPES: Readonly<Record<string, number>> = {
  ...{ F32: 0, F16: 1, Q4_0: 2, Q4_1: 3, Q8_0: 7, Q5_0: 8, Q5_1: 9 },
  ...{ Q4_K: 14, Q5_K: 16, Q6_K: 18, IQ4_NL: 25, BF16: 32 },
};

/** What a file says of how its types were chosen. */
export function planFields(
  options: ChosenOptions,
  plans: readonly TensorPlan[],
): Record<string, MetadataValue> {
  const isMeasured = plans.some(({ cost }) => cost !== undefined);
  return {
    "general.file_type": { type: "u32", value: fileTypeOf(options, plans) },
    ...(isMeasured && {
      "sparrow.quantize.target": { type: "string", value: targetOf(options) },
      // Of each tensor, in the order of the file; 0 where nothing was chosen.
      "sparrow.quantize.costs": {
        ...{ type: "array", items: "f32" },
        value: Float32Array.from(plans, ({ cost }) => cost ?? 0),
      } as MetadataValue,
    }),
  };
}

function fileTypeOf({ type }: ChosenOptions, plans: readonly TensorPlan[]): number {
  const mixture = mixtureNumber(type);
  if (mixture !== undefined) return mixture;
  const counts = new Map<string, number>();
  for (const { type, elements } of plans) {
    counts.set(type, (counts.get(type) ?? 0) + elements);
  }
  const [most] = Array.from(counts).toSorted(([, a], [, b]) => b - a)[0] ?? [type];
  return FILE_TYPES[type] ?? FILE_TYPES[most] ?? 0;
}

/** What was asked for, in words. */
function targetOf({ targetBpw, targetSize, type }: ChosenOptions): string {
  if (targetBpw !== undefined) return `${targetBpw} bits per weight`;
  return targetSize !== undefined ? `${targetSize} bytes` : `the size of ${type}`;
}

/** What decides which types tensors get. */
export interface PlanContext {
  readonly file: GgufFile;
  /** Where the file is, for the model to write texts. */
  readonly source: string | URL;
  readonly model: ResolvedModel;
  readonly options: ChosenOptions;
  /** All metadata of the file that has tensors so planned. */
  readonly fieldsFor: (plans: readonly TensorPlan[]) => Fields;
}

/** Metadata as a file has it. */
type Fields = Iterable<readonly [string, MetadataValue]>;

/**
 * Plans the type of each tensor.
 *
 * @throws InputError when no types keep to the size that was asked for
 * @throws ModelError when a wish cannot be met, or the model reads no texts to measure on
 */
export async function planTensors(context: PlanContext): Promise<TensorPlan[]> {
  const { file, model, options } = context;
  const { tensors: wishes = [], method, imatrix, targetBpw, targetSize } = options;
  const isMixture = MIXTURE_NAMES.includes(options.type);
  const isMeasured = targetBpw !== undefined || targetSize !== undefined;
  // What is neither measured nor asked for keeps its type.
  const type = isMixture || isMeasured ? "F32" : options.type, outside = weightsOutside(model);
  const planWith: PlanWith = (chosen) => planTypes(file, model, outside, type, wishes, chosen);
  if (!isMixture && !isMeasured) return planWith();
  const groups = groupsOf(file, model, wishes);
  const mixture = isMixture ? planWith(mixtureOf(options.type, file, groups)) : undefined;
  const canMeasure = !(model.programs.encode && model.programs.decode);
  // Where no texts are read, the mixture's own types are what is known to be good.
  if (mixture && (method === "nearest" || imatrix !== undefined || !canMeasure)) return mixture;
  if (!canMeasure) {
    throw new ModelError(
      `Cannot choose types for ${quote(file.name)} by measuring: it is an encoder–decoder, whose ` +
        `texts would need sources; give a type`,
    );
  }
  const budget = budgetOf(context, groups, planWith, mixture);
  // So small a model that what is said of it takes the room in which there would be a choice.
  if (mixture && !isReachable(groups, budget)) return mixture;
  return planWith(await measured(context, groups, budget));
}

type PlanWith = (chosen?: ReadonlyMap<string, ChosenType>) => TensorPlan[];

/** What the types of groups must keep to. */
function budgetOf(
  { file, options: { targetBpw, targetSize }, fieldsFor }: PlanContext,
  groups: readonly TensorGroup[],
  planWith: PlanWith,
  mixture: readonly TensorPlan[] | undefined,
): Budget {
  const plans = planWith(
    new Map(groups.flatMap(({ tensors, types }) => {
      const type = types.reduce((least, it) => bitsOf(it) < bitsOf(least) ? it : least);
      return tensors.map(({ name }) => [name, { type, cost: 0 }] as const);
    })),
  );
  const own = new Set(groups.flatMap(({ tensors }) => tensors.map(({ name }) => name)));
  const bytesOf = (plans: readonly TensorPlan[], alignment: number): number =>
    plans.reduce((sum, it) => sum + aligned(it.elements * it.bits[1] / 8, alignment), 0);
  if (targetBpw !== undefined) {
    const count = plans.reduce((sum, it) => sum + it.elements, 0);
    return {
      bytes: Math.floor(targetBpw * count / 8),
      fixed: bytesOf(plans.filter(({ name }) => !own.has(name)), 1),
      alignment: 1,
      show: (bytes) => `${Number((8 * bytes / count).toFixed(3))} bits per weight`,
    };
  }
  const alignment = Number(file.metadata["general.alignment"] ?? 32);
  const fileBytes = (plans: readonly TensorPlan[], fields: Fields): number =>
    layoutGguf({
      fields,
      tensors: plans.map(({ name, type }) => ({
        name,
        type,
        shape: file.tensors.get(name)!.shape,
      })),
    }).bytes;
  const groupBytes = bytesOf(plans.filter(({ name }) => own.has(name)), alignment);
  return {
    bytes: targetSize ?? fileBytes(mixture!, file.fields),
    fixed: fileBytes(plans, fieldsFor(plans)) - groupBytes,
    alignment,
    show: (bytes) => `${bytes} bytes`,
  };
}

/** Types of groups by measuring, on texts that are given or that the model writes. */
async function measured(
  { file, source, model, options }: PlanContext,
  groups: readonly TensorGroup[],
  budget: Budget,
): Promise<ReadonlyMap<string, ChosenType>> {
  const { calibration = "self", seed = 1, threads, signal, onProgress } = options;
  const tokens = measuredTokens(groups);
  const told = (name: string, done: number, total: number): void =>
    onProgress?.({ phase: "measure", name, done, total });
  checkReachable(file, groups, budget);
  const { texts } = await calibrationIds(source, calibration, {
    ...{ tokens, seed, textTokens: model.sizes.chunk, signal },
    ...(threads !== undefined && { threads }),
    onProgress: (done) => told("texts", done, tokens),
  });
  const layers = layersOf(file.name, model);
  return await chooseTypes(file, model, layers, groups, texts, budget, {
    ...{ backend: "wasm", ...(threads !== undefined && { threads }), signal },
    onSection: (name, i) => told(name, i, layers.sections.length),
  });
}
