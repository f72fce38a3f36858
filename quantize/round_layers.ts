/**
 * Rounding what layers multiply with, each layer on what comes out of the already quantized ones
 * before it.
 *
 * @module
 */

import { InputError, ModelError } from "../errors.ts";
import { quote } from "../escape.ts";
import { elements } from "../kernels/op.ts";
import { tensorBlocks } from "../quant/ggml_types.ts";
import { GRIDS } from "../quant/grids.ts";
import type { ResolvedModel } from "../runtime/engine/resolve.ts";
import type { ModelFile, TensorEntry } from "../runtime/files/model_file.ts";
import { rowsOf } from "../runtime/files/views.ts";
import { readVector } from "../runtime/models/weights.ts";
import type { Draft } from "./draft.ts";
import { sumExpertsAs } from "./experts.ts";
import { foldingScales } from "./fold.ts";
import type { ImatrixSums } from "./imatrix.ts";
import {
  advance,
  forget,
  type Layers,
  resolveAgain,
  streamOf,
  sumInputs,
  type SumsKind,
} from "./layers.ts";
import type { ChosenOptions } from "./options.ts";
import type { Multiplied, Section } from "./sections.ts";
import type { TensorPlan } from "./types.ts";
import { encodeTensor } from "./wasm/encode.ts";
import {
  addShare,
  addSums,
  correctionOf,
  divideSums,
  flowOf,
  gptqTensor,
  meansOf,
  noSums,
  type WasmFlow,
  type WasmSums,
} from "./wasm/gptq.ts";
import type { Pool } from "./wasm/pool.ts";

/** Weights of the model that nothing was rounded in: an eighth of a bit does not move what is left of it. */
const EXACT = "int8";

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
  pool: Pool,
  { method, threads, saveImatrix, signal, onProgress = () => {} }: ChosenOptions,
): Promise<Map<string, ImatrixSums>> {
  const where = { backend: "wasm", ...(threads && { threads }), signal } as const;
  const entries = new Map(file.tensors);
  const exact = streamOf(ids, await resolveAgain(file, model, EXACT));
  let rounded = streamOf(ids, await resolveAgain(file, model, "as-is"));
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
  const isWritten = (name: string): void => {
    written.add(name);
    lookIn(name);
  };
  /** What was written is whole, and is what the texts meet from now on. */
  const keep = async (): Promise<void> => {
    draft.complete(Array.from(written));
    written.clear();
    rounded = {
      ...rounded,
      model: await resolveAgain({ ...file, tensors: entries }, model, "as-is"),
    };
  };
  const put = async (name: string, input?: Input): Promise<void> => {
    signal?.throwIfAborted();
    const { type } = plans.get(name)!, entry = file.tensors.get(name)!;
    await encoded(file, name, () => round(pool, entry, type, draft, input));
    isWritten(name);
  };
  /** Rounds stacks of experts' matrices with one input, each expert by what it read itself. */
  const putExperts = async (
    section: Section,
    stacks: readonly Multiplied[],
    all: WasmSums,
    scales: Float32Array | undefined,
  ): Promise<void> => {
    const { by, experts } = stacks[0]!, { columns } = all, count = experts!.count;
    const names = stacks.flatMap(({ weight }) => tensorsOf(weight));
    const wanted = new Set(names.filter((it) => isWanted(it) && !isMade(it)));
    const counts = new Array<number>(count).fill(0), squares = new Float32Array(count * columns);
    const about = { by, columns, experts: experts! };
    const sums = sumExpertsAs(layers, section, about, rounded, exact, where, kind);
    for await (const [e, { products, ...own }] of sums) {
      signal?.throwIfAborted();
      counts[e] = own.count;
      squares.set(own.squares, e * columns);
      if (wanted.size === 0) continue;
      // One that has read little takes a share of what all have read (`withOthers`).
      if (all.count > 0) await addShare(pool, products, all, columns / 4);
      if (scales) await divideSums(pool, products, scales);
      /** The expert's part of a tensor, and where it begins in its blocks. */
      const parts = stacks.flatMap(({ weight }) => {
        const tensors = tensorsOf(weight), isStack = tensors.length === 1;
        const name = tensors[isStack ? 0 : e]!;
        if (!wanted.has(name)) return [];
        const entry = file.tensors.get(name)!, rows = rowCount(entry) / count;
        return [
          isStack ? { entry: rowsOf(flat(entry), e * rows, rows), part: e } : { entry, part: 0 },
        ];
      });
      const rows = parts.reduce((sum, { entry }) => sum + rowCount(entry), 0);
      const input = await inputOf(pool, products, scales, rows);
      for (const { entry, part } of parts) {
        const { type } = plans.get(entry.name)!;
        await encoded(file, entry.name, () => round(pool, entry, type, draft, input, part));
      }
    }
    wanted.forEach(isWritten);
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
    sums: WasmSums,
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
    const matrices = Array.from(names, (name) => ({
      type: plans.get(name)!.type,
      entry: file.tensors.get(name)!,
    }));
    const scales = await foldingScales(pool, matrices, meansOf(sums));
    if (!scales) return undefined;
    for (const name of vectors) {
      const values = await readVector(file.tensors.get(name)!);
      const divided = values.map((it, j) => it / scales[j]!);
      draft.write(name, new Uint8Array(divided.buffer));
      isWritten(name);
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
  const kind: SumsKind<WasmSums> = {
    none: (columns) => noSums(pool, columns, method === "gptq"),
    add: (sums, found, exact) => addSums(pool, sums, found, exact),
    end: () => {},
    room: () => {
      const mark = pool.mark();
      return { [Symbol.dispose]: () => pool.release(mark) };
    },
  };
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
      const mark = pool.mark();
      const products = await sumInputs(layers, section, rounded, exact, where, kind, i === last);
      for (const [by, sums] of products) {
        const met = section.multiplied.filter((it) => it.by === by);
        const [stacks, others] = [met.filter((it) => it.experts), met.filter((it) => !it.experts)];
        const names = others.flatMap(({ weight }) => tensorsOf(weight));
        for (const name of names) {
          inputs.set(name, { counts: [sums.count], squares: Float32Array.from(sums.squares) });
        }
        const isMet = met.some((it) =>
          tensorsOf(it.weight).some((it) => isWanted(it) && !isMade(it))
        );
        const scales = isMet && method !== "importance" ? await fold(section, by, sums) : undefined;
        // Experts have sums of their own, and take a share of these as they are.
        if (stacks.length > 0) await putExperts(section, stacks, sums, scales);
        const wanted = names.filter((it) => isWanted(it) && !isMade(it));
        if (wanted.length === 0) continue;
        if (scales) await divideSums(pool, sums, scales);
        const rows = wanted.reduce((sum, it) => sum + rowCount(file.tensors.get(it)!), 0);
        const input = await inputOf(pool, sums, scales, rows);
        for (const name of wanted) if (!isMade(name)) await put(name, input);
      }
      pool.release(mark);
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

function rowCount({ shape }: TensorEntry): number {
  return elements(shape.slice(0, -1));
}

/** What matrices are multiplied with. */
interface Input {
  /** Mean square of each column's numbers. */
  readonly importances: Float32Array;
  /** What each of their columns is multiplied with, since the input is divided by that. */
  readonly scales: Float32Array | undefined;
  /** What GPTQ needs of it. */
  readonly gptq?: { readonly flow: WasmFlow; readonly correction: number | undefined };
}

/** What all matrices with one input share, `rows` rows in all. */
async function inputOf(
  pool: Pool,
  sums: WasmSums,
  scales: Float32Array | undefined,
  rows: number,
): Promise<Input> {
  const input = { importances: meansOf(sums), scales };
  if (sums.sums === undefined) return input;
  const flow = await flowOf(pool, sums, dampingFor(sums));
  return { ...input, gptq: { flow, correction: await correctionOf(pool, flow, rows) } };
}

/**
 * What is added to the diagonal: few inputs span few of the directions that others will have, and
 * errors must not all be put where none of those few is.
 */
function dampingFor({ columns, count }: WasmSums): number {
  return Math.max(0.01, 0.05 * columns / Math.max(1, count));
}

/**
 * A matrix in blocks of a type, which of its tensor's equal parts `part` says; every number counts alike where
 * nothing is multiplied with it.
 */
async function round(
  pool: Pool,
  entry: TensorEntry,
  type: string,
  draft: Draft,
  input: Input | undefined,
  part = 0,
): Promise<void> {
  if (input?.gptq) {
    const { scales, gptq: { flow, correction } } = input;
    return await gptqTensor(pool, entry, type, draft, flow, correction, scales, part);
  }
  // Where every number counts alike, the short search of K-quants loses no more than the long one.
  if (!input && tensorBlocks(type)!.blockSize === 256) {
    return await encodeTensor(pool, entry, type, draft, undefined, undefined, part);
  }
  const meanSquares = input?.importances ?? new Float32Array(entry.shape.at(-1)!).fill(1);
  await encodeTensor(pool, entry, type, draft, { matrices: 1, meanSquares }, input?.scales, part);
}

/** A stack of matrices as one matrix. */
function flat(entry: TensorEntry): TensorEntry {
  const columns = entry.shape.at(-1)!;
  return { ...entry, shape: [elements(entry.shape) / columns, columns] };
}

/** Encodes, and names the tensor in an error. */
export async function encoded(
  file: ModelFile,
  name: string,
  encode: () => Promise<void>,
): Promise<void> {
  try {
    await encode();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    throw new ModelError(
      `Cannot quantize tensor ${quote(name)} of ${quote(file.name)}: ${error.message}`,
      { cause: error },
    );
  }
}
