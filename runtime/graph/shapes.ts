/**
 * What a graph asks of the tensors that it is given: names, shapes, and that they are tensors at all.
 *
 * @module
 */

import { ShapeError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { elements, type TensorType } from "../../kernels/op.ts";
import { accepts, type Rule } from "../../options.ts";

/** Whether two tensors are of one type and shape. */
export function sameType(a: TensorType, b: TensorType): boolean {
  return a.dtype === b.dtype && a.role === b.role &&
    a.perToken === b.perToken && a.shape.length === b.shape.length &&
    a.shape.every((extent, i) => extent === b.shape[i]);
}

/** Throws unless a name is one and a shape is a list of extents, of `rank` of them. */
export function checkShape(name: string, shape: readonly unknown[], rank?: number): void {
  if (typeof name !== "string" || name === "") {
    throw new ShapeError(`Cannot record ${quote(name)}: expected a name`);
  }
  let isRight = false;
  try {
    isRight = Array.isArray(shape) && (rank === undefined || shape.length === rank) &&
      shape.every((extent) => typeof extent === "number" || extent === "tokens");
  } catch {
    // It throws when it is looked at.
  }
  if (!isRight) {
    throw new ShapeError(
      `Cannot record ${quote(name)}: its shape is ${quote(shape)}, expected ` +
        `${rank === undefined ? "one or more" : rank} whole numbers of at least 1`,
    );
  }
}

/** Throws unless extents are whole numbers of at least 1, together no more than can be counted. */
export function checkExtents(name: string, shape: readonly number[]): void {
  const isRight = shape.length > 0 && Number.isSafeInteger(elements(shape)) &&
    shape.every((extent) => Number.isInteger(extent) && extent >= 1);
  if (isRight) return;
  throw new ShapeError(
    `Cannot record ${quote(name)}: its shape is [${shape.join(", ")}], ` +
      `expected one or more whole numbers of at least 1`,
  );
}

/** Whether a value looks like a tensor of a graph; nothing about its extents. */
export function isTensor(value: unknown): boolean {
  return accepts(TENSOR, value);
}

const TENSOR: Rule = {
  expected: "a tensor",
  accepts: (it) => {
    const { shape, name } = it as TensorType & { readonly name: unknown };
    return typeof name === "string" && Array.isArray(shape) &&
      shape.every((extent) => typeof extent === "number");
  },
};
