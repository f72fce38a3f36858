/**
 * How much of the memory's bandwidth generation uses: tokens per second times the bytes that a token
 * reads at least, beside what the machine reads, measured in turn.
 *
 * @module
 */

import { readsOf } from "../runtime/engine/needs.ts";
import { resolveModel, type ResolveOptions } from "../runtime/engine/resolve.ts";
import { openModel } from "../runtime/load.ts";
import { createCalibrator } from "./limits/calibrate.ts";
import { ratios, type Spread, spread } from "./stats.ts";

/** Generation beside memory. */
export interface DramShare {
  /** What the machine reads, in GB/s: the better of WebAssembly and native code. */
  readonly dramGBps: Spread;
  /** Bytes that a token reads at least, of weights and cache. */
  readonly bytesPerToken: number;
  /** What generation reads, as a part of that. */
  readonly share: Spread;
}

/** Bytes that a token reads at least when so many are in the context. */
export async function bytesPerToken(
  path: string,
  options: ResolveOptions,
  context: number,
): Promise<number> {
  const file = await openModel(path, {});
  try {
    const model = await resolveModel(file, options, () => {});
    const { weightBytes, cacheBytes } = readsOf(model).decode!;
    return Math.round(weightBytes + cacheBytes * context / model.sizes.contextLength);
  } finally {
    file.close();
  }
}

/**
 * Measures both in turn.
 *
 * @param bytes that a token reads
 * @param generate generates, and gives tokens per second
 */
export async function measureShare(
  bytes: number,
  generate: () => Promise<number>,
  threads: number,
  runs: number,
): Promise<DramShare> {
  const calibrator = await createCalibrator(threads);
  try {
    const reads: number[] = [], limits: number[] = [];
    for (let run = 0; run < runs; run++) {
      const wasm = await calibrator.measure("dram", threads);
      const native = calibrator.native ? await calibrator.measure("dramNative", threads) : 0;
      limits.push(Math.max(wasm, native));
      reads.push(await generate() * bytes / 1e9);
    }
    return { dramGBps: spread(limits), bytesPerToken: bytes, share: ratios(reads, limits) };
  } finally {
    calibrator.dispose();
  }
}
