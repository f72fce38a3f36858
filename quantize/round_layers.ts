/**
 * Rounding what layers multiply with, each layer on what comes out of the already quantized ones
 * before it.
 *
 * @module
 */

import { InputError, ModelError } from "../errors.ts";
import { quote } from "../escape.ts";
import { errorFlow, followDrift, gptqRows } from "../quant/gptq.ts";
import { GRIDS } from "../quant/grids.ts";
import { quantizeRows } from "../quant/quantize.ts";
import type { ModelFile } from "../runtime/files/model_file.ts";
import { openSource } from "../runtime/files/source.ts";
import { readVector } from "../runtime/models/weights.ts";
import { advance, type Layers, resolveFor, streamOf, sumProducts } from "./layers.ts";
import type { ChosenOptions, QuantizeMethod } from "./options.ts";
import type { ImatrixSums } from "./imatrix.ts";
import { meanSquares, type Products } from "./products.ts";
import type { TensorPlan } from "./types.ts";

/** Most tokens of a text that the model is calibrated on. */
export const TEXT_TOKENS = 512;

/**
 * Quantizes the planned tensors, on texts of these ids, into `made`: first what nothing is multiplied
 * with, such as a table of words, then layer after layer. Returns how large what each tensor is
 * multiplied with was, without any rounding.
 */
export async function quantizeLayers(
  file: ModelFile,
  layers: Layers,
  plans: ReadonlyMap<string, TensorPlan>,
  ids: readonly (readonly number[])[],
  made: Map<string, Uint8Array>,
  { method, threads, signal, onProgress = () => {} }: ChosenOptions,
): Promise<Map<string, ImatrixSums>> {
  const where = { backend: "wasm", ...(threads && { threads }), signal } as const;
  const model = await resolveFor(file, TEXT_TOKENS), entries = new Map(file.tensors);
  const exact = streamOf(ids, model);
  let rounded = streamOf(ids, model);
  const isWanted = (name: string): boolean => {
    const { from, type } = plans.get(name)!;
    return from !== type && !made.has(name) && GRIDS[type] !== undefined;
  };
  const put = async (name: string, products: Products | undefined): Promise<void> => {
    signal?.throwIfAborted();
    const { type } = plans.get(name)!, entry = file.tensors.get(name)!;
    const values = await readVector(entry), columns = entry.shape.at(-1)!;
    const bytes = encoded(file, name, () => round(method, type, values, columns, products));
    made.set(name, bytes);
    const source = await openSource(bytes);
    entries.set(name, { ...entry, type, source, offset: 0, bytes: bytes.length });
  };
  const renew = async (): Promise<void> => {
    rounded = { ...rounded, model: await resolveFor({ ...file, tensors: entries }, TEXT_TOKENS) };
  };
  const tensorsOf = (weight: string): readonly string[] => model.weights.get(weight)!.tensors;
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
    for (const { weight, by } of section.multiplied) {
      const { count, squares } = products.get(by)!;
      for (const name of tensorsOf(weight)) {
        inputs.set(name, { count, squares: Float32Array.from(squares) });
        if (isWanted(name)) await put(name, products.get(by)!);
      }
    }
    await renew();
    await advance(layers, section, rounded, where);
  }
  return inputs;
}

/** A matrix in blocks of a type; every number counts alike where nothing is multiplied with it. */
function round(
  method: QuantizeMethod,
  type: string,
  values: Float32Array,
  columns: number,
  products: Products | undefined,
): Uint8Array {
  if (!products) {
    return quantizeRows(type, values, columns, { importances: new Float32Array(columns).fill(1) });
  }
  if (method !== "gptq") {
    return quantizeRows(type, values, columns, { importances: meanSquares(products) });
  }
  const flow = errorFlow(products.sums, columns);
  return gptqRows(type, followDrift(values, products.drift, flow), flow);
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
