/**
 * `matmul`: rows of activations times a weight matrix stored by output row, with what a backend may
 * do in the same step: the norm of x before, a gate, a bias and a residual after.
 *
 * @module
 */

import { add } from "../add/op.ts";
import { elements, type Op, type View } from "../op.ts";
import { glu, type GluKind } from "../glu/op.ts";
import { LAYOUT_NAMES } from "../../quant/formats.ts";
import { rmsNorm } from "../rms_norm/op.ts";
import {
  check,
  checkCount,
  checkInput,
  describe,
  rowsOf,
  sameShape,
  trafficBytes,
} from "../shape.ts";

/** Attributes of `matmul`. Models record none: backends fuse steps when they lower a graph. */
export interface MatmulAttributes {
  /** Takes a second matrix `up`: the result is the `glu` of this kind of both products. */
  readonly gate?: GluKind;
  /** Takes a `gain [K]`: x is normalized first, as `rmsNorm` does with this eps. */
  readonly eps?: number;
  /** Takes a `residual` of the shape of the result, which is added. */
  readonly residual?: boolean;
}

/** The inputs of a matmul by name. */
export interface MatmulOperands<T> {
  /** `[tokens, K]`. */
  readonly x: T;
  /** `[N, K]`. */
  readonly weight: T;
  /** `[N, K]`. */
  readonly up: T | undefined;
  /** `[K]`. */
  readonly gain: T | undefined;
  /** `[tokens, N]`. */
  readonly residual: T | undefined;
  /** `[N]`. */
  readonly bias: T | undefined;
}

/** Names the inputs: x, weight, then those that the attributes ask for, then the bias if any. */
export function matmulOperands<T>(
  [x, weight, ...rest]: readonly T[],
  { gate, eps, residual }: MatmulAttributes,
): MatmulOperands<T> {
  return {
    x: x!,
    weight: weight!,
    up: gate ? rest.shift() : undefined,
    gain: eps === undefined ? undefined : rest.shift(),
    residual: residual ? rest.shift() : undefined,
    bias: rest.shift(),
  };
}

/**
 * `out[t, n] = sum over k of x[t, k] * weight[n, k] (+ bias[n])`. Inputs: `x [tokens, K]` as f32 or
 * quantized (a8), the matrix `weight [N, K]` in any layout, those that the attributes ask for, and
 * optionally `bias [N]`.
 */
export const matmul: Op<MatmulAttributes> = {
  shape(inputs, attrs) {
    const { gate, eps, residual } = attrs;
    const least = 2 + (gate ? 1 : 0) + (eps === undefined ? 0 : 1) + (residual ? 1 : 0);
    checkCount("matmul", inputs, least, least + (gate ? 0 : 1));
    const operands = matmulOperands(inputs, attrs), { x, weight, up, gain, bias } = operands;
    checkInput("matmul", "x", x, { dtype: gain ? ["f32"] : ["f32", "a8"] });
    checkInput("matmul", "weight", weight, { role: "matrix", dtype: LAYOUT_NAMES, rank: 2 });
    const [N, K] = weight.shape as readonly [number, number];
    check(
      "matmul",
      x.shape.at(-1) === K,
      () => `x is ${describe(x)} and weight ${describe(weight)}, expected rows of one length`,
    );
    if (up) {
      checkInput("matmul", "up", up, { role: "matrix", dtype: [weight.dtype], rank: 2 });
      check(
        "matmul",
        sameShape(up, weight),
        () => `up is ${describe(up)}, expected the shape of weight, ${describe(weight)}`,
      );
    }
    if (gate) glu.shape([rowsOf(x, N), rowsOf(x, N)], { kind: gate });
    if (gain) {
      checkInput("matmul", "gain", gain, { rank: 1 });
      check(
        "matmul",
        gain.shape[0] === K && !gain.perToken,
        () =>
          `gain is ${describe(gain)}, expected one element per column of weight, ${
            describe(weight)
          }`,
      );
      check("matmul", eps! >= 0, () => `eps is ${eps}, expected a number of at least 0`);
    }
    if (bias) {
      checkInput("matmul", "bias", bias, { rank: 1 });
      check(
        "matmul",
        bias.shape[0] === N && !bias.perToken,
        () =>
          `bias is ${describe(bias)}, expected one element per row of weight, ${describe(weight)}`,
      );
    }
    const result = rowsOf(x, N);
    if (operands.residual) {
      checkInput("matmul", "residual", operands.residual, {});
      check(
        "matmul",
        sameShape(operands.residual, result),
        () =>
          `residual is ${describe(operands.residual!)}, expected the shape of the result, ` +
          describe(result),
      );
    }
    return result;
  },
  reference(out, inputs, attrs) {
    const { x, weight, up, gain, residual, bias } = matmulOperands(inputs, attrs);
    const temporary = (like: View): View => ({
      ...like,
      data: new Float64Array(like.data.length),
    });
    let normal = x;
    if (gain) {
      normal = temporary(x);
      rmsNorm.reference(normal, [x, gain], { eps: attrs.eps! });
    }
    multiply(out, normal, weight, bias);
    if (up) {
      const second = temporary(out);
      multiply(second, normal, up);
      glu.reference(out, [out, second], { kind: attrs.gate! });
    }
    if (residual) add.reference(out, [out, residual], {});
  },
  cost(inputs, attrs) {
    const { x, weight } = matmulOperands(inputs, attrs);
    const flops = 2 * elements(x.shape) * weight.shape[0]!;
    return {
      flops: attrs.gate ? 2 * flops : flops,
      bytes: trafficBytes(inputs, rowsOf(x, weight.shape[0]!)),
    };
  },
};

function multiply(out: View, x: View, weight: View, bias?: View): void {
  const [N, K] = weight.shape as readonly [number, number];
  const rows = x.data.length / K;
  for (let t = 0; t < rows; t++) {
    for (let n = 0; n < N; n++) {
      let sum = 0;
      for (let k = 0; k < K; k++) sum += x.data[t * K + k] * weight.data[n * K + k];
      out.data[t * N + n] = sum + (bias ? bias.data[n] : 0);
    }
  }
}
