/**
 * How a model lists its weights: what each is for, and where its numbers come from. A definition's
 * `weights` is thereby also its map of file names, for a quantizer or a converter to read.
 *
 * @module
 */

/** A weight of a model. */
export interface WeightSpec {
  /** Name in the graph. */
  readonly name: string;
  /**
   * What it is for. A `matrix [rows, columns]` is packed for `matmul` and `embed`; a `vector [length]`
   * and a `table` of any extents are plain f32 numbers.
   */
  readonly role: "matrix" | "vector" | "table";
  /** Extents in the graph. */
  readonly shape: readonly number[];
  /** Where its numbers come from. */
  readonly source: TensorSource | ComputedSource;
  /** Whether it stays as near to the file as possible, whatever layout matrices shall have. */
  readonly kept?: boolean;
}

/** Numbers of the file, as they lie there or nearly so. */
export interface TensorSource {
  /** Name in the file; of a weight that lies there in parts, all their names, the first rows first. */
  readonly tensor: string | readonly string[];
  /**
   * Extents of each such tensor where they are not those of the weight (divided by the number of
   * parts): `[experts, rows, columns]` of stacked matrices, `[columns, rows]` of a transposed one, the
   * whole of what `rows` are taken from.
   */
  readonly fileShape?: readonly number[];
  /** Whether it lies there as `[columns, rows]`. */
  readonly transposed?: boolean;
  /** Whether its parts have all rows and some of the columns each, the first columns first. */
  readonly sideBySide?: boolean;
  /**
   * Which rows of the tensor (as it is after transposing) make up the weight, as pairs of a first row
   * and a number of rows; all where absent. Thirds of a fused matrix, or a slice for each head.
   */
  readonly rows?: readonly (readonly [first: number, count: number])[];
}

/** Numbers that are computed at load, once the model is known to fit in memory. */
export interface ComputedSource {
  /** Tensors of the file that they are computed from, with their extents there. */
  readonly uses?: readonly { readonly name: string; readonly shape: readonly number[] }[];
  /** Computes them, row-major; `read` gives the numbers of a tensor. */
  values(read: ReadTensor): Float32Array | Promise<Float32Array>;
}

/** Reads all numbers of a tensor of the file, as f32. */
export type ReadTensor = (tensor: string) => Promise<Float32Array>;

/** The tensors that a weight needs of a file, with the extents that they have there. */
export function tensorsOf(
  shape: readonly number[],
  { tensor, fileShape, transposed, sideBySide }: TensorSource,
): { readonly name: string; readonly shape: readonly number[] }[] {
  const names = typeof tensor === "string" ? [tensor] : tensor, count = names.length;
  const part = sideBySide
    ? [...shape.slice(0, -1), shape.at(-1)! / count]
    : [shape[0]! / count, ...shape.slice(1)];
  const extents = fileShape ?? (transposed ? part.toReversed() : part);
  return names.map((name) => ({ name, shape: extents }));
}

/** A matrix `[rows, columns]` from the tensor of that name, or from a part of one. */
export function matrix(
  name: string,
  rows: number,
  columns: number,
  source: string | TensorSource,
): WeightSpec {
  return { name, role: "matrix", shape: [rows, columns], source: sourceOf(source) };
}

/** A matrix `[rows, columns]` for `embed` or a sensitive product: it stays as near to the file as possible. */
export function keptMatrix(
  name: string,
  rows: number,
  columns: number,
  source: string | TensorSource,
): WeightSpec {
  return { ...matrix(name, rows, columns, source), kept: true };
}

/** Numbers `[length]`, such as gains and biases. */
export function vector(name: string, length: number, source: string | TensorSource): WeightSpec {
  return { name, role: "vector", shape: [length], source: sourceOf(source) };
}

/** The matrix and the bias of a linear layer, from `TENSOR.weight` and `TENSOR.bias`. */
export function linear(name: string, rows: number, columns: number, tensor: string): WeightSpec[] {
  return [
    matrix(name, rows, columns, `${tensor}.weight`),
    vector(`${name}.bias`, rows, `${tensor}.bias`),
  ];
}

/**
 * Queries, keys and values of a layer, with biases, as Megatron-LM has them: one tensor
 * `[3 * hidden, hidden]` with the rows of the first head's queries, keys and values, then those of the
 * second head's. Where its rows lie in several tensors, `partsOf` gives their names.
 */
export function queriesKeysValues(
  layer: string,
  heads: number,
  headDim: number,
  tensor: string,
  partsOf: (tensor: string) => readonly string[] = (it) => [it],
): WeightSpec[] {
  const width = heads * headDim, fused = 3 * width / partsOf(tensor).length;
  return ["q", "k", "v"].flatMap((name, place) => {
    const rows = Array.from(
      { length: heads },
      (_, head) => [(3 * head + place) * headDim, headDim] as const,
    );
    const weight = { tensor: partsOf(`${tensor}.weight`), fileShape: [fused, width], rows };
    const bias = { tensor: partsOf(`${tensor}.bias`), fileShape: [fused], rows };
    return [
      matrix(`${layer}.${name}`, width, width, weight),
      vector(`${layer}.${name}.bias`, width, bias),
    ];
  });
}

/** The gain and the bias of a norm, from `TENSOR.weight` and `TENSOR.bias`. */
export function norm(name: string, length: number, tensor: string): WeightSpec[] {
  return [
    vector(name, length, `${tensor}.weight`),
    vector(`${name}.bias`, length, `${tensor}.bias`),
  ];
}

function sourceOf(source: string | TensorSource): TensorSource {
  return typeof source === "string" ? { tensor: source } : source;
}
