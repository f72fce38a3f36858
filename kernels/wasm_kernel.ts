/**
 * How an op's WebAssembly kernel is called: what a row of `WASM` (kernels/wasm.ts) provides, and
 * the form of the tape that the kernels execute (kernels/tape.as.ts).
 *
 * @module
 */

import { BackendError } from "../errors.ts";
import type { OpAttributes, OpName } from "./ops.ts";
import type { TensorType } from "./op.ts";

/** Words (int32) of one step of a tape. */
export const STEP_WORDS = 32;

/** Words of a step before its arguments: opcode, flags, chunk counter, reserved. */
export const STEP_HEADER_WORDS = 4;

/** Flag of a step: wait for all workers before it starts. */
export const FLAG_BARRIER = 1;

/** A tensor as a kernel finds it in memory. */
export interface Operand extends TensorType {
  /** Byte address of its first element. */
  readonly address: number;
  /**
   * Address of an int32 cell with the number of rows of this run: the run's tokens where the
   * tensor is per token, else all rows. A row is everything but the last dimension.
   */
  readonly rows: number;
}

/** A step before it is written to the tape. */
export interface EncodedStep {
  /** Exported kernel function. */
  readonly kernel: string;
  /** At most 28 int32 arguments. */
  readonly args: readonly number[];
  /** Bytes of scratch memory that each worker needs. */
  readonly scratchBytes?: number;
}

/** The WebAssembly side of an op. */
export interface WasmKernel<N extends OpName = OpName> {
  /** Every function that `encode` may name, exported by the op's `wasm.as.ts` files. */
  readonly kernels: readonly string[];
  /** Chooses the function and lays out its arguments. */
  encode(inputs: readonly Operand[], output: Operand, attrs: OpAttributes[N]): EncodedStep;
}

/** Throws when attributes ask for steps that only another backend does as one. */
export function refuseFused(op: OpName, attrs: object): void {
  const fused = Object.entries(attrs).filter(([, value]) => value !== undefined);
  if (fused.length === 0) return;
  throw new BackendError(
    `Cannot compile ${op}: it has ${fused.map(([name]) => name).join(", ")}, expected none; ` +
      `backend "wasm" has separate ops for it`,
  );
}
