/**
 * The table of ops: the vocabulary of every graph. A row's folder holds its definition and its
 * kernels; `OpAttributes` and `OPS` together make a forgotten row a type error.
 *
 * @module
 */

import type { Op } from "./op.ts";
import type { OpAttributes, OpName } from "./op_attributes.ts";
import { activation } from "./activation/op.ts";
import { add } from "./add/op.ts";
import { attention } from "./attention/op.ts";
import { cacheStore } from "./cache_store/op.ts";
import { checkedOps } from "./checked.ts";
import { divideColumn } from "./divide_column/op.ts";
import { embed } from "./embed/op.ts";
import { expertMatmul } from "./expert_matmul/op.ts";
import { expertSum } from "./expert_sum/op.ts";
import { expertWeights } from "./expert_weights/op.ts";
import { FORMS } from "./forms.ts";
import { glu } from "./glu/op.ts";
import { headMatmul } from "./head_matmul/op.ts";
import { layerNorm } from "./layer_norm/op.ts";
import { logSoftmax } from "./log_softmax/op.ts";
import { matmul } from "./matmul/op.ts";
import { mul } from "./mul/op.ts";
import { quantizeActivations } from "./quantize_activations/op.ts";
import { rmsNorm } from "./rms_norm/op.ts";
import { rope } from "./rope/op.ts";
import { scale } from "./scale/op.ts";
import { selectColumns } from "./select_columns/op.ts";
import { selectRows } from "./select_rows/op.ts";
import { softmax } from "./softmax/op.ts";
import { topExperts } from "./top_experts/op.ts";

export type * from "./op.ts";
export type { OpAttributes, OpName } from "./op_attributes.ts";
export type { ActivationAttributes, ActivationName } from "./activation/op.ts";
export type { AttentionAttributes } from "./attention/op.ts";
export type { DivideColumnAttributes } from "./divide_column/op.ts";
export type { EmbedAttributes } from "./embed/op.ts";
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

/** Every op's shape rule, definition and cost. */
export const OPS: { readonly [N in OpName]: Op<OpAttributes[N]> } = checkedOps({
  activation,
  add,
  attention,
  cacheStore,
  divideColumn,
  embed,
  expertMatmul,
  expertSum,
  expertWeights,
  glu,
  headMatmul,
  layerNorm,
  logSoftmax,
  matmul,
  mul,
  quantizeActivations,
  rmsNorm,
  rope,
  scale,
  selectColumns,
  selectRows,
  softmax,
  topExperts,
}, FORMS);
