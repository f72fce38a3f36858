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
  /** Where it comes from: a tensor of the file, or what computes its values. */
  readonly source: TensorEntry | (() => Float32Array);
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
    const { name, shape, tensor } = spec;
    const entry = file.tensors.get(tensor);
    if (!entry) {
      throw new ModelError(
        `Cannot load "${file.name}": tensor "${tensor}" is missing, expected one of shape ` +
          `[${shape.join(", ")}]; the file is incomplete or of another architecture`,
      );
    }
    if (!sameExtents(entry.shape, shape)) {
      throw new ModelError(
        `Cannot load "${file.name}": tensor "${tensor}" has shape [${entry.shape.join(", ")}], ` +
          `expected [${shape.join(", ")}]`,
      );
    }
    const matrix = shape.length === 2;
    const layout = matrix ? chooseLayout(entry, option) : "f32";
    const { exact } = transcoder(entry.type, layout, `tensor "${tensor}" of "${file.name}"`);
    resolved.set(name, { name, shape, matrix, layout, exact, source: entry });
  }
  return resolved;
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
  const files: { weight: ResolvedWeight; entry: TensorEntry }[] = [];
  for (const weight of weights.values()) {
    if (typeof weight.source === "function") {
      const { buffer, byteOffset, byteLength } = weight.source();
      await backend.writeRows(weight.name, 0, new Uint8Array(buffer, byteOffset, byteLength));
    } else files.push({ weight, entry: weight.source });
  }
  files.sort((a, b) =>
    a.entry.source.name === b.entry.source.name
      ? a.entry.offset - b.entry.offset
      : a.entry.source.name < b.entry.source.name
      ? -1
      : 1
  );
  const total = files.reduce((sum, { entry }) => sum + entry.bytes, 0);
  let loaded = 0;
  const chunk = new Uint8Array(
    Math.max(CHUNK_BYTES, ...files.map(({ weight, entry }) => 16 * fileRowBytes(weight, entry))),
  );
  for (const { weight, entry } of files) {
    const columns = weight.shape.at(-1)!;
    const rows = weight.shape.length === 2 ? weight.shape[0]! : 1;
    const convert = transcoder(entry.type, weight.layout, `tensor "${entry.name}"`);
    const stride = fileRowBytes(weight, entry);
    const rowsAtOnce = Math.max(16, Math.floor(CHUNK_BYTES / stride / 16) * 16);
    for (let row = 0; row < rows; row += rowsAtOnce) {
      options.signal?.throwIfAborted();
      const count = Math.min(rowsAtOnce, rows - row);
      const bytes = await entry.source.read(
        entry.offset + row * stride,
        count * stride,
        chunk.subarray(0, count * stride),
      );
      await backend.writeRows(weight.name, row, convert.rows(bytes, columns));
      options.onProgress?.(loaded += count * stride, total);
    }
  }
}

/** Values of a small tensor that the model needs at load, such as frequency factors. */
export async function readVector(entry: TensorEntry): Promise<Float32Array> {
  const length = entry.shape.reduce((product, extent) => product * extent, 1);
  const bytes = await entry.source.read(entry.offset, entry.bytes);
  const rows = transcoder(entry.type, "f32", `tensor "${entry.name}"`).rows(bytes, length);
  return new Float32Array(rows.slice().buffer);
}

/** Bytes of one row in the file. */
function fileRowBytes({ shape }: ResolvedWeight, entry: TensorEntry): number {
  return entry.bytes / (shape.length === 2 ? shape[0]! : 1);
}

/** Bytes of a weight in its layout's exchange form. */
export function weightBytes({ shape, layout }: ResolvedWeight): number {
  const columns = shape.at(-1)!;
  const rows = shape.reduce((product, extent) => product * extent, 1) / columns;
  return rows * rowBytes(LAYOUTS[layout], columns);
}

function chooseLayout(entry: TensorEntry, option: WeightsOption): LayoutName {
  return option === "as-is" ? ggmlType(entry.type)?.layout ?? "f32" : option;
}

/** Extents are equal, ignoring leading ones that some writers add to vectors. */
function sameExtents(found: readonly number[], expected: readonly number[]): boolean {
  const extra = found.length - expected.length;
  return extra >= 0 && found.slice(0, extra).every((extent) => extent === 1) &&
    expected.every((extent, i) => extent === found[extra + i]);
}
