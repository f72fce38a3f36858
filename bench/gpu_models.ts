/**
 * Whole models on a GPU: synthetic ones, written here, measured in turn with llama.cpp where it is.
 *
 * @module
 */

import { comparePeers, type PeerResult } from "./peers.ts";
import type { Work } from "./peers/peer.ts";
import { type ModelSize, writeSyntheticModel } from "./synthetic_model.ts";

/** What is measured of a model. */
export interface GpuModelOptions {
  /** Numbers of tokens of the prompts. */
  readonly promptTokens: readonly number[];
  /** Tokens before those that are generated. */
  readonly position: number;
  /** Tokens that are generated. */
  readonly genTokens: number;
  /** Measurements of each. */
  readonly runs: number;
  /** Called with each row. */
  readonly onResult?: (result: PeerResult) => void;
}

/** Programs that use a GPU. */
const PROGRAMS = ["sparrow-webgpu", "llama.cpp-vulkan", "llama.cpp-cuda"];

/** Measures one GGUF file. */
export async function measureGpuModel(
  model: string,
  { promptTokens, position, genTokens, runs, onResult }: GpuModelOptions,
): Promise<PeerResult[]> {
  const works: Work[] = [
    { kind: "decode", model, position, tokens: genTokens },
    ...promptTokens.map((tokens): Work => ({ kind: "prefill", model, tokens })),
  ];
  const results: PeerResult[] = [];
  for (const work of works) {
    const rows = await comparePeers(work, 1, PROGRAMS, runs);
    rows.forEach((row) => onResult?.(row));
    results.push(...rows);
  }
  return results;
}

/** Writes an INT4 model of a size into a folder, measures and removes it. */
export async function measureSynthetic(
  name: string,
  size: ModelSize,
  folder: string,
  options: GpuModelOptions,
): Promise<PeerResult[]> {
  const path = `${folder}/synthetic-${name}-Q4_0.gguf`;
  try {
    const file = await Deno.open(path, { write: true, create: true, truncate: true });
    await writeSyntheticModel(file.writable, size, "Q4_0");
    return await measureGpuModel(path, options);
  } finally {
    await Deno.remove(path).catch(() => {});
  }
}
