/**
 * Finding a GPU and asking it for what the kernels need. Nothing here knows of tensors.
 *
 * @module
 */

import { BackendError } from "../../errors.ts";
import probe from "./probe.wgsl" with { type: "text" };

/** What an adapter is and offers. */
export interface AdapterFacts {
  /** Its own name, or its vendor's. */
  readonly name: string;
  /** Whether shaders may compute in f16. */
  readonly f16: boolean;
  /** Whether shaders may use subgroup operations. */
  readonly subgroups: boolean;
  /** Most bytes of one buffer that a shader can see at once. */
  readonly maxBindingBytes: number;
}

/** A device and the adapter's facts. */
export interface OpenDevice {
  /** What a shader with subgroup operations begins with; undefined where there are none. */
  readonly subgroupLines: string | undefined;
  /** The device. */
  readonly device: GPUDevice;
  /** What it runs on. */
  readonly facts: AdapterFacts;
}

/** The part of `navigator.gpu` that is used; tests pass their own. */
export interface Gpu {
  /** The adapter, or null where there is none. */
  requestAdapter(options?: GPURequestAdapterOptions): Promise<GPUAdapter | null>;
}

/** Sizes to ask for as large as the adapter has them; the defaults are small. */
const SIZES = ["maxBufferSize", "maxStorageBufferBindingSize"] as const;

/**
 * Opens the adapter.
 *
 * @throws BackendError when there is none, or it gives no device
 */
export async function openDevice(gpu: Gpu | undefined = systemGpu()): Promise<OpenDevice> {
  const adapter = await findAdapter(gpu);
  const { f16, subgroups } = featuresOf(adapter);
  const base = {
    requiredLimits: Object.fromEntries(SIZES.map((name) => [name, Number(adapter.limits[name])])),
    requiredFeatures: f16 ? ["shader-f16" as const] : [],
  };
  // Deno grants subgroups without listing them, so asking is the only way to know.
  const wanted = [...base.requiredFeatures, "subgroups" as GPUFeatureName];
  let device = subgroups
    ? await adapter.requestDevice({ ...base, requiredFeatures: wanted }).catch(() => undefined)
    : undefined;
  const subgroupLines = device && await probeSubgroups(device);
  try {
    device ??= await adapter.requestDevice(base);
  } catch (cause) {
    throw new BackendError(
      `Cannot use backend "webgpu": adapter "${nameOf(adapter)}" gives no device: ${
        (cause as Error).message
      }; use backend "wasm"`,
      { cause },
    );
  }
  return {
    device,
    subgroupLines,
    facts: {
      name: nameOf(adapter),
      f16,
      subgroups: subgroupLines !== undefined,
      maxBindingBytes: Math.min(...SIZES.map((name) => Number(device.limits[name]))),
    },
  };
}

/** What the adapter offers, or undefined where there is none. */
export async function probeAdapter(
  gpu: Gpu | undefined = systemGpu(),
): Promise<AdapterFacts | undefined> {
  try {
    const { device, facts } = await openDevice(gpu);
    device.destroy();
    return facts;
  } catch {
    return undefined;
  }
}

/** Chrome wants the line, and Deno's compiler has never heard of it. */
const SUBGROUP_LINES = ["enable subgroups;\n", ""];

/** How to write shaders with subgroups, or undefined where they are not what kernels take them for. */
async function probeSubgroups(device: GPUDevice): Promise<string | undefined> {
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC;
  const wrong = device.createBuffer({ size: 4, usage });
  const copy = device.createBuffer({
    size: 4,
    usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
  });
  try {
    for (const lines of SUBGROUP_LINES) {
      device.pushErrorScope("validation");
      const module = device.createShaderModule({ code: lines + probe });
      const pipeline = device.createComputePipeline({ layout: "auto", compute: { module } });
      if (await device.popErrorScope()) continue;
      device.pushErrorScope("validation");
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      const entries = [{ binding: 0, resource: { buffer: wrong } }];
      const layout = pipeline.getBindGroupLayout(0);
      pass.setBindGroup(0, device.createBindGroup({ layout, entries }));
      pass.dispatchWorkgroups(1);
      pass.end();
      encoder.copyBufferToBuffer(wrong, 0, copy, 0, 4);
      device.queue.submit([encoder.finish()]);
      if (await device.popErrorScope()) return undefined;
      await copy.mapAsync(GPUMapMode.READ);
      return new Uint32Array(copy.getMappedRange())[0] === 0 ? lines : undefined;
    }
  } catch {
    // A device that fails here fails again where it is used, and says so.
  } finally {
    wrong.destroy();
    copy.destroy();
  }
  return undefined;
}

function systemGpu(): Gpu | undefined {
  return (globalThis.navigator as Navigator | undefined)?.gpu;
}

async function findAdapter(gpu: Gpu | undefined): Promise<GPUAdapter> {
  if (!gpu) {
    throw new BackendError(
      `Cannot use backend "webgpu": this runtime has no navigator.gpu; update it, or use ` +
        `backend "wasm"`,
    );
  }
  let cause: unknown;
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" })
    .catch((error) => void (cause = error));
  if (!adapter) {
    throw new BackendError(
      `Cannot use backend "webgpu": no adapter was found; install the GPU's Vulkan driver (Debian's ` +
        `mesa-vulkan-drivers has one that needs no GPU), or use backend "wasm"`,
      { cause },
    );
  }
  return adapter;
}

function nameOf({ info }: GPUAdapter): string {
  return info.description || info.device || info.vendor || "unknown";
}

function featuresOf(adapter: GPUAdapter): { f16: boolean; subgroups: boolean } {
  const { features, info } = adapter;
  const { subgroupMaxSize = 0 } = info as { subgroupMaxSize?: number };
  return {
    f16: features.has("shader-f16"),
    subgroups: subgroupMaxSize > 0 || features.has("subgroups" as GPUFeatureName),
  };
}
