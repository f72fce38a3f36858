/**
 * Rounding what layers multiply with, each layer on what comes out of the already quantized ones
 * before it.
 *
 * @module
 */

import { InputError, ModelError } from "../errors.ts";
import { quote } from "../escape.ts";
import { elements } from "../kernels/op.ts";
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
import type { ModelFile, TensorEntry } from "../runtime/files/model_file.ts";
import { rowsOf } from "../runtime/files/views.ts";
import { readVector } from "../runtime/models/weights.ts";
import type { Draft } from "./draft.ts";
import { advance, forget, type Layers, resolveAgain, streamOf, sumProducts } from "./layers.ts";
import type { ChosenOptions, QuantizeMethod } from "./options.ts";
import { sumExperts, withOthers } from "./experts.ts";
import { divideProducts, foldingScales, scaleColumns } from "./fold.ts";
import type { ImatrixSums } from "./imatrix.ts";
import { meanSquares, type Products } from "./products.ts";
import type { Multiplied, Section } from "./sections.ts";
import type { TensorPlan } from "./types.ts";

/**
 * Quantizes the planned tensors, on texts of these ids, into `draft`: first what nothing is multiplied
 * with, such as a table of words, then layer after layer. A draft that is gone on with has layers
 * already, through which the texts only run. Returns how large what each tensor is multiplied with
 * was, without any rounding.
 */
export async function quantizeLayers(
  file: ModelFile,
  model: ResolvedModel,
  layers: Layers,
  plans: ReadonlyMap<string, TensorPlan>,
  ids: readonly (readonly number[])[],
  draft: Draft,
  { method, threads, saveImatrix, signal, onProgress = () => {} }: ChosenOptions,
): Promise<Map<string, ImatrixSums>> {
  const where = { backend: "wasm", ...(threads && { threads }), signal } as const;
  const entries = new Map(file.tensors);
  const exact = streamOf(ids, model);
  let rounded = streamOf(ids, model);
  /** Tensors of the section that is worked on, and those before any. */
  const written = new Set<string>();
  const isMade = (name: string): boolean => written.has(name) || draft.has(name);
  const isWanted = (name: string): boolean => {
    const { from, type } = plans.get(name)!;
    return from !== type && GRIDS[type] !== undefined;
  };
  const lookIn = (name: string): void => {
    const { type } = plans.get(name)!, { source } = draft;
    entries.set(name, { ...file.tensors.get(name)!, type, source, ...draft.placeOf(name) });
  };
  const replace = (name: string, bytes: Uint8Array): void => {
    draft.write(name, bytes);
    written.add(name);
    lookIn(name);
  };
  /** What was written is whole, and is what the texts meet from now on. */
  const keep = async (): Promise<void> => {
    draft.complete(Array.from(written));
    written.clear();
    rounded = { ...rounded, model: await resolveAgain({ ...file, tensors: entries }, model) };
  };
  const put = async (name: string, input?: Input): Promise<void> => {
    signal?.throwIfAborted();
    const { type } = plans.get(name)!, entry = file.tensors.get(name)!;
    const values = await readVector(entry), columns = entry.shape.at(-1)!;
    replace(name, encoded(file, name, () => round(type, values, columns, input)));
  };
  /** Rounds stacks of experts' matrices with one input, each expert by what it read itself. */
  const putExperts = async (
    section: Section,
    stacks: readonly Multiplied[],
    all: Products,
    scales: Float32Array | undefined,
  ): Promise<void> => {
    const { by, experts } = stacks[0]!, { columns } = all, count = experts!.count;
    const names = stacks.flatMap(({ weight }) => tensorsOf(weight));
    const wanted = new Set(names.filter((it) => isWanted(it) && !isMade(it)));
    const counts = new Array<number>(count).fill(0), squares = new Float32Array(count * columns);
    const about = { by, columns, experts: experts! };
    for await (const [e, sums] of sumExperts(layers, section, about, rounded, exact, where)) {
      signal?.throwIfAborted();
      counts[e] = sums.count;
      squares.set(sums.squares, e * columns);
      if (wanted.size === 0) continue;
      const products = withOthers(sums, all);
      const input = inputOf(method, scales ? divideProducts(products, scales) : products, scales);
      for (const { weight } of stacks) {
        const tensors = tensorsOf(weight), isStack = tensors.length === 1;
        const name = tensors[isStack ? 0 : e]!;
        if (!wanted.has(name)) continue;
        const { type } = plans.get(name)!, entry = file.tensors.get(name)!;
        const rows = elements(entry.shape) / columns / (isStack ? count : 1);
        const values = await readVector(isStack ? rowsOf(flat(entry), e * rows, rows) : entry);
        const bytes = encoded(file, name, () => round(type, values, columns, input));
        draft.write(name, bytes, isStack ? e * bytes.length : 0);
      }
    }
    for (const name of wanted) {
      written.add(name);
      lookIn(name);
    }
    for (const { weight } of stacks) {
      const tensors = tensorsOf(weight);
      for (const [e, name] of tensors.entries()) {
        inputs.set(
          name,
          tensors.length === 1
            ? { counts, squares }
            : { counts: [counts[e]!], squares: squares.slice(e * columns, (e + 1) * columns) },
        );
      }
    }
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
        usersOf(name) === 1 && file.tensors.get(name)!.type === "F32" && !isMade(name)
      );
    if (!isOwn || !names.values().every((it) => isWanted(it) && !isMade(it) && usersOf(it) === 1)) {
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
      replace(name, new Uint8Array(divided.buffer));
    }
    return scales;
  };
  const tensorsOf = (weight: string): readonly string[] => model.weights.get(weight)!.tensors;
  const usersOf = (tensor: string): number =>
    model.weights.values().reduce((count, it) => count + (it.tensors.includes(tensor) ? 1 : 0), 0);
  const multiplied = new Set(
    layers.sections.flatMap((it) => it.multiplied.flatMap(({ weight }) => tensorsOf(weight))),
  );
  for (const name of plans.keys()) {
    if (draft.has(name)) lookIn(name);
    else if (isWanted(name) && !multiplied.has(name)) await put(name);
  }
  await keep();
  const inputs = new Map<string, ImatrixSums>();
  /** Tensors of a section that are to be quantized. */
  const wantedOf = (section: Section): string[] =>
    section.multiplied.flatMap(({ weight }) => tensorsOf(weight)).filter(isWanted);
  const isDone = (section: Section): boolean =>
    wantedOf(section).every((it) => draft.has(it)) &&
    (saveImatrix === undefined || draft.noted(section.name) !== undefined ||
      section.multiplied.length === 0);
  const last = layers.sections.findLastIndex((it) => !isDone(it));
  for (const { name } of layers.sections) {
    for (const [tensor, sums] of readSums(draft.noted(name))) inputs.set(tensor, sums);
  }
  for (const [i, section] of layers.sections.slice(0, last + 1).entries()) {
    onProgress({ phase: "quantize", name: section.name, done: i, total: last + 1 });
    if (isDone(section)) {
      await advance(layers, section, exact, where);
    } else {
      const products = await sumProducts(layers, section, rounded, exact, where, i === last);
      const given = new Map<string, Input>(), folded = new Map<string, Float32Array>();
      for (const [by, sums] of products) {
        const met = section.multiplied.filter((it) =>
          it.by === by && tensorsOf(it.weight).some((it) => isWanted(it) && !isMade(it))
        );
        if (met.length === 0) continue;
        const scales = method !== "importance" ? await fold(section, by, sums) : undefined;
        if (scales) folded.set(by, scales);
        if (met.every((it) => it.experts)) continue; // who have sums of their own
        given.set(by, inputOf(method, scales ? divideProducts(sums, scales) : sums, scales));
      }
      for (const { weight, by, experts } of section.multiplied) {
        if (experts) continue;
        const { count, squares } = products.get(by)!;
        for (const name of tensorsOf(weight)) {
          inputs.set(name, { counts: [count], squares: Float32Array.from(squares) });
          if (isWanted(name) && !isMade(name)) await put(name, given.get(by)!);
        }
      }
      for (const [by, all] of products) {
        const stacks = section.multiplied.filter((it) => it.experts && it.by === by);
        if (stacks.length > 0) await putExperts(section, stacks, all, folded.get(by));
      }
      const names = section.multiplied.flatMap(({ weight }) => tensorsOf(weight));
      draft.note(section.name, writeSums(names, inputs));
      await keep();
    }
    if (i === last) break;
    await advance(layers, section, rounded, where);
    forget(layers, exact, i + 1);
    forget(layers, rounded, i + 1);
  }
  return inputs;
}

/** Sums of tensors as a journal keeps them. */
function writeSums(names: readonly string[], inputs: ReadonlyMap<string, ImatrixSums>): unknown {
  return names.map((name) => {
    const { counts, squares } = inputs.get(name)!;
    return [name, counts, new Uint8Array(squares.buffer).toBase64()];
  });
}

function readSums(noted: unknown): [name: string, sums: ImatrixSums][] {
  return ((noted ?? []) as [string, number[], string][]).map(([name, counts, text]) => [
    name,
    { counts, squares: new Float32Array(Uint8Array.fromBase64(text).buffer) },
  ]);
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
  const flow = errorFlow(products.sums, products.columns, dampingFor(products));
  return { ...input, gptq: { flow, correction: driftCorrection(products.drift, flow) } };
}

/**
 * What is added to the diagonal: few inputs span few of the directions that others will have, and
 * errors must not all be put where none of those few is.
 */
function dampingFor({ columns, count }: Products): number {
  return Math.max(0.01, 0.05 * columns / Math.max(1, count));
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

/** A stack of matrices as one matrix. */
function flat(entry: TensorEntry): TensorEntry {
  const columns = entry.shape.at(-1)!;
  return { ...entry, shape: [elements(entry.shape) / columns, columns] };
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
