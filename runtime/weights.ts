/**
 * Weights between the file and the backend: each is checked against the shape that the model
 * expects, given a layout, and streamed row by row into its final place.
 *
 * @module
 */

import { ModelError } from "../errors.ts";
import { type LayoutName, LAYOUTS, rowBytes } from "../quant/formats.ts";
import { ggmlType } from "../quant/ggml_types.ts";
import { transcoder } from "../quant/transcode.ts";
import type { Backend } from "./backend.ts";
import type { Graph, Tensor } from "./graph.ts";
import type { ModelFile, TensorEntry } from "./files/model_file.ts";
import type { ComputedWeight, FileWeight } from "./models/definition.ts";

/** How weights are stored: as near to the file as possible, or all matrices in one layout. */
export type WeightsOption = "as-is" | "int4" | "int8" | "f32";

/** Every value of `WeightsOption`. */
export const WEIGHTS_OPTIONS: readonly WeightsOption[] = ["as-is", "int4", "int8", "f32"];

/** A weight with its source and its layout. */
export interface ResolvedWeight {
  /** Name in the graph. */
  readonly name: string;
  /** `[rows, columns]` of a matrix, `[length]` of a vector, any extents of a computed table. */
  readonly shape: readonly number[];
  /** Whether the backend packs it for `matmul` and `embed`. */
  readonly matrix: boolean;
  /** Storage of a matrix; f32 for the rest. */
  readonly layout: LayoutName;
  /** Whether the layout keeps every value of the file. */
  readonly exact: boolean;
  /** Where it comes from: a tensor of the file or several on top of each other, or a computation. */
  readonly source: readonly TensorEntry[] | (() => Float32Array);
}

/** The weights of a model by their name in the graph. */
export type ResolvedWeights = ReadonlyMap<string, ResolvedWeight>;

/** Records weights in a graph as the model's `forward` asks for them. */
export interface WeightScope {
  /** Whether there is such a weight: optional biases and norms. */
  has(name: string): boolean;
  /** The weight as a tensor of the graph. */
  tensor(name: string): Tensor;
}

/**
 * Finds every weight in the file and chooses its layout.
 *
 * @throws ModelError when a tensor is missing, has another shape, or a type that cannot be used
 */
export function resolveWeights(
  specs: Iterable<FileWeight | ComputedWeight>,
  file: ModelFile,
  option: WeightsOption,
): ResolvedWeights {
  const resolved = new Map<string, ResolvedWeight>();
  for (const spec of specs) {
    if ("values" in spec) {
      const { name, shape, values } = spec;
      resolved.set(name, {
        name,
        shape,
        matrix: false,
        layout: "f32",
        exact: true,
        source: values,
      });
      continue;
    }
    const { name, shape } = spec;
    const source = findEntries(spec, file), { type, name: tensor } = source[0]!;
    const matrix = shape.length === 2;
    const layout = matrix ? chooseLayout(type, spec.kept ? "as-is" : option) : "f32";
    const { exact } = transcoder(type, layout, `tensor "${tensor}" of "${file.name}"`);
    resolved.set(name, { name, shape, matrix, layout, exact, source });
  }
  return resolved;
}

/** The tensors of the file that a weight consists of. */
function findEntries({ shape, tensor, fileShape }: FileWeight, file: ModelFile): TensorEntry[] {
  const names = typeof tensor === "string" ? [tensor] : tensor;
  const expected = fileShape ?? [shape[0]! / names.length, ...shape.slice(1)];
  const entries = names.map((name): TensorEntry => {
    const entry = file.tensors.get(name);
    if (!entry) {
      throw new ModelError(
        `Cannot load "${file.name}": tensor "${name}" is missing, expected one of shape ` +
          `[${expected.join(", ")}]; the file is incomplete or of another architecture`,
      );
    }
    if (!sameExtents(entry.shape, expected)) {
      throw new ModelError(
        `Cannot load "${file.name}": tensor "${name}" has shape [${entry.shape.join(", ")}], ` +
          `expected [${expected.join(", ")}]`,
      );
    }
    return entry;
  });
  const other = entries.find((it) => it.type !== entries[0]!.type);
  if (other) {
    throw new ModelError(
      `Cannot load "${file.name}": tensor "${other.name}" is of type ${other.type}, expected ` +
        `${entries[0]!.type} as "${entries[0]!.name}" is`,
    );
  }
  return entries;
}

/** Records weights of `weights` in `g`. */
export function weightScope(g: Graph, weights: ResolvedWeights): WeightScope {
  return {
    has: (name) => weights.has(name),
    tensor(name): Tensor {
      const weight = weights.get(name);
      if (!weight) throw new ModelError(`Cannot record weight "${name}": the model lists none`);
      const { shape, layout, matrix } = weight;
      return matrix
        ? g.matrix(name, shape as readonly [number, number], layout)
        : g.constant(name, shape);
    },
  };
}

/** Bytes of file that are read, converted and handed on at a time. */
const CHUNK_BYTES = 2 ** 20;

/**
 * Streams every weight into the backend, in the order of the file. At any time one chunk is held
 * outside the backend.
 */
export async function loadWeights(
  weights: ResolvedWeights,
  backend: Backend,
  options: { onProgress?: (loaded: number, total: number) => void; signal?: AbortSignal } = {},
): Promise<void> {
  const pieces: Piece[] = [];
  for (const weight of weights.values()) {
    if (typeof weight.source === "function") {
      const { buffer, byteOffset, byteLength } = weight.source();
      await backend.writeRows(weight.name, 0, new Uint8Array(buffer, byteOffset, byteLength));
    } else pieces.push(...piecesOf(weight, weight.source));
  }
  pieces.sort(({ entries: [a] }, { entries: [b] }) =>
    a!.source.name === b!.source.name
      ? a!.offset - b!.offset
      : a!.source.name < b!.source.name
      ? -1
      : 1
  );
  const total = pieces.reduce((sum, { rows, stride }) => sum + rows * stride, 0);
  let loaded = 0;
  const chunk = new Uint8Array(Math.max(CHUNK_BYTES, ...pieces.map(({ stride }) => 16 * stride)));
  for (const piece of pieces) {
    const { weight, firstRow, rows, stride, entries: [first] } = piece;
    const columns = weight.shape.at(-1)!;
    const convert = transcoder(first!.type, weight.layout, `tensor "${first!.name}"`);
    const rowsAtOnce = Math.max(16, Math.floor(CHUNK_BYTES / stride / 16) * 16);
    for (let row = 0; row < rows; row += rowsAtOnce) {
      options.signal?.throwIfAborted();
      const count = Math.min(rowsAtOnce, rows - row);
      const bytes = await readRows(piece, row, chunk.subarray(0, count * stride));
      await backend.writeRows(weight.name, firstRow + row, convert.rows(bytes, columns));
      options.onProgress?.(loaded += count * stride, total);
    }
  }
}

/** Rows of a weight that are read one after the other. */
interface Piece {
  readonly weight: ResolvedWeight;
  /** First row in the weight: a multiple of 16, as backends want it. */
  readonly firstRow: number;
  readonly rows: number;
  /** Bytes of a row in the file. */
  readonly stride: number;
  /** Tensors of equal height that hold the rows. */
  readonly entries: readonly TensorEntry[];
}

/** One piece for each tensor, so that all are read in the order of the file, where that is possible. */
function piecesOf(weight: ResolvedWeight, entries: readonly TensorEntry[]): Piece[] {
  const rows = weight.shape.length === 2 ? weight.shape[0]! : 1, each = rows / entries.length;
  const stride = entries[0]!.bytes / each;
  if (each % 16 !== 0) return [{ weight, firstRow: 0, rows, stride, entries }];
  return entries.map((entry, i) => ({
    weight,
    firstRow: i * each,
    rows: each,
    stride,
    entries: [entry],
  }));
}

/** Rows of a piece, from `row` on, as many as fill `out`. */
async function readRows(
  { rows, stride, entries }: Piece,
  row: number,
  out: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array> {
  const each = rows / entries.length * stride;
  const start = row * stride, first = Math.floor(start / each);
  if (start + out.length <= (first + 1) * each) {
    const { source, offset } = entries[first]!;
    return await source.read(offset + start - first * each, out.length, out);
  }
  for (let at = 0; at < out.length;) {
    const i = Math.floor((start + at) / each), within = start + at - i * each;
    const length = Math.min(each - within, out.length - at);
    const { source, offset } = entries[i]!;
    const part = out.subarray(at, at + length);
    const bytes = await source.read(offset + within, length, part);
    if (bytes !== part) part.set(bytes);
    at += length;
  }
  return out;
}

/** Values of a small tensor that the model needs at load, such as frequency factors. */
export async function readVector(entry: TensorEntry): Promise<Float32Array> {
  const length = entry.shape.reduce((product, extent) => product * extent, 1);
  const bytes = await entry.source.read(entry.offset, entry.bytes);
  const rows = transcoder(entry.type, "f32", `tensor "${entry.name}"`).rows(bytes, length);
  return new Float32Array(rows.slice().buffer);
}

/** Bytes of a weight in its layout's exchange form. */
export function weightBytes({ shape, layout }: ResolvedWeight): number {
  const columns = shape.at(-1)!;
  const rows = shape.reduce((product, extent) => product * extent, 1) / columns;
  return rows * rowBytes(LAYOUTS[layout], columns);
}

function chooseLayout(type: string, option: WeightsOption): LayoutName {
  return option === "as-is" ? ggmlType(type)?.layout ?? "f32" : option;
}

/** Extents are equal, ignoring leading ones that some writers add to vectors or leave out. */
function sameExtents(found: readonly number[], expected: readonly number[]): boolean {
  const longer = Math.max(found.length, expected.length);
  const pad = (shape: readonly number[]): number[] => [
    ...Array(longer - shape.length).fill(1),
    ...shape,
  ];
  const a = pad(found), b = pad(expected);
  return a.every((extent, i) => extent === b[i]);
}
