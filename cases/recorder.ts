/**
 * What the rows of the op case table are made of: a recorder that gives every tensor of a small
 * graph its numbers, and the seeded numbers themselves.
 *
 * @module
 */

import { Graph, type Tensor } from "../graph.ts";
import type { OpAttributes, OpName } from "../kernels/ops.ts";
import { type CacheType, elements } from "../kernels/op.ts";
import type { LayoutName } from "../quant/formats.ts";
import type { Extents } from "../runtime/graph/graph.ts";
import { randomNumbers } from "./numbers.ts";

/** One run of a case. */
export interface Run {
  /** How many runs came before it: caches keep what those stored. */
  readonly index: number;
  /** Tokens that run: at most those of the graph. */
  readonly tokens: number;
}

type CacheRole = "keyCache" | "valueCache";
type CacheShape = readonly [rows: number, kvHeads: number, headDim: number];

/** The number at flat index `i` of a tensor. */
export type Values = (random: () => number, i: number, run: Run) => number;

/** One case of an op: a graph of that op, and whatever brings its operands about. */
export interface OpCase<N extends OpName> {
  /** What is special about it. */
  readonly title: string;
  /** Most tokens of a run; 6 where absent. */
  readonly tokens?: number;
  /** Tokens of successive runs; one run of all tokens where absent. */
  readonly runs?: readonly number[];
  /** Greatest deviation from the reference that is allowed; see `deviation` in runner.ts. */
  readonly bound: number;
  /** Whether `deno task bench` times it. */
  readonly bench?: true;
  /** Records the graph around `op` and returns the tensor to compare. */
  record(
    r: Recorder,
    op: (inputs: readonly Tensor[], attrs: OpAttributes[N]) => Tensor,
  ): Tensor;
}

/** The cases of every op: an op without a row is a type error. */
export type OpCases = { readonly [N in OpName]: readonly OpCase<N>[] };

/** Where a tensor's numbers come from. */
export interface Drawn {
  /** Number by index. */
  readonly values: Values;
  /** Makes the numbers of different tensors different. */
  readonly seed: number;
}

/** Records tensors with their numbers. */
export class Recorder {
  /** The graph that is compared and timed. */
  readonly graph: Graph;
  /** What runs before each of its runs: it fills caches. */
  readonly setup: Graph = new Graph();
  /** Numbers of every input, matrix and constant of both. */
  readonly drawn: Map<Tensor, Drawn> = new Map();
  readonly #prefix: string;

  /** Empty graphs; `prefix` keeps weights of different cases apart on one backend. */
  constructor(tokens: number, prefix: string) {
    this.graph = new Graph({ tokens });
    this.#prefix = prefix;
  }

  /** Numbers that are written before every run. */
  input(shape: Extents, values: Values = normal()): Tensor {
    return this.#draw(this.graph.input(this.#name(), shape), values);
  }

  /** Row numbers that are written before every run. */
  indices(shape: Extents, values: Values): Tensor {
    return this.#draw(this.graph.input(this.#name(), shape, "i32"), values);
  }

  /** Constant numbers. */
  constant(shape: readonly number[], values: Values = normal()): Tensor {
    return this.#draw(this.graph.constant(this.#name(), shape), values);
  }

  /** A weight matrix: the numbers as its layout rounds them. */
  matrix(shape: readonly [number, number], layout: LayoutName, values = normal()): Tensor {
    return this.#draw(this.graph.matrix(this.#name(), shape, layout), values);
  }

  /** A cache of zeros. */
  cache(role: CacheRole, shape: CacheShape, dtype: CacheType = "f32"): Tensor {
    return this.graph.cache(this.#name(), role, shape, dtype);
  }

  /** A cache with as many rows stored before every run: `x` holds them, `places` the rows where they go. */
  filledCache(
    role: CacheRole,
    shape: CacheShape,
    dtype: CacheType,
    x: Values,
    places: Values,
  ): Tensor {
    const [rows, kvHeads, headDim] = shape;
    const name = this.#name();
    this.setup.op("cacheStore", [
      this.setup.cache(name, role, shape, dtype),
      this.#draw(this.setup.input(`${name}.x`, [rows, kvHeads * headDim]), x),
      this.#draw(this.setup.input(`${name}.rows`, [rows], "i32"), places),
    ]);
    return this.graph.cache(name, role, shape, dtype);
  }

  #name(): string {
    return `${this.#prefix}.${this.graph.tensors.length}`;
  }

  #draw(tensor: Tensor, values: Values): Tensor {
    this.drawn.set(tensor, { values, seed: this.drawn.size });
    return tensor;
  }
}

/** The numbers of a tensor in a run, the same for every backend. */
export function drawNumbers(tensor: Tensor, { values, seed }: Drawn, run: Run): Float64Array {
  const random = randomNumbers(1000 * seed + run.index + 1);
  const rows = tensor.perToken ? run.tokens : tensor.shape[0]!;
  const length = rows * elements(tensor.shape.slice(1));
  return Float64Array.from({ length }, (_, i) => values(random, i, run));
}

/** Normally distributed. */
export function normal(deviation = 1, mean = 0): Values {
  return (random) =>
    mean +
    deviation * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** Numbers that kernels get wrong: no numbers, limits of f32, bounds of the exponential. */
const HARD = [
  ...[NaN, Infinity, -Infinity, 0, -0, 1e30, -1e30, 3e38, -3e38, 1e-40, -1e-40, 1e-20],
  ...[87, -87, 87.6, -87.6, 88.3, -88.3, 88.7, -88.7, 89, -89, 104, -104, 20, -20],
];

/** Normally distributed, with one in three from a list of hard numbers. */
export function hard(deviation = 3): Values {
  const rest = normal(deviation);
  return (random, i, run) =>
    random() < 1 / 3 ? HARD[Math.floor(random() * HARD.length)]! : rest(random, i, run);
}

/** `values` but for one in `every`, which are `planted`. */
export function planted(planted: readonly number[], every: number, values = normal()): Values {
  return (random, i, run) => {
    const value = values(random, i, run);
    const which = Math.floor(random() * every * planted.length);
    return which < planted.length ? planted[which]! : value;
  };
}

/** The same number everywhere. */
export function all(value: number): Values {
  return () => value;
}

/** A list, repeated as often as needed. */
export function list(values: readonly number[]): Values {
  return (_, i) => values[i % values.length]!;
}

/** Whole numbers from 0 up to, not including, `end`. */
export function below(end: number): Values {
  return (random) => Math.floor(random() * end);
}
