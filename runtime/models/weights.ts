/**
 * From the weights that a model lists to the tensors of its file: each is checked against the shape
 * that the model expects, and given a layout. load_weights.ts brings them into a backend.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote, word } from "../../escape.ts";
import { type LayoutName, LAYOUTS, rowBytes } from "../../quant/formats.ts";
import { ggmlType } from "../../quant/ggml_types.ts";
import { transcoder } from "../../quant/transcode.ts";
import { asFloat32 } from "../files/float64.ts";
import type { ModelFile, TensorEntry } from "../files/model_file.ts";
import { packedEntry } from "../files/packed_blocks.ts";
import { packedOf } from "../files/packed_matrix.ts";
import { rowScaled } from "../files/row_scaled.ts";
import { beside, rowsOf, stacked, transposed } from "../files/views.ts";
import type { Graph, Tensor } from "../graph/graph.ts";
import { listOrders, unpackWeight } from "./packed_weight.ts";
import {
  type ComputeWeight,
  type ResolvedWeight,
  type ResolvedWeights,
  WEIGHTS_OPTIONS,
  type WeightsOption,
} from "./resolved_weight.ts";
import { tensorsOf, type TensorSource, type WeightSpec } from "./weight_spec.ts";
import { elements } from "../../kernels/op.ts";

export { WEIGHTS_OPTIONS };
export type { ComputeWeight, ResolvedWeight, ResolvedWeights, WeightsOption };

/** Records weights in a graph as the model's `forward` asks for them. */
export interface WeightScope {
  /** Whether there is such a weight: optional biases and norms. */
  has(name: string): boolean;
  /** The weight as a tensor of the graph. */
  tensor(name: string): Tensor;
}

/** Matrices with a row for each word, the embedding table and the head, where they are stored otherwise. */
export interface WordTables {
  /** Words, which is what they are known by. */
  readonly vocabSize: number;
  /** How they are stored. */
  readonly option: WeightsOption;
}

/**
 * Finds every weight in the file and chooses its layout.
 *
 * @throws ModelError when a tensor is missing, has another shape, or a type that cannot be used
 */
export function resolveWeights(
  specs: Iterable<WeightSpec>,
  file: ModelFile,
  option: WeightsOption,
  words?: WordTables,
): ResolvedWeights {
  const resolved = new Map<string, ResolvedWeight>();
  const orders = new Map<ResolvedWeight, ArrayLike<number>>();
  for (const spec of specs) {
    const { role, shape, kept } = spec;
    const isWords = role === "matrix" && shape[0] === words?.vocabSize;
    const wanted = isWords ? words!.option : kept ? "as-is" : option;
    const found = resolve(spec, file, role === "matrix" ? wanted : "f32"), { order } = found;
    const asIs = isWords && kept && wanted !== "as-is"
      ? { asIs: resolve(spec, file, "as-is").weight }
      : {};
    const weight = { ...found.weight, ...asIs };
    resolved.set(spec.name, weight);
    if (order) orders.set(weight, order);
  }
  for (const weight of listOrders(orders)) resolved.set(weight.name, weight);
  return resolved;
}

/** A weight, and the order of its columns where it is not that of their inputs. */
interface Resolved {
  readonly weight: ResolvedWeight;
  readonly order?: ArrayLike<number> | undefined;
}

function resolve(spec: WeightSpec, file: ModelFile, wanted: WeightsOption): Resolved {
  const { name, role, shape, source, kept = false } = spec;
  if ("values" in source) {
    const { uses = [], values } = source;
    const entries = new Map(uses.map(({ name, shape }) => [name, findPlain(file, name, shape)]));
    const tensors = Array.from(entries.keys());
    const read = (tensor: string): Promise<Float32Array> => readVector(entries.get(tensor)!);
    const compute = async (): Promise<Float32Array> => await values(read);
    const computed = { name, role, shape, kept, tensors, exact: true, source: compute };
    return { weight: { ...computed, layout: "f32" } };
  }
  const found = findEntries(shape, source, file, wanted);
  const matrices = found.map(({ entry }) => packedOf(entry)).filter((it) => it !== undefined);
  // All are packed, or none: they are of one type.
  const unpacked = matrices.length > 0 ? unpackWeight(matrices, wanted) : undefined;
  const entries = unpacked?.entries ?? found.map((it) => it.entry);
  const pieces = entries.map(asFloat32);
  const scales = found.flatMap((it) => it.scales ?? []);
  const { type, name: tensor } = pieces[0]!;
  const layout = role === "matrix" ? chooseLayout(type, wanted) : "f32";
  const { exact } = transcoder(type, layout, `tensor ${quote(tensor)} of ${quote(file.name)}`);
  const weight = {
    ...{ name, role, shape, kept, layout },
    exact: exact && (unpacked?.exact ?? true) && !entries.some((it) => it.type === "F64") &&
      scales.every((it) => it.type === "F16"),
    tensors: unpacked?.tensors ?? [...entries, ...scales].map((it) => it.name),
    source: viewOf(pieces, unpacked ? { ...source, transposed: false } : source),
    ...(unpacked?.obstacle !== undefined && { obstacle: unpacked.obstacle }),
  };
  return { weight, order: unpacked?.order };
}

/** What a source makes of its tensors. */
function viewOf(
  entries: readonly TensorEntry[],
  { transposed: turned, sideBySide, rows }: TensorSource,
): readonly TensorEntry[] {
  const pieces = turned ? entries.map(transposed) : sideBySide ? [beside(entries)] : entries;
  if (!rows) return pieces;
  const whole = stacked(pieces);
  return rows.map(([first, count]) => rowsOf(whole, first, count));
}

/** The tensor of that name and those extents. */
function findPlain(file: ModelFile, name: string, expected: readonly number[]): TensorEntry {
  const entry = file.tensors.get(name);
  if (entry && sameExtents(entry.shape, expected)) {
    // Rows are counted by the expected extents.
    return entry.shape.length === expected.length ? entry : { ...entry, shape: expected };
  }
  const wanted = expected.join(", ");
  throw new ModelError(
    `Cannot load ${quote(file.name)}: tensor ${quote(name)} ` +
      (entry
        ? `has shape [${entry.shape.join(", ")}], expected [${wanted}]`
        : `is missing, expected one of shape [${wanted}]; the file is incomplete or of another ` +
          `architecture`),
  );
}

/** A tensor as a weight is read from it, and its scales where it has them in a tensor of their own. */
interface Found {
  readonly entry: TensorEntry;
  readonly scales?: TensorEntry;
}

/** The tensors of the file that a weight consists of. */
function findEntries(
  shape: readonly number[],
  source: TensorSource,
  file: ModelFile,
  option: WeightsOption,
): Found[] {
  const found = tensorsOf(shape, source).map(({ name, shape: expected }): Found => {
    const scales = file.tensors.get(`${name}_scale`), entry = file.tensors.get(name);
    if (entry && scales && isCodes(entry, expected)) {
      return { entry: scaled(entry, scales, expected, option), scales };
    }
    // A quantizer packs a matrix as products take it, however it lay in the file before.
    const isTurned = source.transposed && entry && packedOf(entry);
    return { entry: findPlain(file, name, isTurned ? expected.toReversed() : expected) };
  });
  const entries = found.map((it) => it.entry);
  const other = entries.find((it) => it.type !== entries[0]!.type);
  if (other) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: tensor ${quote(other.name)} is of type ${
        word(other.type)
      }, ` +
        `expected ${word(entries[0]!.type)} as ${quote(entries[0]!.name)} is`,
    );
  }
  return found;
}

/** Whether a tensor has the codes of a matrix, a byte for each number or for two. */
function isCodes(
  { type, shape }: TensorEntry,
  [rows, columns, ...more]: readonly number[],
): boolean {
  return type === "I8" && more.length === 0 && shape.length === 2 && shape[0] === rows &&
    (shape[1] === columns || 2 * shape[1]! === columns);
}

/** Codes with a scale for each row, in the form that loses least on the way to what is wanted. */
function scaled(
  codes: TensorEntry,
  scales: TensorEntry,
  [, columns]: readonly number[],
  option: WeightsOption,
): TensorEntry {
  const own = codes.shape[1] === columns ? "int8" : "int4";
  const keeps = option === own || option === "int8" || option === "f32";
  const form = option === "as-is" ? own : keeps ? option : "f32";
  return rowScaled(codes, scales, columns!, form);
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
      const { shape, layout, role } = weight;
      return role === "matrix"
        ? g.matrix(name, shape as readonly [number, number], layout)
        : g.constant(name, shape);
    },
  };
}

/** Values of a small tensor that the model needs at load, such as frequency factors. */
export async function readVector(tensor: TensorEntry): Promise<Float32Array> {
  const matrix = packedOf(tensor);
  const entry = asFloat32(matrix ? packedEntry(matrix, "f32") : tensor);
  const length = elements(entry.shape);
  const bytes = await entry.source.read(entry.offset, entry.bytes);
  const rows = transcoder(entry.type, "f32", `tensor ${quote(entry.name)}`).rows(bytes, length);
  return new Float32Array(rows.slice().buffer);
}

/** Bytes of a weight in its layout's exchange form. */
export function weightBytes({ shape, layout }: ResolvedWeight): number {
  const columns = shape.at(-1)!;
  const rows = elements(shape) / columns;
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
