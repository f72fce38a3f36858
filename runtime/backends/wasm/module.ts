/**
 * The compiled kernels: the relaxed SIMD build where the engine has those instructions, else the
 * plain one. And which of two ways to sum int8 products is the faster one on this CPU.
 *
 * @module
 */

import { BackendError } from "../../../errors.ts";

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
  if (typeof Worker === "undefined") {
    throw new BackendError(
      "Cannot use the wasm backend: this engine has no Web Workers (Node's are of another kind); " +
        'use Deno or a browser, or the "reference" backend',
    );
  }
  try {
    return relaxed
      ? (await import("../../../kernels/pkg/module.js")).default
      : (await import("../../../kernels/pkg/module_plain.js")).default;
  } catch (cause) {
    throw new BackendError(
      "Cannot load the WebAssembly kernels: this engine needs SIMD and threads; use a newer one, " +
        'or the "reference" backend',
      { cause },
    );
  }
}

/** How products of int8 are summed: see kernels/dots.as.ts. */
export type Dots = "pairs" | "quads";

/** Blocks of products that are timed at once: some microseconds. */
const PROBE_TURNS = 500;
/** Longest wait for the engine's optimizing compiler, in milliseconds. */
const PROBE_MS = 40;

let faster: Promise<Dots> | undefined;

/**
 * Which way to sum int8 products is the faster one here. Found out once per process, in some
 * milliseconds of which most are spent waiting, without blocking.
 *
 * @param relaxed the relaxed SIMD build of the kernels
 */
export function fasterDots(relaxed: WebAssembly.Module): Promise<Dots> {
  return faster ??= timeDots(relaxed);
}

async function timeDots(relaxed: WebAssembly.Module): Promise<Dots> {
  const memory = new WebAssembly.Memory({ initial: 160, maximum: 160, shared: true });
  const instance = await WebAssembly.instantiate(relaxed, { env: { memory } });
  const probe = instance.exports.probeDots as (quads: number, turns: number) => number;
  /** Least time of both ways, over some calls. */
  const measure = (): [pairs: number, quads: number] => {
    let pairs = Infinity, quads = Infinity;
    for (let i = 0; i < 10; i++) {
      const start = performance.now();
      probe(0, PROBE_TURNS);
      const middle = performance.now();
      probe(1, PROBE_TURNS);
      pairs = Math.min(pairs, middle - start);
      quads = Math.min(quads, performance.now() - middle);
    }
    return [pairs, quads];
  };
  // Engines compile twice, the second time well and only what has run for a while. Until both ways
  // have become clearly faster, their times say nothing.
  const [pairsAtFirst, quadsAtFirst] = measure();
  const end = performance.now() + PROBE_MS;
  for (let [pairs, quads] = measure();; [pairs, quads] = measure()) {
    const compiled = pairs < pairsAtFirst / 1.5 && quads < quadsAtFirst / 1.5;
    if (compiled) return quads < pairs ? "quads" : "pairs";
    if (performance.now() > end) return quads < pairs / 2 ? "quads" : "pairs";
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
