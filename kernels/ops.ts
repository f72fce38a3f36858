/**
 * The table of ops: the vocabulary of every graph. A row's folder holds its definition and its
 * kernels; `OpAttributes` and `OPS` together make a forgotten row a type error.
 *
 * @module
 */

import type { NoAttributes, Op } from "./op.ts";
import { activation, type ActivationAttributes } from "./activation/op.ts";
import { add } from "./add/op.ts";
import { attention, type AttentionAttributes } from "./attention/op.ts";
import { cacheStore } from "./cache_store/op.ts";
import { checkedOps } from "./checked.ts";
import { embed } from "./embed/op.ts";
import { expertMatmul, type ExpertMatmulAttributes } from "./expert_matmul/op.ts";
import { expertSum } from "./expert_sum/op.ts";
import { expertWeights, type ExpertWeightsAttributes } from "./expert_weights/op.ts";
import { FORMS } from "./forms.ts";
import { glu, type GluAttributes } from "./glu/op.ts";
import { headMatmul, type HeadMatmulAttributes } from "./head_matmul/op.ts";
import { layerNorm, type LayerNormAttributes } from "./layer_norm/op.ts";
import { matmul, type MatmulAttributes } from "./matmul/op.ts";
import { mul } from "./mul/op.ts";
import {
  quantizeActivations,
  type QuantizeActivationsAttributes,
} from "./quantize_activations/op.ts";
import { rmsNorm, type RmsNormAttributes } from "./rms_norm/op.ts";
import { rope, type RopeAttributes } from "./rope/op.ts";
import { scale, type ScaleAttributes } from "./scale/op.ts";
import { selectRows } from "./select_rows/op.ts";
import { softmax } from "./softmax/op.ts";
import { topExperts, type TopExpertsAttributes } from "./top_experts/op.ts";

export type * from "./op.ts";
export type { ActivationAttributes, ActivationName } from "./activation/op.ts";
export type { AttentionAttributes } from "./attention/op.ts";
export type { ExpertMatmulAttributes } from "./expert_matmul/op.ts";
export type { ExpertWeightsAttributes } from "./expert_weights/op.ts";
export type { GluAttributes, GluKind } from "./glu/op.ts";
export type { HeadMatmulAttributes } from "./head_matmul/op.ts";
export type { LayerNormAttributes } from "./layer_norm/op.ts";
export type { MatmulAttributes } from "./matmul/op.ts";
export type { QuantizeActivationsAttributes } from "./quantize_activations/op.ts";
export type { RmsNormAttributes } from "./rms_norm/op.ts";
export type { RopeAttributes } from "./rope/op.ts";
export type { ScaleAttributes } from "./scale/op.ts";
export type { TopExpertsAttributes } from "./top_experts/op.ts";

/** Name of each op, with the type of its attributes. */
export interface OpAttributes {
  /** One nonlinear function of every element. */
  readonly activation: ActivationAttributes;
  /** Elementwise sum, or bias. */
  readonly add: NoAttributes;
  /** Attention over spans of the caches. */
  readonly attention: AttentionAttributes;
  /** Keys or values into their cache rows. */
  readonly cacheStore: NoAttributes;
  /** Table rows by index. */
  readonly embed: NoAttributes;
  /** Activations times the matrices of chosen experts. */
  readonly expertMatmul: ExpertMatmulAttributes;
  /** The results of a token's experts as one row. */
  readonly expertSum: NoAttributes;
  /** How much each chosen expert counts. */
  readonly expertWeights: ExpertWeightsAttributes;
  /** Gated linear unit: a function of one tensor times another. */
  readonly glu: GluAttributes;
  /** The part of a row of each head times a matrix of its own. */
  readonly headMatmul: HeadMatmulAttributes;
  /** Normalization by mean and variance. */
  readonly layerNorm: LayerNormAttributes;
  /** Activations times a weight matrix. */
  readonly matmul: MatmulAttributes;
  /** Elementwise product, or gain. */
  readonly mul: NoAttributes;
  /** Activations to int8. */
  readonly quantizeActivations: QuantizeActivationsAttributes;
  /** Normalization by root mean square. */
  readonly rmsNorm: RmsNormAttributes;
  /** Rotary position embedding. */
  readonly rope: RopeAttributes;
  /** Every element times one number. */
  readonly scale: ScaleAttributes;
  /** Rows of an activation by index. */
  readonly selectRows: NoAttributes;
  /** Probabilities along each row. */
  readonly softmax: NoAttributes;
  /** Which experts each token gets. */
  readonly topExperts: TopExpertsAttributes;
}

/** Name of an op. */
export type OpName = keyof OpAttributes;

/** Every op's shape rule, definition and cost. */
export const OPS: { readonly [N in OpName]: Op<OpAttributes[N]> } = checkedOps({
  activation,
  add,
  attention,
  cacheStore,
  embed,
  expertMatmul,
  expertSum,
  expertWeights,
  glu,
  headMatmul,
  layerNorm,
  matmul,
  mul,
  quantizeActivations,
  rmsNorm,
  rope,
  scale,
  selectRows,
  softmax,
  topExperts,
}, FORMS);
