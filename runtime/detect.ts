/**
 * What this machine and engine offer.
 *
 * @module
 */

import { hasRelaxedSimd } from "./wasm/module.ts";
import { type AdapterFacts, probeAdapter } from "./webgpu/device.ts";

export type { AdapterFacts };

/** Which backends can be used here, and how. */
export interface BackendSupport {
  /** The definition of every op; always there, never fast. */
  readonly reference: true;
  /** WebAssembly, where the engine has SIMD and shared memory. */
  readonly wasm: false | {
    /** Whether the faster kernels with relaxed SIMD can be used. */
    readonly relaxedSimd: boolean;
    /** Worker threads that are used where no number is named. */
    readonly threads: number;
  };
  /** WebGPU, where there is an adapter. */
  readonly webgpu: false | AdapterFacts;
}

/** `(func (result v128) (i8x16.splat 1))` as a module. */
// deno-fmt-ignore
const SIMD_PROBE = new Uint8Array([
  0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, // magic, version
  1, 5, 1, 0x60, 0, 1, 0x7b, // type: () -> v128
  3, 2, 1, 0, // one function of it
  10, 8, 1, 6, 0, 0x41, 1, 0xfd, 15, 11,
]);

/**
 * Finds out what can be used here; needs no permission.
 *
 * @example
 * ```ts
 * import { detectBackends } from "@sparrow/sparrow";
 *
 * console.log(await detectBackends());
 * ```
 */
export async function detectBackends(): Promise<BackendSupport> {
  const usable = typeof SharedArrayBuffer === "function" && WebAssembly.validate(SIMD_PROBE);
  return {
    reference: true,
    wasm: usable && {
      relaxedSimd: hasRelaxedSimd(),
      threads: navigator.hardwareConcurrency ?? 1,
    },
    webgpu: await probeAdapter() ?? false,
  };
}
