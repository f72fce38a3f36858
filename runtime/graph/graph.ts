/**
 * The recorded graph: a list of ops over named tensors, with shapes that are fixed when it is
 * recorded. It holds no data and computes nothing; a plan places it, a backend runs it.
 *
 * @module
 */

import { ShapeError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { CACHE_TYPES, type CacheType, type TensorType } from "../../kernels/op.ts";
import { accepts, checkValue, OBJECT, oneOf, readOptions, type Rules } from "../../options.ts";
import { type OpAttributes, type OpName, OPS } from "../../kernels/ops.ts";
import { LAYOUT_NAMES, type LayoutName } from "../../quant/formats.ts";
import { checkExtents, checkShape, isTensor, sameType } from "./shapes.ts";

/** Where a tensor's data comes from. */
export type Origin = "input" | "weight" | "cache" | "op";

/** A tensor of one graph. Weights and caches of one name are the same data in every graph. */
export interface Tensor extends TensorType {
  /** Index in the graph's `tensors`. */
  readonly id: number;
  /** Unique in the graph; inputs and outputs are written and read by it. */
  readonly name: string;
  /** Where its data comes from. */
  readonly origin: Origin;
}

/** A stretch of ops that stays in one memory. Graphs of one model share segments by name. */
export interface Segment {
  /** What placing goes by: stretches of one name are placed together, whichever graph has them. */
  readonly name: string;
  /** Which layer of the model it is, from 0, where it is one. */
  readonly layer?: number | undefined;
}

/** Name of the segment in which every graph begins. */
export const FIRST_SEGMENT = "start";

/** One recorded op. */
export interface GraphNode {
  /** Row of `OPS`. */
  readonly op: OpName;
  /** Operands, in the op's order. */
  readonly inputs: readonly Tensor[];
  /** Attributes, of the op's type. */
  readonly attrs: OpAttributes[OpName];
  /** Result; the mutated input itself for an op that writes in place. */
  readonly output: Tensor;
  /** Where it was recorded. */
  readonly segment: Segment;
}

/** Extents of an input: numbers, or `"tokens"` first for the run's token count. */
export type Extents = readonly [number | "tokens", ...number[]];

/** Options of a graph. */
export interface GraphOptions {
  /** Most tokens that one run may have; 1 where no input is per token. */
  readonly tokens?: number;
}

/** Which number it must be, the shapes of inputs tell. */
const GRAPH_RULES: Rules<GraphOptions> = {
  tokens: { expected: "a number", accepts: (value) => typeof value === "number" },
};

/**
 * Records ops; each call checks shapes at once. See the README for a graph that is built and run.
 *
 * @example
 * ```ts
 * import { Graph } from "@sparrow/sparrow/graph";
 *
 * const g = new Graph();
 * const x = g.input("x", [4, 8]);
 * const w = g.matrix("w", [16, 8]);
 * g.output("y", g.op("softmax", [g.op("matmul", [x, w])]));
 * ```
 */
export class Graph {
  /** Most tokens that one run may have. */
  readonly tokens: number;
  readonly #tensors: Tensor[] = [];
  readonly #nodes: GraphNode[] = [];
  readonly #outputs = new Map<string, Tensor>();
  readonly #names = new Map<string, Tensor>();
  readonly #segments: Segment[] = [];
  #segment: Segment = { name: FIRST_SEGMENT };

  /** An empty graph. */
  constructor(options: GraphOptions = {}) {
    this.tokens = readOptions("make a graph", options, GRAPH_RULES).tokens ?? 1;
  }

  /** Every tensor, in the order of recording. */
  get tensors(): readonly Tensor[] {
    return this.#tensors;
  }

  /** Every op, in the order of execution. */
  get nodes(): readonly GraphNode[] {
    return this.#nodes;
  }

  /** Tensors that can be read after a run, by output name. */
  get outputs(): ReadonlyMap<string, Tensor> {
    return this.#outputs;
  }

  /** What `cut` divided the graph into, in order; only what holds an op. */
  get segments(): readonly Segment[] {
    return this.#segments;
  }

  /**
   * Records data that the caller writes before a run.
   *
   * @throws ShapeError when the shape is no list of whole numbers of at least 1, but for a first
   * extent `"tokens"`, or the graph has another tensor of that name
   */
  input(name: string, shape: Extents, dtype: "f32" | "i32" = "f32"): Tensor {
    checkValue(`record input ${quote(name)}`, "type", dtype, oneOf(["f32", "i32"]));
    checkShape(name, shape);
    const perToken = shape[0] === "tokens";
    if (perToken && dtype === "f32" && shape.length === 1) {
      throw new ShapeError(
        `Cannot record ${quote(name)}: ` +
          `its shape is [tokens], expected rows of numbers: [tokens, width]`,
      );
    }
    const extents = [perToken ? this.tokens : shape[0], ...shape.slice(1)] as number[];
    return this.#add(name, "input", { shape: extents, dtype, role: "dense", perToken });
  }

  /** Records a weight matrix `[rows, columns]`, which `matmul` and `embed` read. */
  matrix(name: string, shape: readonly [number, number], layout: LayoutName = "f32"): Tensor {
    checkValue(`record matrix ${quote(name)}`, "layout", layout, oneOf(LAYOUT_NAMES));
    checkShape(name, shape, 2);
    return this.#add(name, "weight", { shape, dtype: layout, role: "matrix", perToken: false });
  }

  /** Records constant f32 numbers of any shape: gains, biases, tables. */
  constant(name: string, shape: readonly number[]): Tensor {
    checkShape(name, shape);
    return this.#add(name, "weight", { shape, dtype: "f32", role: "dense", perToken: false });
  }

  /** Records a cache of keys or values `[rows, kvHeads, headDim]`, kept between runs. */
  cache(
    name: string,
    role: "keyCache" | "valueCache",
    shape: readonly [number, number, number],
    dtype: CacheType = "f32",
  ): Tensor {
    checkValue(`record cache ${quote(name)}`, "role", role, oneOf(["keyCache", "valueCache"]));
    checkValue(`record cache ${quote(name)}`, "type", dtype, oneOf(CACHE_TYPES));
    checkShape(name, shape, 3);
    return this.#add(name, "cache", { shape, dtype, role, perToken: false });
  }

  /**
   * Records an op and returns its result. `OpAttributes` says of every op which inputs it takes, in
   * their order and with their shapes, which attributes, and what it gives.
   *
   * @throws ShapeError when there is no such op, the inputs do not fit together, or an attribute is
   * unknown or wrong
   */
  op<N extends OpName>(
    op: N,
    inputs: readonly Tensor[],
    ...rest: Record<never, never> extends OpAttributes[N] ? [attrs?: OpAttributes[N]]
      : [attrs: OpAttributes[N]]
  ): Tensor {
    if (typeof op !== "string" || !Object.hasOwn(OPS, op)) {
      const what = typeof op === "string" ? op : quote(op);
      throw new ShapeError(
        `Cannot record ${what}: there is no such op, expected ${Object.keys(OPS).join(", ")}`,
      );
    }
    const given = rest[0] ?? {}, type = OPS[op].shape(inputs, given as OpAttributes[N]);
    const attrs = { ...given } as OpAttributes[N];
    inputs = Array.from(inputs);
    for (const input of inputs) this.#checkOwn(op, input);
    return this.#record(op, inputs, attrs, type);
  }

  /**
   * Records an op of another graph once more, for a copy of that graph. Where the inputs are of the
   * types that they have there, so is the result, and nothing is checked a second time.
   */
  repeat({ op, inputs: known, attrs, output }: GraphNode, inputs: readonly Tensor[]): Tensor {
    const isSame = inputs.length === known.length &&
      inputs.every((input, i) => sameType(input, known[i]!));
    if (!isSame) return this.op(op, inputs, attrs as never);
    for (const input of inputs) this.#checkOwn(op, input);
    return this.#record(op, inputs, attrs, output);
  }

  #record(
    op: OpName,
    inputs: readonly Tensor[],
    attrs: OpAttributes[OpName],
    type: TensorType,
  ): Tensor {
    const mutates = OPS[op].mutates;
    const output = mutates === undefined
      ? this.#add(`${op}.${this.#nodes.length}`, "op", type)
      : inputs[mutates]!;
    const segment = this.#segment;
    if (this.#segments.at(-1) !== segment) this.#segments.push(segment);
    this.#nodes.push({ op, inputs, attrs, output, segment });
    return output;
  }

  /** Records an input, weight or cache of another graph, for a copy of that graph. */
  adopt(tensor: Tensor): Tensor {
    if (!isTensor(tensor)) {
      throw new ShapeError(
        `Cannot adopt ${quote(tensor)}: expected an input, weight or cache of a graph`,
      );
    }
    return this.#add(tensor.name, tensor.origin, tensor);
  }

  /**
   * Makes the f32 result of an op readable under `name` after a run.
   *
   * @throws ShapeError when the tensor is no such result, or the name is taken
   */
  output(name: string, tensor: Tensor): void {
    this.#checkOwn(`output ${quote(name)}`, tensor);
    if (this.#outputs.has(name)) {
      throw new ShapeError(`Cannot record output ${quote(name)}: the graph has one of that name`);
    }
    if (tensor.origin !== "op" || tensor.dtype !== "f32") {
      throw new ShapeError(
        `Cannot record output ${quote(name)}: ${quote(tensor.name)} ` +
          `is of origin ${tensor.origin} and type ` +
          `${tensor.dtype}, expected the f32 result of an op`,
      );
    }
    this.#outputs.set(name, tensor);
  }

  /**
   * A graph of the same ops and tensors with these outputs alone.
   *
   * @throws ShapeError when one of them is none of this graph
   */
  withOutputs(names: readonly string[]): Graph {
    const graph = new Graph({ tokens: this.tokens });
    graph.#tensors.push(...this.#tensors);
    graph.#nodes.push(...this.#nodes);
    graph.#segments.push(...this.#segments);
    for (const [name, tensor] of this.#names) graph.#names.set(name, tensor);
    graph.#segment = this.#segment;
    for (const name of names) graph.output(name, this.#outputs.get(name)!);
    return graph;
  }

  /**
   * Ends a segment and begins another one: the graph may be divided here, as between layers, where it
   * is larger than one memory. A model names its segments, and what two of its graphs share (caches
   * that one writes and the other reads) belongs in segments of one name.
   *
   * @throws ShapeError when the graph has a segment of that name
   */
  cut(name: string = `segment ${this.#segments.length + 1}`, layer?: number): void {
    if (typeof name !== "string" || layer !== undefined && !Number.isInteger(layer)) {
      throw new ShapeError(
        `Cannot cut the graph at ${quote(name)}, layer ${
          quote(layer)
        }: expected a name and a number`,
      );
    }
    if (this.#segments.some((it) => it.name === name)) {
      throw new ShapeError(`Cannot cut the graph: it has a segment ${quote(name)} already`);
    }
    this.#segment = { name, layer };
  }

  #checkOwn(what: string, tensor: Tensor): void {
    if (!accepts(OBJECT, tensor) || typeof tensor.id !== "number") {
      throw new ShapeError(`Cannot record ${what}: ${quote(tensor)} is no tensor`);
    }
    if (this.#tensors[tensor.id] !== tensor) {
      throw new ShapeError(`Cannot record ${what}: ${quote(tensor.name)} is of another graph`);
    }
  }

  #add(name: string, origin: Origin, type: TensorType): Tensor {
    const known = this.#names.get(name);
    if (known !== undefined) {
      // A weight may be recorded where it is used, twice if it is used twice.
      if (known.origin === origin && origin !== "op" && sameType(known, type)) return known;
      throw new ShapeError(
        `Cannot record ${quote(name)}: the graph has another tensor of that name`,
      );
    }
    checkExtents(name, type.shape);
    const { shape, dtype, role, perToken } = type;
    const tensor: Tensor = {
      shape,
      dtype,
      role,
      perToken,
      id: this.#tensors.length,
      name,
      origin,
    };
    this.#tensors.push(tensor);
    this.#names.set(name, tensor);
    return tensor;
  }
}
