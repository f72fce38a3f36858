/**
 * From the name of a backend to the backend. Each is loaded only when it is used.
 *
 * @module
 */

import { InputError } from "../errors.ts";
import { quote } from "../escape.ts";
import type { Backend, BackendName } from "./backend.ts";
import type { VariantOptions } from "./webgpu/variants.ts";

/** Which backend, and how wide. */
export interface BackendOptions {
  /**
   * Where to run. `auto` is `webgpu` where there is a GPU that works, else `wasm`; when the GPU fails
   * later, `wasm` takes over. Default `auto`.
   */
  readonly backend?: "auto" | BackendName;
  /** Worker threads of the `wasm` backend; all cores where absent. */
  readonly threads?: number;
  /**
   * Layers that run on the GPU, the first ones; what is before and after them, the embedding and the
   * last logits too, runs on the `wasm` backend. All of the model where absent.
   */
  readonly gpuLayers?: number;
  /** Which kernels the `webgpu` backend uses, and where it keeps what it measured about them. */
  readonly webgpu?: VariantOptions;
}

/** Most worker threads; more are a mistake, and would only wait for each other. */
const MAX_THREADS = 256;

/** What `backend` may be. */
const CHOICES: readonly string[] = ["auto", "wasm", "webgpu", "reference"];

/**
 * Checks the options without looking at the machine.
 *
 * @throws InputError when one is out of range
 */
export function checkBackendOptions(options: BackendOptions): void {
  const { backend = "auto", threads, gpuLayers } = options;
  if (!CHOICES.includes(backend)) {
    throw new InputError(
      `Cannot use backend ${quote(backend)}: expected auto, wasm, webgpu or reference`,
    );
  }
  if (threads !== undefined) checkCount("threads", threads, MAX_THREADS);
  if (gpuLayers !== undefined) {
    checkCount("gpuLayers", gpuLayers, undefined, 0);
    if (backend !== "auto" && backend !== "webgpu") {
      throw new InputError(
        `Cannot load with gpuLayers on backend ${quote(backend)}: expected webgpu or auto`,
      );
    }
  }
}

/**
 * The backends that the options allow, best first. A GPU that is software is none for `auto`: the
 * kernels of `wasm` use the same processor better.
 *
 * @throws InputError when an option is out of range
 */
export async function backendsToTry(options: BackendOptions): Promise<BackendName[]> {
  checkBackendOptions(options);
  const { backend = "auto" } = options;
  if (backend !== "auto") return [backend];
  const { hasHardware } = await import("./webgpu/device.ts");
  return await hasHardware() ? ["webgpu", "wasm"] : ["wasm"];
}

/**
 * Creates a backend.
 *
 * @throws BackendError when it cannot be used here
 */
export async function openBackend(
  name: BackendName,
  { threads, gpuLayers, webgpu }: BackendOptions = {},
): Promise<Backend> {
  if (name === "webgpu" && gpuLayers !== undefined) {
    const rest = await openBackend("wasm", threads === undefined ? {} : { threads });
    if (gpuLayers === 0) return rest;
    const { createSplitBackend } = await import("./split/backend.ts");
    return createSplitBackend(
      await openBackend("webgpu", webgpu ? { webgpu } : {}),
      rest,
      gpuLayers,
    );
  }
  switch (name) {
    case "reference":
      return (await import("./reference/backend.ts")).createReferenceBackend();
    case "wasm": {
      const { createWasmBackend } = await import("./wasm/backend.ts");
      return createWasmBackend(threads === undefined ? {} : { threads });
    }
    case "webgpu":
      return await (await import("./webgpu/backend.ts")).createWebgpuBackend(webgpu);
  }
}

/** Creates the first backend that the options allow and that can be used here. */
export async function createBackend(options: BackendOptions): Promise<Backend> {
  const names = await backendsToTry(options);
  for (const name of names.slice(0, -1)) {
    try {
      return await openBackend(name, options);
    } catch (error) {
      console.warn(`Sparrow does without backend ${name}: ${(error as Error).message}`);
    }
  }
  return await openBackend(names.at(-1)!, options);
}

/** Throws unless an option is a whole number from `least` to `most`. */
export function checkCount(
  option: string,
  value: number,
  most: number = 2 ** 30,
  least: number = 1,
): number {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new InputError(
      `Cannot load with ${option} ${value}: expected a whole number from ${least} to ${most}`,
    );
  }
  return value;
}
