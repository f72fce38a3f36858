/**
 * `activation`: one nonlinear function applied to every element.
 *
 * @module
 */

import { elements, type Op } from "../op.ts";
import { quote } from "../../escape.ts";
import { check, checkCount, checkInput, trafficBytes } from "../shape.ts";

/**
 * Name of an activation function. `gelu` uses erf; `geluTanh` ("gelu_new") approximates it by tanh,
 * `geluQuick` ("quick_gelu", "fast gelu") by `x * sigmoid(1.702 * x)`.
 */
export type ActivationName =
  | "relu"
  | "gelu"
  | "geluTanh"
  | "silu"
  | "sigmoid"
  | "tanh"
  | "geluQuick"
  | "reluSquared";

/** The functions, in the order of their codes in the kernels. */
export const ACTIVATIONS: readonly ActivationName[] = [
  "relu",
  "gelu",
  "geluTanh",
  "silu",
  "sigmoid",
  "tanh",
  "geluQuick",
  "reluSquared",
];

/** Attributes of `activation`. */
export interface ActivationAttributes {
  /** Which function. */
  readonly kind: ActivationName;
}

/**
 * The error function to float64 accuracy: Maclaurin series below 2.5, continued fraction above
 * (Abramowitz and Stegun 7.1.6 and 7.1.14).
 */
function erf(x: number): number {
  const a = Math.abs(x);
  if (!(a < 6)) return Number.isNaN(x) ? NaN : Math.sign(x);
  let value: number;
  if (a < 2.5) {
    let term = a, sum = a;
    for (let n = 1; Math.abs(term) > 1e-17 * sum; n++) sum += term *= 2 * a * a / (2 * n + 1);
    value = 2 / Math.sqrt(Math.PI) * Math.exp(-a * a) * sum;
  } else {
    let fraction = 0;
    for (let n = 60; n >= 1; n--) fraction = n / 2 / (a + fraction);
    value = 1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + fraction);
  }
  return Math.sign(x) * value;
}

/**
 * Definitions in float64. GELU: Hendrycks and Gimpel, arXiv:1606.08415; SiLU: arXiv:1702.03118; ReLU
 * squared: So et al., arXiv:2109.08668.
 */
const FUNCTIONS: Record<ActivationName, (x: number) => number> = {
  relu: (x) => Math.max(x, 0),
  gelu: (x) => x * 0.5 * (1 + erf(x * Math.SQRT1_2)),
  geluTanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  silu: (x) => x / (1 + Math.exp(-x)),
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  tanh: Math.tanh,
  geluQuick: (x) => x / (1 + Math.exp(-1.702 * x)),
  reluSquared: (x) => Math.max(x, 0) ** 2,
};

/** The definition of a function. */
export function activationOf(kind: ActivationName): (x: number) => number {
  return FUNCTIONS[kind];
}

/** Throws unless `kind` is one of the functions. */
export function checkKind(
  op: string,
  kind: ActivationName,
  kinds: readonly ActivationName[] = ACTIVATIONS,
): void {
  check(op, kinds.includes(kind), () => `kind is ${quote(kind)}, expected ${kinds.join(", ")}`);
}

/** `out[i] = kind(x[i])`. */
export const activation: Op<ActivationAttributes> = {
  shape(inputs, { kind }) {
    checkCount("activation", inputs, 1);
    checkInput("activation", "x", inputs[0]!, {});
    checkKind("activation", kind);
    return inputs[0]!;
  },
  reference(out, [x], { kind }) {
    const f = FUNCTIONS[kind];
    for (let i = 0; i < out.data.length; i++) out.data[i] = f(x!.data[i]);
  },
  cost: (inputs) => ({
    flops: 8 * elements(inputs[0]!.shape),
    bytes: trafficBytes(inputs, inputs[0]!),
  }),
};
