/**
 * The one shape rule and the one loop behind the binary elementwise ops.
 *
 * @module
 */

import { elements, type NoAttributes, type Op, type TensorType, type View } from "./op.ts";
import { check, checkCount, checkInput, describe, sameShape, trafficBytes } from "./shape.ts";

/** Whether `b` is one row, which meets every row of `a`. */
export function isOneRow(a: TensorType, b: TensorType): boolean {
  const width = a.shape.at(-1)!;
  return !b.perToken && b.shape.at(-1) === width && elements(b.shape) === width;
}

/** Op row of `out = f(a, b)`; `b` has the shape of `a`, or is one row as long as those of `a`. */
export function binaryOp(name: string, f: (a: number, b: number) => number): Op<NoAttributes> {
  function shape([a, b]: readonly TensorType[]): TensorType {
    checkInput(name, "a", a!, {});
    checkInput(name, "b", b!, {});
    check(
      name,
      isOneRow(a!, b!) || sameShape(a!, b!),
      () =>
        `b is ${describe(b!)}, expected the shape of a, ${describe(a!)}, or one row of its width`,
    );
    return { ...a!, dtype: "f32" };
  }
  return {
    shape(inputs) {
      checkCount(name, inputs, 2);
      return shape(inputs);
    },
    reference(out: View, [a, b]) {
      const length = b!.data.length;
      for (let i = 0; i < out.data.length; i++) out.data[i] = f(a!.data[i], b!.data[i % length]);
    },
    cost: (inputs) => ({
      flops: elements(inputs[0]!.shape),
      bytes: trafficBytes(inputs, inputs[0]!),
    }),
  };
}
