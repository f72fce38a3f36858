/**
 * The tensors of a converted model. Nothing here maps names: a family lists its weights twice, once as
 * they lie in a folder and once as they lie in a GGUF file, under the same names in the graph, and a
 * tensor of the GGUF file is put together of the weights that would be taken from it.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { elements } from "../../kernels/op.ts";
import type { ModelFile, TensorEntry } from "../../runtime/files/model_file.ts";
import { rowGroups, stacked, wholeView } from "../../runtime/files/views.ts";
import {
  readVector,
  type ResolvedWeight,
  type ResolvedWeights,
  resolveWeights,
} from "../../runtime/models/weights.ts";
import { tensorsOf, type TensorSource, type WeightSpec } from "../../runtime/models/weight_spec.ts";

/** How some weights differ in GGUF files. */
export interface TensorRules {
  /** Whether the file has a tensor that not all files of its family have. */
  has(name: string): boolean;
  /** Extents of a tensor that `has` tells of, where the family looks at them. */
  shape?(name: string): readonly number[];
  /** Names of weights in the folder's list that have another one in the file's. */
  readonly others?: Readonly<Record<string, string>>;
  /** Length of the heads of a matrix or bias whose rows are exchanged, undefined for others. */
  rotated?(weight: string): number | undefined;
  /** First row of a table that the file has; those before it are left out. Default 0. */
  firstRow?(weight: string): number;
}

/** Tensors that llama.cpp takes in f32 alone, whatever the others are; vectors are so always. */
export const FLOAT_TENSORS: RegExp =
  /^(position_embd|token_types)\.weight$|\.ffn_gate_inp(_shexp)?\.weight$/;

/** The weights of a folder, all that are packed as f32. */
export function folderWeights(specs: Iterable<WeightSpec>, file: ModelFile): ResolvedWeights {
  const unpacked = Array.from(specs, (it): WeightSpec => ({ ...it, kept: false }));
  return resolveWeights(unpacked, file, "f32");
}

/** A file with nothing in it, which says of a name whether it is there. */
export function unwritten(
  name: string,
  metadata: Record<string, unknown>,
  { has, shape = () => [] }: TensorRules,
): ModelFile {
  const tensors: Map<string, TensorEntry> = new Map();
  const nowhere = (tensor: string): TensorEntry => ({
    ...{ name: tensor, shape: shape(tensor), type: "F32", offset: 0, bytes: 0 },
    source: { name, size: 0, read: () => Promise.resolve(new Uint8Array(0)), close() {} },
  });
  tensors.has = has;
  tensors.get = (it) => has(it) ? nowhere(it) : undefined;
  return { format: "gguf", name, metadata, tensors, close() {} };
}

/**
 * The tensors of the GGUF file.
 *
 * @param specs the weights as the family lists them for the GGUF file
 * @param weights those of the folder
 * @throws ModelError when the folder lacks one
 */
export function ggufTensors(
  specs: Iterable<WeightSpec>,
  weights: ResolvedWeights,
  file: ModelFile,
  rules: TensorRules,
): { readonly tensors: Map<string, TensorEntry>; readonly used: ReadonlySet<string> } {
  const pieces = new Map<string, { at: number; entries: TensorEntry[] }[]>();
  const shapes = new Map<string, readonly number[]>(), used = new Set<string>();
  for (const spec of specs) {
    if ("values" in spec.source) continue; // computed, in both forms
    const own = rules.others?.[spec.name] ?? spec.name, weight = weights.get(own);
    if (!weight || typeof weight.source === "function") {
      throw new ModelError(
        `Cannot convert ${quote(file.name)}: it has no weight ${quote(own)}, which GGUF files of ` +
          `its architecture have; use the model as it is`,
      );
    }
    used.add(own);
    const [place] = tensorsOf(spec.shape, spec.source) as [{ name: string; shape: number[] }];
    const list = pieces.get(place.name) ?? [];
    pieces.set(place.name, list);
    list.push({ at: firstRowOf(spec.source), entries: piecesOf(weight, rules) });
    shapes.set(place.name, place.shape);
  }
  const tensors = new Map<string, TensorEntry>();
  for (const [name, list] of pieces) {
    const entries = list.sort((a, b) => a.at - b.at).flatMap((it) => it.entries);
    const entry = { ...stacked(entries), name, shape: usual(shapes.get(name)!) };
    const isFloat = entry.shape.length === 1 || FLOAT_TENSORS.test(name);
    tensors.set(name, isFloat ? inFloat32(entry) : entry);
  }
  return { tensors, used };
}

function firstRowOf({ rows }: TensorSource): number {
  return rows?.[0]?.[0] ?? 0;
}

/** One row is a vector. */
function usual(shape: readonly number[]): readonly number[] {
  return shape.length === 2 && shape[0] === 1 ? shape.slice(1) : shape;
}

/** What a weight consists of, in the order of the GGUF file. */
function piecesOf(weight: ResolvedWeight, { rotated, firstRow }: TensorRules): TensorEntry[] {
  const entries = weight.source as readonly TensorEntry[], { name } = weight;
  const headDim = rotated?.(name), first = firstRow?.(name) ?? 0;
  if (headDim === undefined && first === 0) return [...entries];
  const whole = { ...stacked(entries), shape: weight.shape };
  if (headDim === undefined) {
    const rows = weight.shape[0]! - first, stride = whole.bytes / weight.shape[0]!;
    return [{
      ...whole,
      shape: [rows, ...weight.shape.slice(1)],
      offset: whole.offset + first * stride,
      bytes: rows * stride,
    }];
  }
  // Both halves of a head in turn: pairs that rotate together become neighbours.
  const half = headDim / 2;
  const order = Array.from({ length: headDim }, (_, i) => (i % 2) * half + (i >> 1));
  return [rowGroups(whole, order)];
}

/** A tensor of floats in f32. */
function inFloat32(entry: TensorEntry): TensorEntry {
  if (entry.type === "F32") return entry;
  const bytes = 4 * elements(entry.shape);
  const read = async (): Promise<Uint8Array> => {
    const { buffer, byteOffset, byteLength } = await readVector(entry);
    return new Uint8Array(buffer, byteOffset, byteLength);
  };
  const source = wholeView(
    entry.source,
    bytes,
    read,
    (all, start, into) => into.set(all.subarray(start, start + into.length)),
  );
  return { ...entry, type: "F32", source, offset: 0, bytes };
}
