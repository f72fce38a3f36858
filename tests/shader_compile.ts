/**
 * Compiles every shader of every op, for tests of compilers.
 *
 * @module
 */

import { SAMPLE_SHADERS } from "../kernels/sample/webgpu.ts";
import { WEBGPU } from "../kernels/webgpu.ts";
import type { Shader } from "../kernels/webgpu_kernel.ts";
import { GpuMemory } from "../runtime/backends/webgpu/memory.ts";
import { Pipelines } from "../runtime/backends/webgpu/pipelines.ts";

/** Overrides that are sizes; the others are choices. */
const SIZES: Readonly<Record<string, number>> = {
  ...{ WG: 64, LANES: 64, QUADS: 16, SPLITS: 2 },
  ...{ ROW_LANES: 8, ROW_QUADS: 16, TOKEN_LANES: 8, TOKEN_QUADS: 16 },
};

/** Values for the overrides of a shader: all flags off, then all on, then the last of three types. */
function constantSets({ code }: Shader): Record<string, number>[] {
  const names = Array.from(code.matchAll(/^override (\w+)/gm), ([, name]) => name!);
  const sets = [0, 1, 2].map((flag) =>
    Object.fromEntries(names.map((name) => [name, SIZES[name] ?? flag]))
  );
  if (names.some((name) => name.endsWith("_TYPE"))) return sets;
  return names.some((name) => !(name in SIZES)) ? sets.slice(0, 2) : sets.slice(0, 1);
}

/** Shaders of every op, and those that choose tokens. */
const ALL = new Set([
  ...Object.values(WEBGPU).flatMap((row) => row.shaders),
  ...Object.values(SAMPLE_SHADERS),
]);

/** Makes the pipelines of shaders, with subgroups where their first lines are given, and tells how many and what was said against them. */
export async function compileShaders(
  device: GPUDevice,
  subgroupLines?: string,
  shaders: Iterable<Shader> = ALL,
): Promise<{ compiled: number; errors: string[] }> {
  const errors: string[] = [];
  let compiled = 0;
  for (const shader of shaders) {
    if (shader.f16 && !device.features.has("shader-f16")) continue;
    // The others are the same with and without.
    if (subgroupLines !== undefined && !shader.subgroups) continue;
    const memory = new GpuMemory(device), pipelines = new Pipelines(memory, subgroupLines);
    for (const constants of constantSets(shader)) {
      pipelines.pipeline({
        shader,
        constants,
        buffers: [],
        params: () => [],
        groups: () => [1, 1],
      });
      compiled++;
    }
    await memory.settled().catch((error) => errors.push(error.message));
  }
  return { compiled, errors };
}
