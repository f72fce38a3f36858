/**
 * Whether a model fits in the memory that is free, asked before its weights are read.
 *
 * @module
 */

import { MemoryError } from "../../errors.ts";
import { formatBytes, quote } from "../../escape.ts";
import { availableMemory } from "../backends/available_memory.ts";
import type { ModelFile } from "../files/model_file.ts";
import { memoryNeeded, type ProgramGraphs, programGraphs } from "./record.ts";
import type { ResolvedModel } from "./resolve.ts";
import { findSmaller, type HoldOptions, savingsOf } from "./smaller.ts";

/** The part of the free memory from which on a model is told to take much, where it is no small one. */
const MUCH = 3 / 4, LEAST_TOLD = 2 ** 28;

/**
 * Compares with the machine's memory where the program may ask for it; `warn` is told when little of it
 * will be left.
 *
 * @throws MemoryError when there is less than weights and caches need
 */
export async function checkMemory(
  file: ModelFile,
  graphs: ProgramGraphs,
  options: HoldOptions & { readonly gpuLayers?: number },
  warn: (message: string) => void,
  available: number = availableMemory(),
): Promise<void> {
  const { totalBytes: needed } = memoryNeeded(graphs, options.gpuLayers);
  if (needed <= Math.max(available * MUCH, Math.min(available, LEAST_TOLD))) return;
  const bytesOf = ({ programs, weights, sizes }: ResolvedModel): number =>
    memoryNeeded(programGraphs(programs, weights, sizes), options.gpuLayers).totalBytes;
  if (needed > available) {
    const enough = await findSmaller(file, options, (model) => bytesOf(model) <= available);
    throw new MemoryError(
      `Cannot load ${quote(file.name)}: weights and caches need ${formatBytes(needed)}, ` +
        `${formatBytes(available)} are available; ` +
        (enough ?? `use weights "int4", a shorter contextLength or fewer sequences`),
    );
  }
  if (!options.isHosted) return; // it takes the GPU's memory
  const savings = await savingsOf(file, options, bytesOf);
  warn(
    `Weights and caches of ${quote(file.name)} take ${formatBytes(needed)} of the ` +
      `${formatBytes(available)} that are free` +
      (savings.length > 0 ? `: ${savings.join(", ")}` : ""),
  );
}
