/**
 * Finding a GPU and asking it for what the kernels need. Nothing here knows of tensors.
 *
 * @module
 */

import { BackendError } from "../../../errors.ts";
import { quote } from "../../../escape.ts";
import { type GpuTraits, LEAST_TRAITS } from "../../../kernels/webgpu_kernel.ts";
import { isWorthAsking, quietly } from "./quietly.ts";
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
  /** Whether it is a program on the processor, which says nothing about GPUs. */
  readonly software: boolean;
}

/** A device and the adapter's facts. */
export interface OpenDevice {
  /** What a shader with subgroup operations begins with; undefined where there are none. */
  readonly subgroupLines: string | undefined;
  /** Makes buffers and pipelines, and runs what is submitted. */
  readonly device: GPUDevice;
  /** What it runs on. */
  readonly facts: AdapterFacts;
  /** What kernels may choose by. */
  readonly limits: GpuTraits;
  /** What tells this adapter and its driver from others. */
  readonly identity: string;
}

/** The part of `navigator.gpu` that is used; tests pass their own. */
export interface Gpu {
  /** The adapter, or null where there is none. */
  requestAdapter(options?: GPURequestAdapterOptions): Promise<GPUAdapter | null>;
}

/** Sizes to ask for as large as the adapter has them; the defaults are small. */
const SIZES = ["maxBufferSize", "maxStorageBufferBindingSize"] as const;
/** The same for the memory of workgroups. */
const ROOM = "maxComputeWorkgroupStorageSize" as const;

/** Features to ask for where there are: halves, and clocks for measurements. */
const OPTIONAL_FEATURES = ["shader-f16", "timestamp-query"] as const;

/** Invocations that keep processors busy which only play a GPU. */
const SOFTWARE_INVOCATIONS = 2 ** 10;

/** Names of programs that do without a GPU, where the adapter does not say it itself. */
const SOFTWARE = /llvmpipe|swiftshader|basic render/i;

/**
 * Opens the adapter.
 *
 * @throws BackendError when there is none, or it gives no device
 */
export async function openDevice(gpu: Gpu | undefined = systemGpu()): Promise<OpenDevice> {
  const adapter = await findAdapter(gpu);
  const { f16, subgroups } = featuresOf(adapter), { info } = adapter;
  const software = isSoftware(adapter);
  const base = {
    requiredLimits: Object.fromEntries(
      ([...SIZES, ROOM] as const).map((name) => [name, Number(adapter.limits[name])] as const)
        .filter(([, limit]) => limit > 0),
    ),
    requiredFeatures: OPTIONAL_FEATURES.filter((name) => adapter.features.has(name)),
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
      `Cannot use backend "webgpu": adapter ${quote(nameOf(adapter))} gives no device: ${
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
      software,
    },
    // What makes a GPU fast makes its imitations slow.
    limits: {
      ...LEAST_TRAITS,
      ...(software
        ? { invocations: SOFTWARE_INVOCATIONS }
        : { workgroupBytes: device.limits[ROOM] }),
    },
    identity: [info.vendor, info.architecture, info.device, info.description].join(" "),
  };
}

/** Whether there is an adapter that is a GPU, as far as it says; whether it works is another matter. */
export async function hasHardware(gpu: Gpu | undefined = systemGpu()): Promise<boolean> {
  if (!isWorthAsking()) return false;
  return await findAdapter(gpu).then((adapter) => !isSoftware(adapter), () => false);
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
  const adapter = await quietly(() => gpu.requestAdapter({ powerPreference: "high-performance" }))
    .catch((error) => void (cause = error));
  if (!adapter) {
    throw new BackendError(
      `Cannot use backend "webgpu": no adapter was found; install the GPU's Vulkan driver (Debian's ` +
        `mesa-vulkan-drivers has one that needs no GPU), or use backend "wasm"`,
      { cause },
    );
  }
  if (isOpenGl(adapter)) {
    throw new BackendError(
      `Cannot use backend "webgpu": adapter ${quote(nameOf(adapter))} ` +
        `is reached through OpenGL, which ` +
        `takes minutes for what Vulkan does in a second; install the GPU's Vulkan driver, or use ` +
        `backend "wasm"`,
    );
  }
  return adapter;
}

/** Whether it is a program on the processor. */
function isSoftware(adapter: GPUAdapter): boolean {
  const { isFallbackAdapter = false } = adapter.info as { isFallbackAdapter?: boolean };
  return isFallbackAdapter || SOFTWARE.test(nameOf(adapter));
}

/**
 * Whether Deno reaches it through OpenGL, which it does not say: only there, bindings have no limit,
 * sizes of subgroups are unknown, and halves are missing.
 */
function isOpenGl({ limits, info, features }: GPUAdapter): boolean {
  const { subgroupMinSize, subgroupMaxSize } = info as {
    subgroupMinSize?: number;
    subgroupMaxSize?: number;
  };
  return limits.maxBindingsPerBindGroup === 2 ** 32 - 1 && subgroupMinSize === 4 &&
    subgroupMaxSize === 128 && !features.has("shader-f16");
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
