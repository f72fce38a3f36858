/**
 * The checks that shape rules share. Every failure is a `ShapeError` that names the op, the input
 * and both shapes.
 *
 * @module
 */

import { ShapeError } from "../errors.ts";
import { columnsOf, type DType, elements, type Role, type TensorType } from "./op.ts";
import { LAYOUTS, rowBytes } from "../quant/formats.ts";

/** `f32 [tokens<=32, 64]`, as error messages and reports write a tensor's type. */
export function describe(type: TensorType): string {
  const extents = type.shape.map((n, i) => i === 0 && type.perToken ? `tokens<=${n}` : `${n}`);
  return `${type.dtype} [${extents.join(", ")}]${type.role === "dense" ? "" : ` ${type.role}`}`;
}

/** Throws unless the op got between `least` and `most` inputs. */
export function checkCount(
  op: string,
  inputs: readonly unknown[],
  least: number,
  most: number = least,
): void {
  if (inputs.length < least || inputs.length > most) {
    const expected = least === most ? `${least}` : `${least} to ${most}`;
    throw new ShapeError(
      `Cannot record ${op}: it has ${inputs.length} inputs, expected ${expected}`,
    );
  }
}

/** Throws unless input `name` has the role, one of the element types, and the rank. */
export function checkInput(
  op: string,
  name: string,
  type: TensorType,
  expected: { role?: Role; dtype?: readonly DType[]; rank?: number },
): void {
  const { role = "dense", dtype = ["f32"], rank } = expected;
  if (
    type.role !== role || !dtype.includes(type.dtype) ||
    (rank !== undefined && type.shape.length !== rank)
  ) {
    const form = `${dtype.join(" or ")} ${role}${rank === undefined ? "" : ` of rank ${rank}`}`;
    throw new ShapeError(`Cannot record ${op}: ${name} is ${describe(type)}, expected ${form}`);
  }
}

/** Throws unless `condition` holds; `problem` says what was found and expected. */
export function check(
  op: string,
  condition: boolean,
  problem: () => string,
): asserts condition {
  if (!condition) throw new ShapeError(`Cannot record ${op}: ${problem()}`);
}

/** Whether two types have the same extents and the same first dimension kind. */
export function sameShape(a: TensorType, b: TensorType): boolean {
  return a.perToken === b.perToken && a.shape.length === b.shape.length &&
    a.shape.every((extent, i) => extent === b.shape[i]);
}

/** A dense f32 result with the rows of `like` and `width` columns. */
export function rowsOf(like: TensorType, width: number): TensorType {
  return {
    shape: [...like.shape.slice(0, -1), width],
    dtype: "f32",
    role: "dense",
    perToken: like.perToken,
  };
}

/** Bytes of a tensor as the format specifications count them, before any backend's padding. */
export function tensorBytes(type: TensorType): number {
  const columns = columnsOf(type);
  const rows = elements(type.shape) / columns;
  if (type.dtype === "i32") return 4 * rows * columns;
  if (type.dtype === "a8") return rows * rowBytes(LAYOUTS.int8, columns);
  return rows * rowBytes(LAYOUTS[type.dtype], columns);
}

/** Bytes of all inputs and the result: the cost of an op that reads and writes each once. */
export function trafficBytes(inputs: readonly TensorType[], out: TensorType): number {
  return inputs.reduce((sum, type) => sum + tensorBytes(type), tensorBytes(out));
}
