/**
 * How an op runs on WebGPU: what a row of `WEBGPU` (kernels/webgpu.ts) provides. A kernel names its
 * shaders, and lays out the dispatches of one call; it never touches a device.
 *
 * Every shader has its parameters, a struct of 32-bit words, in `@group(0) @binding(0)`, and its
 * tensors in the bindings after it. WGSL does not promise that infinities, NaN and subnormals
 * survive arithmetic (W3C, WebGPU Shading Language, §15.7): kernels are written so that they do on
 * adapters that keep IEEE 754.
 *
 * @module
 */

import type { OpAttributes, OpName } from "./ops.ts";
import { columnsOf, elements, type TensorType } from "./op.ts";

/** One WGSL program; its entry point is `main`. */
export interface Shader {
  /** As reports and error messages call it. */
  readonly name: string;
  /** WGSL, without `enable` lines. */
  readonly code: string;
  /** The same with subgroup operations, for devices that have them. */
  readonly subgroups?: string;
  /** Whether it computes in f16, and is used only where the device can. */
  readonly f16?: boolean;
  /** How the bindings from 1 on are used. */
  readonly access: readonly Access[];
}

/** Use of a storage buffer. */
export type Access = "read" | "write";

/** Rows of a tensor that are bound together, because a binding has a greatest size. */
export interface Slice {
  /** The row of the tensor with which it begins. */
  readonly firstRow: number;
  /** Number of rows. */
  readonly rows: number;
  /** One buffer, or for a weight matrix one for each of its planes (pack/planes.ts). */
  readonly planes: readonly GPUBuffer[];
  /** Row of the planes that is its first, where matrices share them; 0 where absent. */
  readonly base?: number;
}

/** A tensor as a kernel finds it on the GPU. */
export interface GpuOperand extends TensorType {
  /** One, but for matrices larger than a binding. */
  readonly slices: readonly Slice[];
}

/** One dispatch of a shader. What depends on the number of tokens is a function of it. */
export interface Dispatch {
  /** What runs. */
  readonly shader: Shader;
  /** Values of its overrides. */
  readonly constants?: Readonly<Record<string, number>>;
  /** Buffers of the bindings from 1 on. */
  readonly buffers: readonly GPUBuffer[];
  /** Words of its parameters; floats by `floatBits`. */
  params(tokens: number): readonly number[];
  /** Workgroups in x and y; none where another dispatch does the work. */
  groups(tokens: number): Groups;
}

/** Workgroups in x and y. */
export type Groups = readonly [x: number, y: number];

/** What a kernel may choose by. */
export interface GpuTraits {
  /** Numbers that products of matrices are computed in; sums of many are f32 all the same. */
  readonly arithmetic: "f32" | "f16";
  /** Bytes of memory that a workgroup can have. */
  readonly workgroupBytes: number;
  /** Invocations that keep the device busy. */
  readonly invocations: number;
}

/** What every device can do. */
export const LEAST_TRAITS: GpuTraits = {
  arithmetic: "f32",
  workgroupBytes: 16384,
  invocations: 2 ** 17,
};

/** Buffers for what lies between the dispatches of one call; different ones have different places. */
export type Scratch = (bytes: number, place?: number) => GPUBuffer;

/** One call of an op. */
export interface GpuCall<N extends OpName = OpName> {
  /** Operands, in the op's order. */
  readonly inputs: readonly GpuOperand[];
  /** Result. */
  readonly output: GpuOperand;
  /** Settings of the op, as they were recorded. */
  readonly attrs: OpAttributes[N];
}

/** The WebGPU side of an op. */
export interface WebgpuKernel<N extends OpName = OpName> {
  /** Every shader that `encode` may name. */
  readonly shaders: readonly Shader[];
  /**
   * The dispatches of one call, in order. `scratch` gives buffers that are theirs from the first to
   * the last of them.
   */
  encode(
    inputs: readonly GpuOperand[],
    output: GpuOperand,
    attrs: OpAttributes[N],
    scratch: Scratch,
    traits: GpuTraits,
  ): readonly Dispatch[];
  /** How many calls `encodeTogether` takes; the plan has them one after another. */
  readonly together?: number;
  /** The dispatches of calls that do not need each other, where they can be fewer. */
  encodeTogether?(
    calls: readonly GpuCall<N>[],
    scratch: Scratch,
    traits: GpuTraits,
  ): readonly Dispatch[] | undefined;
}

/** Most workgroups along one axis that every device allows. */
export const MAX_GROUPS = 65535;

/**
 * Workgroups for `count` items of which each takes `each`. Shaders number them by
 * `group.y * groups.x + group.x`, and leave those beyond the last item alone.
 */
export function groupsFor(count: number, each: number): Groups {
  const groups = Math.ceil(count / each);
  const y = Math.ceil(groups / MAX_GROUPS);
  return [Math.ceil(groups / y), y];
}

/** The buffer of a tensor that is not a matrix. */
export function bufferOf(operand: GpuOperand): GPUBuffer {
  return operand.slices[0]!.planes[0]!;
}

/** Elements of a tensor in a run of so many tokens. */
export function elementsOf(type: TensorType, tokens: number): number {
  return type.perToken ? tokens * (elements(type.shape) / type.shape[0]!) : elements(type.shape);
}

/** Rows of a tensor in a run of so many tokens; a row is everything but the last dimension. */
export function rowsIn(type: TensorType, tokens: number): number {
  // The only extent of a list of ids is tokens too.
  return type.shape.length === 1 && type.perToken
    ? tokens
    : elementsOf(type, tokens) / columnsOf(type);
}
