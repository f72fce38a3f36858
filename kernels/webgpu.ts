/**
 * The WebGPU side of every op.
 *
 * @module
 */

import { activationWebgpu } from "./activation/webgpu.ts";
import { addWebgpu } from "./add/webgpu.ts";
import { attentionWebgpu } from "./attention/webgpu.ts";
import { cacheStoreWebgpu } from "./cache_store/webgpu.ts";
import { divideColumnWebgpu } from "./divide_column/webgpu.ts";
import { embedWebgpu } from "./embed/webgpu.ts";
import { expertMatmulWebgpu } from "./expert_matmul/webgpu.ts";
import { expertSumWebgpu } from "./expert_sum/webgpu.ts";
import { expertWeightsWebgpu } from "./expert_weights/webgpu.ts";
import { gluWebgpu } from "./glu/webgpu.ts";
import { headMatmulWebgpu } from "./head_matmul/webgpu.ts";
import { layerNormWebgpu } from "./layer_norm/webgpu.ts";
import { logSoftmaxWebgpu } from "./log_softmax/webgpu.ts";
import { matmulWebgpu } from "./matmul/webgpu.ts";
import { mulWebgpu } from "./mul/webgpu.ts";
import type { OpName } from "./ops.ts";
import { quantizeActivationsWebgpu } from "./quantize_activations/webgpu.ts";
import { rmsNormWebgpu } from "./rms_norm/webgpu.ts";
import { ropeWebgpu } from "./rope/webgpu.ts";
import { scaleWebgpu } from "./scale/webgpu.ts";
import { selectColumnsWebgpu } from "./select_columns/webgpu.ts";
import { selectRowsWebgpu } from "./select_rows/webgpu.ts";
import { softmaxWebgpu } from "./softmax/webgpu.ts";
import { topExpertsWebgpu } from "./top_experts/webgpu.ts";
import type { WebgpuKernel } from "./webgpu_kernel.ts";

/** How each op is dispatched. */
export const WEBGPU: { readonly [N in OpName]: WebgpuKernel<N> } = {
  activation: activationWebgpu,
  add: addWebgpu,
  attention: attentionWebgpu,
  cacheStore: cacheStoreWebgpu,
  divideColumn: divideColumnWebgpu,
  embed: embedWebgpu,
  expertMatmul: expertMatmulWebgpu,
  expertSum: expertSumWebgpu,
  expertWeights: expertWeightsWebgpu,
  glu: gluWebgpu,
  headMatmul: headMatmulWebgpu,
  layerNorm: layerNormWebgpu,
  logSoftmax: logSoftmaxWebgpu,
  matmul: matmulWebgpu,
  mul: mulWebgpu,
  quantizeActivations: quantizeActivationsWebgpu,
  rmsNorm: rmsNormWebgpu,
  rope: ropeWebgpu,
  scale: scaleWebgpu,
  selectColumns: selectColumnsWebgpu,
  selectRows: selectRowsWebgpu,
  softmax: softmaxWebgpu,
  topExperts: topExpertsWebgpu,
};
