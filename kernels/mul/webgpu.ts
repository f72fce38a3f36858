/**
 * The WebGPU kernel of `mul`.
 *
 * @module
 */

import { binaryWebgpu } from "../elementwise_webgpu.ts";
import type { WebgpuKernel } from "../webgpu_kernel.ts";

/** `out[i] = a[i] * b[i]`; see elementwise.wgsl. */
export const mulWebgpu: WebgpuKernel<"mul"> = binaryWebgpu("mul");
