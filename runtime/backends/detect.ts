/**
 * What this machine and engine offer.
 *
 * @module
 */

import { InputError } from "../../errors.ts";
import { optionsOf, readOptions, type Rules } from "../../options.ts";
import { missingFeatures } from "./engine_features.ts";
import { hasRelaxedSimd } from "./wasm/module.ts";
import type { AdapterFacts } from "./webgpu/device.ts";
import type { ChosenVariants, KernelTimes } from "./webgpu/variants.ts";
import type { TimesCache, VariantOptions, Variants } from "./webgpu/variant_options.ts";
import { VARIANT_RULES } from "./webgpu/variant_options.ts";

export type { AdapterFacts, ChosenVariants, KernelTimes, TimesCache, VariantOptions, Variants };

/** A GPU, and how it is used. */
export interface GpuSupport extends AdapterFacts {
  /** Which kernels it gets, and the times that decided it. */
  readonly variants: ChosenVariants;
}

/** Which backends can be used here, and how. */
export interface BackendSupport {
  /** The definition of every op; false where the engine is too old to run models, never fast. */
  readonly reference: boolean;
  /** WebAssembly, where the engine has SIMD, shared memory and Web Workers. */
  readonly wasm: false | {
    /** Whether the faster kernels with relaxed SIMD can be used. */
    readonly relaxedSimd: boolean;
    /** Worker threads that are used where no number is named. */
    readonly threads: number;
  };
  /** WebGPU, where there is an adapter. */
  readonly webgpu: false | GpuSupport;
  /** What `auto` takes: WebGPU where the adapter is a GPU. */
  readonly auto: "wasm" | "webgpu";
}

/** How backends are looked for. */
export interface DetectOptions {
  /** Which kernels a GPU shall use; what is open is measured. */
  readonly webgpu?: VariantOptions;
}

const DETECT_RULES: Rules<DetectOptions> = { webgpu: optionsOf(VARIANT_RULES) };

/** `(func (result v128) (i8x16.splat 1))` as a module. */
// deno-fmt-ignore
const SIMD_PROBE = new Uint8Array([
  0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, // magic, version
  1, 5, 1, 0x60, 0, 1, 0x7b, // type: () -> v128
  3, 2, 1, 0, // one function of it
  10, 8, 1, 6, 0, 0x41, 1, 0xfd, 15, 11,
]);

/**
 * Finds out what can be used here; needs no permission. On a GPU that this process has not seen yet
 * it times a few kernels, unless `options.webgpu` says which to use.
 *
 * @example
 * ```ts
 * import { detectBackends } from "@sparrow/sparrow";
 *
 * console.log(await detectBackends());
 * ```
 */
export async function detectBackends(
  options: DetectOptions = {},
): Promise<BackendSupport> {
  options = readOptions("detect backends", options, DETECT_RULES);
  const reference = missingFeatures().length === 0;
  const webgpu = reference && await findGpu(options.webgpu);
  const hasThreads = typeof Worker === "function" && typeof SharedArrayBuffer === "function";
  return {
    reference,
    wasm: reference && hasThreads && WebAssembly.validate(SIMD_PROBE) && {
      relaxedSimd: hasRelaxedSimd(),
      threads: navigator.hardwareConcurrency ?? 1,
    },
    webgpu,
    auto: webgpu && !webgpu.software ? "webgpu" : "wasm",
  };
}

async function findGpu(options: VariantOptions | undefined): Promise<false | GpuSupport> {
  try {
    const { openDevice } = await import("./webgpu/device.ts");
    const { chooseVariants } = await import("./webgpu/variants.ts");
    const open = await openDevice();
    try {
      return { ...open.facts, variants: await chooseVariants(open, options) };
    } finally {
      open.device.destroy();
    }
  } catch (error) {
    if (error instanceof InputError) throw error;
    return false;
  }
}
