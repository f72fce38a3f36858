/**
 * The WebGPU kernel of `add`.
 *
 * @module
 */

import { binaryWebgpu } from "../elementwise_webgpu.ts";
import type { WebgpuKernel } from "../webgpu_kernel.ts";

/** `out[i] = a[i] + b[i]`; see elementwise.wgsl. */
export const addWebgpu: WebgpuKernel<"add"> = binaryWebgpu("add");
