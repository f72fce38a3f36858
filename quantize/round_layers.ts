/**
 * Rounding what layers multiply with, each layer on what comes out of the already quantized ones
 * before it.
 *
 * @module
 */

import { InputError, ModelError } from "../errors.ts";
import { quote } from "../escape.ts";
import {
  driftCorrection,
  type ErrorFlow,
  errorFlow,
  followDrift,
  gptqRows,
} from "../quant/gptq.ts";
import { GRIDS } from "../quant/grids.ts";
import { quantizeRows } from "../quant/quantize.ts";
import type { ResolvedModel } from "../runtime/engine/resolve.ts";
import type { ModelFile } from "../runtime/files/model_file.ts";
import { openSource } from "../runtime/files/source.ts";
import { readVector } from "../runtime/models/weights.ts";
import { advance, type Layers, resolveAgain, streamOf, sumProducts } from "./layers.ts";
import type { ChosenOptions, QuantizeMethod } from "./options.ts";
import { divideProducts, foldingScales, scaleColumns } from "./fold.ts";
import type { ImatrixSums } from "./imatrix.ts";
import { meanSquares, type Products } from "./products.ts";
import type { Section } from "./sections.ts";
import type { TensorPlan } from "./types.ts";

/**
 * Quantizes the planned tensors, on texts of these ids, into `made`: first what nothing is multiplied
 * with, such as a table of words, then layer after layer. Returns how large what each tensor is
 * multiplied with was, without any rounding.
 */
export async function quantizeLayers(
  file: ModelFile,
  model: ResolvedModel,
  layers: Layers,
  plans: ReadonlyMap<string, TensorPlan>,
  ids: readonly (readonly number[])[],
  made: Map<string, Uint8Array>,
  { method, threads, signal, onProgress = () => {} }: ChosenOptions,
): Promise<Map<string, ImatrixSums>> {
  const where = { backend: "wasm", ...(threads && { threads }), signal } as const;
  const entries = new Map(file.tensors);
  const exact = streamOf(ids, model);
  let rounded = streamOf(ids, model);
  const isWanted = (name: string): boolean => {
    const { from, type } = plans.get(name)!;
    return from !== type && !made.has(name) && GRIDS[type] !== undefined;
  };
  const replace = async (name: string, type: string, bytes: Uint8Array): Promise<void> => {
    made.set(name, bytes);
    const source = await openSource(bytes), entry = file.tensors.get(name)!;
    entries.set(name, { ...entry, type, source, offset: 0, bytes: bytes.length });
  };
  const put = async (name: string, input?: Input): Promise<void> => {
    signal?.throwIfAborted();
    const { type } = plans.get(name)!, entry = file.tensors.get(name)!;
    const values = await readVector(entry), columns = entry.shape.at(-1)!;
    await replace(
      name,
      type,
      encoded(file, name, () => round(type, values, columns, input)),
    );
  };
  /** Scales of what comes out of a norm, which is divided by them; none where others need it as it is. */
  const fold = async (
    { multiplied, norms }: Section,
    by: string,
    products: Products,
  ): Promise<Float32Array | undefined> => {
    const vectors = norms.get(by)?.flatMap((it) => tensorsOf(it)) ?? [];
    const names = new Set(
      multiplied.filter((it) => it.by === by).flatMap(({ weight }) => tensorsOf(weight)),
    );
    const isOwn = vectors.length > 0 &&
      vectors.every((name) =>
        usersOf(name) === 1 && file.tensors.get(name)!.type === "F32" && !made.has(name)
      );
    if (!isOwn || !names.values().every((it) => isWanted(it) && usersOf(it) === 1)) {
      return undefined;
    }
    const matrices = [];
    for (const name of names) {
      matrices.push({
        type: plans.get(name)!.type,
        values: await readVector(file.tensors.get(name)!),
      });
    }
    const scales = foldingScales(matrices, products);
    if (!scales) return undefined;
    for (const name of vectors) {
      const values = await readVector(file.tensors.get(name)!);
      const divided = values.map((it, j) => it / scales[j]!);
      await replace(name, "F32", new Uint8Array(divided.buffer));
    }
    return scales;
  };
  const renew = async (): Promise<void> => {
    rounded = { ...rounded, model: await resolveAgain({ ...file, tensors: entries }, model) };
  };
  const tensorsOf = (weight: string): readonly string[] => model.weights.get(weight)!.tensors;
  const usersOf = (tensor: string): number =>
    model.weights.values().reduce((count, it) => count + (it.tensors.includes(tensor) ? 1 : 0), 0);
  const multiplied = new Set(
    layers.sections.flatMap((it) => it.multiplied.flatMap(({ weight }) => tensorsOf(weight))),
  );
  for (const name of plans.keys()) {
    if (isWanted(name) && !multiplied.has(name)) await put(name, undefined);
  }
  await renew();
  const inputs = new Map<string, ImatrixSums>();
  for (const [i, section] of layers.sections.entries()) {
    onProgress({ phase: "quantize", name: section.name, done: i, total: layers.sections.length });
    const products = await sumProducts(layers, section, rounded, exact, where);
    const given = new Map<string, Input>();
    for (const [by, sums] of products) {
      const isMet = section.multiplied.some((it) =>
        it.by === by && tensorsOf(it.weight).some(isWanted)
      );
      if (!isMet) continue;
      const scales = method !== "importance" ? await fold(section, by, sums) : undefined;
      given.set(by, inputOf(method, scales ? divideProducts(sums, scales) : sums, scales));
    }
    for (const { weight, by } of section.multiplied) {
      const { count, squares } = products.get(by)!;
      for (const name of tensorsOf(weight)) {
        inputs.set(name, { count, squares: Float32Array.from(squares) });
        if (isWanted(name)) await put(name, given.get(by)!);
      }
    }
    await renew();
    await advance(layers, section, rounded, where);
  }
  return inputs;
}

/** What matrices are multiplied with. */
interface Input {
  /** Mean square of each column's numbers. */
  readonly importances: Float32Array;
  /** What each of their columns is multiplied with, since the input is divided by that. */
  readonly scales?: Float32Array;
  /** What GPTQ needs of it. */
  readonly gptq?: { readonly flow: ErrorFlow; readonly correction: Float64Array };
}

/** What all matrices with one input share. */
function inputOf(
  method: QuantizeMethod,
  products: Products,
  scales: Float32Array | undefined,
): Input {
  const input = { importances: meanSquares(products), ...(scales && { scales }) };
  if (method !== "gptq") return input;
  const flow = errorFlow(products.sums, products.columns);
  return { ...input, gptq: { flow, correction: driftCorrection(products.drift, flow) } };
}

/** A matrix in blocks of a type; every number counts alike where nothing is multiplied with it. */
function round(
  type: string,
  values: Float32Array,
  columns: number,
  input: Input | undefined,
): Uint8Array {
  const { importances = new Float32Array(columns).fill(1), scales, gptq } = input ?? {};
  const scaled = scales ? scaleColumns(values, scales) : values;
  if (!gptq) return quantizeRows(type, scaled, columns, { importances });
  return gptqRows(type, followDrift(scaled, gptq.correction, columns), gptq.flow);
}

/** Encodes, and names the tensor in an error. */
export function encoded(file: ModelFile, name: string, encode: () => Uint8Array): Uint8Array {
  try {
    return encode();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    throw new ModelError(
      `Cannot quantize tensor ${quote(name)} of ${quote(file.name)}: ${error.message}`,
      { cause: error },
    );
  }
}
