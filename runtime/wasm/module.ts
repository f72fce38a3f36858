/**
 * The compiled kernels: the relaxed SIMD build where the engine has those instructions, else the
 * plain one.
 *
 * @module
 */

import { BackendError } from "../../errors.ts";

/** `(func (result v128) (i8x16.relaxed_swizzle (i8x16.splat 1) (i8x16.splat 2)))` as a module. */
// deno-fmt-ignore
const RELAXED_PROBE = new Uint8Array([
  0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, // magic, version
  1, 5, 1, 0x60, 0, 1, 0x7b, // type: () -> v128
  3, 2, 1, 0, // one function of it
  10, 15, 1, 13, 0, 0x41, 1, 0xfd, 15, 0x41, 2, 0xfd, 15, 0xfd, 0x80, 2, 11,
]);

/** Whether the engine has the relaxed SIMD instructions. */
export function hasRelaxedSimd(): boolean {
  return WebAssembly.validate(RELAXED_PROBE);
}

/**
 * Loads the kernels.
 *
 * @throws BackendError when the engine lacks SIMD or threads, or the page is not isolated
 */
export async function loadKernels(
  relaxed: boolean = hasRelaxedSimd(),
): Promise<WebAssembly.Module> {
  if (typeof SharedArrayBuffer === "undefined") {
    throw new BackendError(
      "Cannot use the wasm backend: this page may not share memory between threads; serve it with " +
        "Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp",
    );
  }
  try {
    return relaxed
      ? (await import("../../kernels/pkg/module.js")).default
      : (await import("../../kernels/pkg/module_plain.js")).default;
  } catch (cause) {
    throw new BackendError(
      "Cannot load the WebAssembly kernels: this engine needs SIMD and threads; use a newer one, " +
        'or the "reference" backend',
      { cause },
    );
  }
}
