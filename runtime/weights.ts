/**
 * Weights between the file and the backend: each is checked against the shape that the model
 * expects, given a layout, and brought into its final place.
 *
 * @module
 */

import { ModelError } from "../errors.ts";
import { quote } from "../escape.ts";
import { type LayoutName, LAYOUTS, rowBytes } from "../quant/formats.ts";
import { ggmlType } from "../quant/ggml_types.ts";
import { transcoder } from "../quant/transcode.ts";
import type { Backend, FilePart, LoadPartsOptions } from "./backend.ts";
import type { Graph, Tensor } from "./graph.ts";
import type { ModelFile, TensorEntry } from "./files/model_file.ts";
import { asFloat32 } from "./files/float64.ts";
import type { ByteSource } from "./files/source.ts";
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
    const entries = findEntries(spec, file), source = entries.map(asFloat32);
    const { type, name: tensor } = source[0]!;
    const matrix = shape.length === 2;
    const layout = matrix ? chooseLayout(type, spec.kept ? "as-is" : option) : "f32";
    const isRounded = entries.some((it) => it.type === "F64");
    const { exact: isKept } = transcoder(
      type,
      layout,
      `tensor ${quote(tensor)} of ${quote(file.name)}`,
    );
    const exact = isKept && !isRounded;
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
        `Cannot load ${quote(file.name)}: tensor ${quote(name)} ` +
          `is missing, expected one of shape ` +
          `[${expected.join(", ")}]; the file is incomplete or of another architecture`,
      );
    }
    if (!sameExtents(entry.shape, expected)) {
      throw new ModelError(
        `Cannot load ${quote(file.name)}: tensor ${quote(name)} has shape [${
          entry.shape.join(", ")
        }], ` +
          `expected [${expected.join(", ")}]`,
      );
    }
    return entry;
  });
  const other = entries.find((it) => it.type !== entries[0]!.type);
  if (other) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: tensor ${quote(other.name)} ` +
        `is of type ${other.type}, expected ` +
        `${entries[0]!.type} as ${quote(entries[0]!.name)} is`,
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
      if (!weight) {
        throw new ModelError(`Cannot record weight ${quote(name)}: the model lists none`);
      }
      const { shape, layout, matrix } = weight;
      return matrix
        ? g.matrix(name, shape as readonly [number, number], layout)
        : g.constant(name, shape);
    },
  };
}

/** Bytes of file that are read, converted and handed on at a time. */
const CHUNK_BYTES = 2 ** 20;

/** How `loadWeights` reports, and what ends it. */
export interface LoadWeightsOptions {
  /** Called with bytes of the file. */
  readonly onProgress?: ((loaded: number, total: number) => void) | undefined;
  /** Ends it with its reason. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Brings every weight into the backend: by the backend's own means where it has them, else in chunks
 * of about a megabyte, of which one is held at any time.
 *
 * @throws SourceError when something cannot be read, or a local file has been written meanwhile
 * @throws ModelError when a value cannot be held by its layout
 */
export async function loadWeights(
  weights: ResolvedWeights,
  backend: Backend,
  options: LoadWeightsOptions = {},
): Promise<void> {
  try {
    await bringWeights(weights, backend, options);
  } catch (error) {
    // What is wrong may come of this.
    if (!options.signal?.aborted) await checkUnchanged(weights);
    throw error;
  }
  await checkUnchanged(weights);
}

/** Throws a `SourceError` when a file has been written since it was opened. */
async function checkUnchanged(weights: ResolvedWeights): Promise<void> {
  const sources = new Set<ByteSource>();
  for (const { source } of weights.values()) {
    if (typeof source !== "function") { for (const entry of source) sources.add(entry.source); }
  }
  for (const source of sources) await source.unchanged?.();
}

async function bringWeights(
  weights: ResolvedWeights,
  backend: Backend,
  { onProgress, signal }: LoadWeightsOptions,
): Promise<void> {
  const parts: FilePart[] = [];
  for (const weight of weights.values()) {
    if (typeof weight.source !== "function") parts.push(...partsOf(weight, weight.source));
  }
  const order = (a: string, b: string): number => a < b ? -1 : a > b ? 1 : 0;
  parts.sort((a, b) => order(a.source.name, b.source.name) || a.offset - b.offset);
  const total = parts.reduce((sum, { bytes }) => sum + bytes, 0);
  let loaded = 0;
  const options = {
    signal,
    onStored: (bytes: number): void => onProgress?.(loaded += bytes, total),
  };
  const stored = backend.loadParts?.(parts, options);
  stored?.catch(() => {}); // it is awaited below
  try {
    // What is computed is computed while files are being read.
    for (const { name, source } of weights.values()) {
      if (typeof source !== "function") continue;
      const { buffer, byteOffset, byteLength } = source();
      await backend.writeRows(name, 0, new Uint8Array(buffer, byteOffset, byteLength));
    }
  } finally {
    await stored;
  }
  if (!stored) await streamParts(parts, weights, backend, options);
}

/** One part for each tensor, so that all are read in the order of the file, where that is possible. */
function partsOf(
  { name, shape, layout }: ResolvedWeight,
  entries: readonly TensorEntry[],
): FilePart[] {
  const rows = shape.length === 2 ? shape[0]! : 1, each = rows / entries.length;
  const part = (firstRow: number, rows: number, entry: TensorEntry): FilePart => {
    const { source, offset, bytes, type } = entry;
    const convert = transcoder(
      type,
      layout,
      `tensor ${quote(entry.name)} of ${quote(source.name)}`,
    );
    return { name, firstRow, rows, source, offset, bytes, convert };
  };
  if (entries.length === 1) return [part(0, rows, entries[0]!)];
  // Backends want rows in multiples of 16.
  if (each % 16 !== 0) return [part(0, rows, stacked(entries))];
  return entries.map((entry, i) => part(i * each, each, entry));
}

/** Tensors of equal size on top of each other, as one to read. */
function stacked(entries: readonly TensorEntry[]): TensorEntry {
  const [first] = entries, each = first!.bytes, bytes = each * entries.length;
  const source: ByteSource = {
    name: first!.source.name,
    size: bytes,
    async read(start, length, into = new Uint8Array(length)) {
      for (let at = 0; at < length;) {
        const i = Math.floor((start + at) / each), within = start + at - i * each;
        const count = Math.min(each - within, length - at);
        const { source, offset } = entries[i]!;
        await source.read(offset + within, count, into.subarray(at, at + count));
        at += count;
      }
      return into.subarray(0, length);
    },
    close(): void {},
  };
  return { ...first!, source, offset: 0, bytes };
}

/** Reads, converts and writes parts one after the other. */
async function streamParts(
  parts: readonly FilePart[],
  weights: ResolvedWeights,
  backend: Backend,
  { onStored, signal }: LoadPartsOptions,
): Promise<void> {
  const rowsAtOnce = ({ bytes, rows }: FilePart): number =>
    Math.min(rows, Math.max(16, Math.floor(CHUNK_BYTES * rows / bytes / 16) * 16));
  const most = parts.map((part) => rowsAtOnce(part) * part.bytes / part.rows);
  const chunk = new Uint8Array(Math.max(0, ...most));
  for (const part of parts) {
    const { name, firstRow, rows, source, offset, bytes, convert } = part;
    const columns = weights.get(name)!.shape.at(-1)!;
    const stride = bytes / rows, step = rowsAtOnce(part);
    for (let row = 0; row < rows; row += step) {
      signal?.throwIfAborted();
      const length = Math.min(step, rows - row) * stride;
      const read = await source.read(offset + row * stride, length, chunk);
      await backend.writeRows(name, firstRow + row, convert.rows(read, columns));
      onStored(length);
    }
  }
}

/** Values of a small tensor that the model needs at load, such as frequency factors. */
export async function readVector(tensor: TensorEntry): Promise<Float32Array> {
  const entry = asFloat32(tensor);
  const length = entry.shape.reduce((product, extent) => product * extent, 1);
  const bytes = await entry.source.read(entry.offset, entry.bytes);
  const rows = transcoder(entry.type, "f32", `tensor ${quote(entry.name)}`).rows(bytes, length);
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
