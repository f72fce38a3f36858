/**
 * The WebAssembly side of every op, and the numbering of the kernel functions.
 *
 * @module
 */

import { activationWasm } from "./activation/wasm.ts";
import { addWasm } from "./add/wasm.ts";
import { attentionWasm } from "./attention/wasm.ts";
import { cacheStoreWasm } from "./cache_store/wasm.ts";
import { divideColumnWasm } from "./divide_column/wasm.ts";
import { embedWasm } from "./embed/wasm.ts";
import { expertMatmulWasm } from "./expert_matmul/wasm.ts";
import { expertSumWasm } from "./expert_sum/wasm.ts";
import { expertWeightsWasm } from "./expert_weights/wasm.ts";
import { gluWasm } from "./glu/wasm.ts";
import { headMatmulWasm } from "./head_matmul/wasm.ts";
import { layerNormWasm } from "./layer_norm/wasm.ts";
import { logSoftmaxWasm } from "./log_softmax/wasm.ts";
import { matmulWasm } from "./matmul/wasm.ts";
import { mulWasm } from "./mul/wasm.ts";
import type { OpName } from "./ops.ts";
import { PACK_KERNELS } from "./pack/wasm.ts";
import { quantizeActivationsWasm } from "./quantize_activations/wasm.ts";
import { rmsNormWasm } from "./rms_norm/wasm.ts";
import { ropeWasm } from "./rope/wasm.ts";
import { scaleWasm } from "./scale/wasm.ts";
import { selectColumnsWasm } from "./select_columns/wasm.ts";
import { selectRowsWasm } from "./select_rows/wasm.ts";
import { softmaxWasm } from "./softmax/wasm.ts";
import { topExpertsWasm } from "./top_experts/wasm.ts";
import type { WasmKernel } from "./wasm_kernel.ts";

/** How each op is encoded for the tape. */
export const WASM: { readonly [N in OpName]: WasmKernel<N> } = {
  activation: activationWasm,
  add: addWasm,
  attention: attentionWasm,
  cacheStore: cacheStoreWasm,
  divideColumn: divideColumnWasm,
  embed: embedWasm,
  expertMatmul: expertMatmulWasm,
  expertSum: expertSumWasm,
  expertWeights: expertWeightsWasm,
  glu: gluWasm,
  headMatmul: headMatmulWasm,
  layerNorm: layerNormWasm,
  logSoftmax: logSoftmaxWasm,
  matmul: matmulWasm,
  mul: mulWasm,
  quantizeActivations: quantizeActivationsWasm,
  rmsNorm: rmsNormWasm,
  rope: ropeWasm,
  scale: scaleWasm,
  selectColumns: selectColumnsWasm,
  selectRows: selectRowsWasm,
  softmax: softmaxWasm,
  topExperts: topExpertsWasm,
};

/** Every kernel function of the module; its index is its opcode. */
export const KERNEL_NAMES: readonly string[] = [
  ...Object.values(WASM).flatMap((row) => row.kernels),
  ...PACK_KERNELS,
];
