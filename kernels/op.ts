/**
 * What an op is. One op is one folder `kernels/<op>/` and one row of `OPS`; this file is the form
 * that a row fills in. It holds no op and knows no backend.
 *
 * @module
 */

import type { LayoutName } from "../quant/formats.ts";

/**
 * Element type of a tensor: `f32` values, `i32` indices, `f16` (caches only), a weight layout, or
 * `a8`, activations quantized to int8 with one scale per 32 (written by `quantizeActivations`).
 */
export type DType = "f32" | "f16" | "i32" | "a8" | LayoutName;

/** Element type of a cache: `int8` has one f32 scale per 32 elements of a head (`cacheStore`). */
export type CacheType = "f32" | "f16" | "int8";

/** Every element type of a cache. */
export const CACHE_TYPES: readonly CacheType[] = ["f32", "f16", "int8"];

/**
 * How a backend stores a tensor: `dense` row-major numbers, a weight `matrix` packed in the
 * backend's own layout (only `matmul` and `embed` read one), or a key or value cache.
 */
export type Role = "dense" | "matrix" | "keyCache" | "valueCache";

/** What the graph knows of a tensor before any run. */
export interface TensorType {
  /** Extents, outermost first; capacity where `perToken`. */
  readonly shape: readonly number[];
  /** Element type. */
  readonly dtype: DType;
  /** How it is stored. */
  readonly role: Role;
  /** Whether the first dimension is the run's token count, `1 … shape[0]`. */
  readonly perToken: boolean;
}

/** A tensor during a reference run: row-major numbers whose shape is the run's true shape. */
export interface View {
  /** Extents of this run, outermost first. */
  readonly shape: readonly number[];
  /** Element type, to which an op that writes in place rounds. */
  readonly dtype: DType;
  /** `shape` product elements, row-major. Values are float64, indices int32. */
  readonly data: Float64Array | Float32Array | Float16Array | Int32Array;
}

/** Work done by one call, for rooflines and reports. */
export interface Cost {
  /** Floating-point (or integer multiply–add ×2) operations. */
  readonly flops: number;
  /** Bytes that must cross memory at least once. */
  readonly bytes: number;
}

/** An op: its shape rule, its definition as a loop, its cost. `A` is the attributes' type. */
export interface Op<A> {
  /** Result type for the inputs; throws `ShapeError` when they do not fit together. */
  shape(inputs: readonly TensorType[], attrs: A): TensorType;
  /** The definition: plain loops in float64. `out` is preset to zeros, or aliases the mutated input. */
  reference(out: View, inputs: readonly View[], attrs: A): void;
  /** Floating-point operations and bytes of one call at the given shapes. */
  cost(inputs: readonly TensorType[], attrs: A): Cost;
  /** Index of the input that is written in place; the result is then that same tensor. */
  readonly mutates?: number;
  /** An input whose numbers are rows of another one; kernels rely on the caller to check them. */
  readonly indexes?: {
    /** Index of the input with the numbers. */
    readonly input: number;
    /** Index of the input whose rows they are. */
    readonly into: number;
    /** Whether the number of rows itself is allowed: the end of a range. */
    readonly inclusive?: boolean;
    /** Whether −1 is allowed, which stands for none. */
    readonly orNone?: boolean;
    /** Whether any number is allowed, where that depends on attributes. */
    readonly any?: (attrs: A) => boolean;
    /** How many things they number, where these are not the rows. */
    readonly count?: (inputs: readonly TensorType[], attrs: A) => number;
  };
}

/** Attributes of an op that has none. */
export type NoAttributes = Readonly<Record<never, never>>;

/** Number of elements of a shape. */
export function elements(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

/** Extent of the last dimension: the elements of a row. */
export function columnsOf(type: TensorType): number {
  return type.shape.at(-1)!;
}
