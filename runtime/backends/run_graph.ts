/**
 * One run of a compiled graph from numbers to numbers.
 *
 * @module
 */

import { elements } from "../../kernels/op.ts";
import type { Graph } from "../graph/graph.ts";
import type { Executable, TensorData } from "./backend.ts";

/** Writes inputs by name, runs `tokens` tokens, and gives every output, its rows one after another. */
export async function runGraph(
  executable: Executable,
  { outputs }: Graph,
  inputs: Iterable<readonly [name: string, numbers: TensorData]>,
  tokens: number,
): Promise<Record<string, Float32Array>> {
  for (const [name, numbers] of inputs) executable.write(name, numbers);
  await executable.run(tokens);
  const results = Array.from(outputs, async ([name, { shape, perToken }]) => {
    const count = perToken ? tokens : shape[0]!;
    return [name, await executable.read(name, count * elements(shape) / shape[0]!)] as const;
  });
  return Object.fromEntries(await Promise.all(results));
}
