/**
 * How far each tensor of a written file is from its source.
 *
 * @module
 */

import { elements } from "../../kernels/op.ts";
import { recordProgram } from "../../runtime/engine/record.ts";
import type { ResolvedModel } from "../../runtime/engine/resolve.ts";
import type { ModelFile, TensorEntry } from "../../runtime/files/model_file.ts";
import { readVector } from "../../runtime/models/weights.ts";
import type { Importances } from "../imatrix.ts";
import type { Section } from "../sections.ts";

/** How far a tensor is from its source. */
export interface TensorError {
  /** Name in the file. */
  readonly name: string;
  /** Type in the written file. */
  readonly type: string;
  /** Number of its layer, from 0; absent outside of layers. */
  readonly layer?: number;
  /**
   * √(Σ m·(w − ŵ)² ∕ Σ m·w²) over all numbers, where m is the mean square of what a number's column is
   * multiplied with: the part of the matrix's results that the error is. Where that is not known, m is 1.
   */
  readonly error: number;
  /** Whether m was known. */
  readonly weighted: boolean;
}

/** Most numbers that are read at once. */
const PIECE = 1 << 20;

/**
 * Compares the tensors of a file with those of its source, where their types differ; the largest error
 * first.
 *
 * @param model the source's
 * @param sections where norms were divided by scales that matrices were multiplied with: the model's
 * @param importances mean squares of what matrices are multiplied with, by name of tensor
 */
export async function tensorErrors(
  source: ModelFile,
  made: ModelFile,
  { model, sections = [], importances, signal }: {
    readonly model: ResolvedModel;
    readonly sections?: readonly Section[] | undefined;
    readonly importances: ReadonlyMap<string, Importances>;
    readonly signal?: AbortSignal | undefined;
  },
): Promise<TensorError[]> {
  const layers = layersOfTensors(model), scales = await foldedScales(source, made, model, sections);
  const errors: TensorError[] = [];
  for (const [name, entry] of source.tensors) {
    const other = made.tensors.get(name);
    if (!other || other.type === entry.type) continue;
    const weights = importances.get(name), layer = layers.get(name);
    errors.push({
      ...{ name, type: other.type, weighted: weights !== undefined },
      ...(layer !== undefined && { layer }),
      error: await errorOf(entry, other, weights, scales.get(name), signal),
    });
  }
  return errors.sort((a, b) => b.error - a.error);
}

async function errorOf(
  source: TensorEntry,
  made: TensorEntry,
  importances: Importances | undefined,
  scales: Float32Array | undefined,
  signal: AbortSignal | undefined,
): Promise<number> {
  const columns = source.shape.at(-1)!, rows = elements(source.shape) / columns;
  const rowsOfMatrix = rows / (importances?.matrices ?? 1);
  const step = Math.max(1, Math.floor(PIECE / columns));
  let lost = 0, whole = 0;
  for (let first = 0; first < rows; first += step) {
    signal?.throwIfAborted();
    const count = Math.min(step, rows - first);
    const w = await readVector(rowsOf(source, first, count, columns));
    const found = await readVector(rowsOf(made, first, count, columns)); // [count, columns]
    for (let r = 0; r < count; r++) {
      const matrix = Math.floor((first + r) / rowsOfMatrix);
      for (let j = 0, i = r * columns; j < columns; j++, i++) {
        const m = importances ? importances.meanSquares[matrix * columns + j]! : 1;
        const error = w[i]! - found[i]! / (scales ? scales[j]! : 1);
        lost += m * error * error;
        whole += m * w[i]! * w[i]!;
      }
    }
  }
  return whole > 0 ? Math.sqrt(lost / whole) : 0;
}

/** Some rows of a tensor. */
function rowsOf(entry: TensorEntry, first: number, count: number, columns: number): TensorEntry {
  const rowBytes = entry.bytes / (elements(entry.shape) / columns);
  return {
    ...{ ...entry, shape: [count, columns] },
    ...{ offset: entry.offset + first * rowBytes, bytes: count * rowBytes },
  };
}

/** Layers of tensors, by name. */
function layersOfTensors({ programs, weights, sizes }: ResolvedModel): Map<string, number> {
  const layers = new Map<string, number>(), { encode, decode } = programs;
  for (const program of [encode, decode]) {
    if (!program) continue;
    const { nodes } = recordProgram(program, weights, sizes, { tokens: 1, rows: "all" });
    for (const { inputs, segment: { layer } } of nodes) {
      for (const { origin, name } of layer === undefined ? [] : inputs) {
        if (origin !== "weight") continue;
        for (const it of weights.get(name)!.tensors) layers.set(it, layer!);
      }
    }
  }
  return layers;
}

/**
 * What columns of matrices were multiplied with before they were rounded, by name of tensor: what the
 * norms before them were divided by.
 */
async function foldedScales(
  source: ModelFile,
  made: ModelFile,
  { weights }: ResolvedModel,
  sections: readonly Section[],
): Promise<Map<string, Float32Array>> {
  const found = new Map<string, Float32Array>();
  for (const { multiplied, norms } of sections) {
    for (const [by, [gain]] of norms) {
      const name = gain === undefined ? undefined : weights.get(gain)!.tensors[0];
      const [before, after] = [source.tensors.get(name ?? ""), made.tensors.get(name ?? "")];
      if (!before || !after) continue;
      const divided = await readVector(after);
      const scales = (await readVector(before)).map((it, j) => {
        // A channel whose gain is 0 gives zeros, by which no error is multiplied.
        return divided[j] === 0 ? 1 : it / divided[j]!;
      });
      if (scales.every((it) => it === 1)) continue;
      for (const { weight } of multiplied.filter((it) => it.by === by)) {
        for (const it of weights.get(weight)!.tensors) found.set(it, scales);
      }
    }
  }
  return found;
}
