/**
 * Whether tests can run on WebGPU here, and the devices that they run on. In CI they must: there a
 * missing adapter fails them.
 *
 * The files of WebGPU tests alone are named gpu_…, so that others run after them: where a process
 * ends in the same moment as a device of Mesa's software adapter, the driver was seen to corrupt the
 * heap, after all tests had passed.
 *
 * @module
 */

import { skipUnless } from "./skips.ts";
import { probeAdapter } from "../runtime/backends/webgpu/device.ts";

const adapter = await probeAdapter();

/** Whether rows on WebGPU run; says once why where they do not. */
export const hasWebgpu: boolean = adapter !== undefined || Deno.env.get("CI") === "true";

skipUnless(hasWebgpu, "WebGPU has no adapter here; Debian's mesa-vulkan-drivers are enough");

/** Runs `task` with devices that `watch` has seen, which can change them first. */
export async function withDevices(
  watch: (device: GPUDevice) => void,
  task: () => Promise<void>,
): Promise<void> {
  const { gpu } = navigator;
  const request = gpu.requestAdapter;
  gpu.requestAdapter = async (options) => {
    const adapter = await request.call(gpu, options);
    const open = adapter!.requestDevice;
    adapter!.requestDevice = async (descriptor) => {
      const device = await open.call(adapter!, descriptor);
      watch(device);
      return device;
    };
    return adapter;
  };
  try {
    await task();
  } finally {
    gpu.requestAdapter = request;
  }
}
