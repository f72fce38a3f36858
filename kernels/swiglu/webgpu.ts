/**
 * The WebGPU kernel of `swiglu`.
 *
 * @module
 */

import { binaryWebgpu } from "../elementwise_webgpu.ts";
import type { WebgpuKernel } from "../webgpu_kernel.ts";

/** `out[i] = silu(gate[i]) * up[i]`; see elementwise.wgsl. */
export const swigluWebgpu: WebgpuKernel<"swiglu"> = binaryWebgpu("swiglu");
