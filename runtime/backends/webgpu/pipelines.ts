/**
 * Compiled shaders, one for each shader and set of constants.
 *
 * @module
 */

import { BackendError } from "../../../errors.ts";
import { quote } from "../../../escape.ts";
import type { Dispatch, Shader } from "../../../kernels/webgpu_kernel.ts";
import type { GpuMemory } from "./memory.ts";

/** Bytes of a dispatch's parameters. */
export const PARAMS_BYTES = 64;

/** Compiles each pipeline once. */
export class Pipelines {
  readonly #memory: GpuMemory;
  readonly #subgroupLines: string | undefined;
  readonly #pipelines = new Map<string, GPUComputePipeline>();
  readonly #modules = new Map<Shader, GPUShaderModule>();
  readonly #layouts = new Map<string, GPUBindGroupLayout>();

  /** No pipelines yet; `subgroupLines` begin shaders with subgroups, where there are any. */
  constructor(memory: GpuMemory, subgroupLines?: string) {
    this.#memory = memory;
    this.#subgroupLines = subgroupLines;
  }

  /** The pipeline of a dispatch; what the compiler says against it comes to light in `settled`. */
  pipeline({ shader, constants = {} }: Dispatch): GPUComputePipeline {
    const key = `${shader.name} ${JSON.stringify(constants)}`;
    let pipeline = this.#pipelines.get(key);
    if (pipeline) return pipeline;
    const { device } = this.#memory;
    pipeline = this.#memory.guard(
      (message) => new BackendError(`Cannot compile shader ${quote(shader.name)}: ${message}`),
      () => {
        let module = this.#modules.get(shader);
        if (!module) {
          const code = (shader.f16 ? "enable f16;\n" : "") +
            (this.#subgroupLines === undefined || shader.subgroups === undefined
              ? shader.code
              : this.#subgroupLines + shader.subgroups);
          module = device.createShaderModule({ code, label: shader.name });
          this.#modules.set(shader, module);
        }
        return device.createComputePipeline({
          label: shader.name,
          layout: device.createPipelineLayout({ bindGroupLayouts: [this.#layout(shader)] }),
          compute: { module, entryPoint: "main", constants },
        });
      },
    );
    this.#pipelines.set(key, pipeline);
    return pipeline;
  }

  /** The bind group of a dispatch, with its parameters somewhere in `params`. */
  bindGroup({ shader, buffers }: Dispatch, params: GPUBuffer): GPUBindGroup {
    return this.#memory.device.createBindGroup({
      label: shader.name,
      layout: this.#layout(shader),
      entries: [
        { binding: 0, resource: { buffer: params, size: PARAMS_BYTES } },
        ...buffers.map((buffer, i) => ({ binding: i + 1, resource: { buffer } })),
      ],
    });
  }

  #layout({ access }: Shader): GPUBindGroupLayout {
    const key = access.join();
    let layout = this.#layouts.get(key);
    if (!layout) {
      const visibility = GPUShaderStage.COMPUTE;
      layout = this.#memory.device.createBindGroupLayout({
        entries: [
          { binding: 0, visibility, buffer: { type: "uniform", hasDynamicOffset: true } },
          ...access.map((use, i) => ({
            binding: i + 1,
            visibility,
            buffer: { type: use === "read" ? "read-only-storage" as const : "storage" as const },
          })),
        ],
      });
      this.#layouts.set(key, layout);
    }
    return layout;
  }
}
