/**
 * `glu`: the gated half of a feed-forward block, `kind(gate) * up`.
 *
 * @module
 */

import { type ActivationName, activationOf, ACTIVATIONS, checkKind } from "../activation/op.ts";
import { elements, type Op } from "../op.ts";
import { check, checkCount, checkInput, describe, sameShape, trafficBytes } from "../shape.ts";

/**
 * Function of a gate: `silu` (SwiGLU), `gelu` or `geluTanh` (GEGLU), `relu` (ReGLU), `sigmoid` (GLU),
 * and others. Not `reluSquared`, whose squares are beyond f32 where the product need not be.
 */
export type GluKind = Exclude<ActivationName, "reluSquared">;

/** The functions of gates. */
export const GLU_KINDS: readonly GluKind[] = ACTIVATIONS.filter((kind) => kind !== "reluSquared");

/** Attributes of `glu`. */
export interface GluAttributes {
  /** The function of the gate. */
  readonly kind: GluKind;
}

/**
 * `out[i] = kind(gate[i]) * up[i]` (Dauphin et al., arXiv:1612.08083; Shazeer, arXiv:2002.05202).
 * Inputs: `gate` and `up` of one shape.
 */
export const glu: Op<GluAttributes> = {
  shape(inputs, { kind }) {
    checkCount("glu", inputs, 2);
    const [gate, up] = inputs;
    checkInput("glu", "gate", gate!, {});
    checkInput("glu", "up", up!, {});
    check(
      "glu",
      sameShape(gate!, up!),
      () => `up is ${describe(up!)}, expected the shape of gate, ${describe(gate!)}`,
    );
    checkKind("glu", kind, GLU_KINDS);
    return gate!;
  },
  reference(out, [gate, up], { kind }) {
    const f = activationOf(kind);
    for (let i = 0; i < out.data.length; i++) out.data[i] = f(gate!.data[i]) * up!.data[i];
  },
  cost: (inputs) => ({
    flops: 8 * elements(inputs[0]!.shape),
    bytes: trafficBytes(inputs, inputs[0]!),
  }),
};
