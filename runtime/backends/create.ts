/**
 * From the name of a backend to the backend. Each is loaded only when it is used.
 *
 * @module
 */

import { InputError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { FLAG, oneOf, optionsOf, type Rules, wholeNumberIn } from "../../options.ts";
import type { Backend, BackendName } from "./backend.ts";
import { VARIANT_RULES } from "./webgpu/variant_options.ts";
import type { VariantOptions } from "./webgpu/variant_options.ts";

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
  /**
   * Whether the same model, options and calls shall give the same numbers to the bit on every
   * processor and with any number of threads, at a price in speed. Runs on the `wasm` backend, with
   * kernels whose arithmetic leaves nothing open; ARCHITECTURE.md says what that covers. Default
   * false.
   */
  readonly reproducible?: boolean;
  /** Which kernels the `webgpu` backend uses, and where it keeps what it measured about them. */
  readonly webgpu?: VariantOptions;
}

/** Most worker threads; more are a mistake, and would only wait for each other. */
const MAX_THREADS = 256;
/** Largest count that any option may have. */
export const MAX_COUNT: number = 2 ** 30;

/** What each option may be. */
export const BACKEND_RULES: Rules<BackendOptions> = {
  backend: oneOf(["auto", "wasm", "webgpu", "reference"]),
  threads: wholeNumberIn(1, MAX_THREADS),
  gpuLayers: wholeNumberIn(0, MAX_COUNT),
  reproducible: FLAG,
  webgpu: optionsOf(VARIANT_RULES),
};

/**
 * Checks the options together, without looking at the machine.
 *
 * @throws InputError when two exclude each other
 */
export function checkBackendOptions(options: BackendOptions): void {
  const { backend = "auto", gpuLayers, reproducible = false } = options;
  if (gpuLayers !== undefined && backend !== "auto" && backend !== "webgpu") {
    throw new InputError(
      `Cannot load with gpuLayers on backend ${quote(backend)}: expected webgpu or auto`,
    );
  }
  if (reproducible) {
    const other = gpuLayers !== undefined ? "gpuLayers" : `backend ${quote(backend)}`;
    if (gpuLayers !== undefined || backend !== "auto" && backend !== "wasm") {
      throw new InputError(
        `Cannot load with ${other} and reproducible: only backend wasm gives the same numbers ` +
          `everywhere`,
      );
    }
  }
}

/**
 * The backends that the options allow, best first. A GPU that is software is none for `auto`: the
 * kernels of `wasm` use the same processor better.
 *
 * @throws InputError when two options exclude each other
 */
export async function backendsToTry(options: BackendOptions): Promise<BackendName[]> {
  checkBackendOptions(options);
  const { backend = "auto", reproducible } = options;
  if (reproducible) return ["wasm"];
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
  { threads, gpuLayers, webgpu, reproducible }: BackendOptions = {},
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
      return createWasmBackend({
        ...(threads === undefined ? {} : { threads }),
        ...(reproducible ? { relaxed: false } : {}),
      });
    }
    case "webgpu":
      return await (await import("./webgpu/backend.ts")).createWebgpuBackend(webgpu);
  }
}
