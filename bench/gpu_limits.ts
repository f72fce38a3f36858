/**
 * What a GPU does at best, as shaders reach it: copying, and multiplying and adding in registers.
 *
 * @module
 */

import { BackendError } from "../errors.ts";
import { openDevice } from "../runtime/backends/webgpu/device.ts";
import { perRepeat } from "./stats.ts";

/** Limits of an adapter. */
export interface GpuLimits {
  /** What the adapter says of itself. */
  readonly facts: Awaited<ReturnType<typeof openDevice>>["facts"];
  /** Gigabytes read and written in a second by copies of a large buffer. */
  copy(): Promise<number>;
  /** Billions of operations in a second, in f32. */
  f32(): Promise<number>;
  /** The same in f16; undefined where shaders have none. */
  readonly f16: (() => Promise<number>) | undefined;
  /** Frees the device. */
  dispose(): void;
}

const COPY_BYTES = 2 ** 28;
const INVOCATIONS = 2 ** 18, CHAINS = 8, ROUNDS = 256;
/** Each invocation has independent chains of multiply-adds of four numbers. */
const OPERATIONS = INVOCATIONS * CHAINS * ROUNDS * 8;

function shader(type: "f32" | "f16"): string {
  const chains = Array.from({ length: CHAINS }, (_, i) => `c${i}`);
  return `${type === "f16" ? "enable f16;\n" : ""}
    @group(0) @binding(0) var<storage, read_write> out: array<f32>;
    @compute @workgroup_size(256)
    fn main(@builtin(global_invocation_id) id: vec3u) {
      let m = vec4<${type}>(${type}(0.999));
      let q = vec4<${type}>(${type}(id.x & 7) * ${type}(0.01));
      ${chains.map((it, i) => `var ${it} = q + ${type}(${i});`).join("\n")}
      for (var i = 0; i < ${ROUNDS}; i++) {
        ${chains.map((it) => `${it} = fma(${it}, m, q);`).join("\n")}
      }
      let sum = ${chains.join(" + ")};
      // Never so, but the compiler cannot know.
      if (sum.x == ${type}(out[id.x & 63])) { out[id.x & 63] = f32(sum.y); }
    }`;
}

/** Opens the adapter; `small` is for adapters that are programs. */
export async function openGpuLimits(small = false): Promise<GpuLimits> {
  const { device, facts } = await openDevice();
  device.pushErrorScope("validation");
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const bytes = Math.min(small ? 2 ** 24 : COPY_BYTES, facts.maxBindingBytes);
  const [from, to] = [0, 1].map(() => device.createBuffer({ size: bytes, usage }));
  const groups = INVOCATIONS / 256 / (small ? 64 : 1);

  /** Seconds of one repetition: many take so much longer than few. */
  const amounts = new Map<string, number>();
  const seconds = async (
    name: string,
    record: (encoder: GPUCommandEncoder, count: number) => void,
  ): Promise<number> => {
    const time = async (count: number): Promise<number> => {
      const begun = performance.now();
      const encoder = device.createCommandEncoder();
      record(encoder, count);
      device.queue.submit([encoder.finish()]);
      await device.queue.onSubmittedWorkDone();
      return (performance.now() - begun) / 1000;
    };
    let many = amounts.get(name);
    if (many === undefined) {
      await time(1);
      for (many = 8; await time(many) < 0.1 && many < 4096;) many *= 2;
      amounts.set(name, many);
    }
    const few = many / 8, least = await time(few);
    return perRepeat(many, await time(many), few, least);
  };

  const arithmetic = (type: "f32" | "f16"): () => Promise<number> => {
    const module = device.createShaderModule({ code: shader(type) });
    const pipeline = device.createComputePipeline({ layout: "auto", compute: { module } });
    const bindGroup = device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [{ binding: 0, resource: { buffer: from!, size: 256 } }],
    });
    return async () => {
      const time = await seconds(type, (encoder, count) => {
        const pass = encoder.beginComputePass();
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, bindGroup);
        for (let i = 0; i < count; i++) pass.dispatchWorkgroups(groups);
        pass.end();
      });
      return OPERATIONS * groups * 256 / INVOCATIONS / time / 1e9;
    };
  };
  const [f32, f16] = [arithmetic("f32"), facts.f16 ? arithmetic("f16") : undefined];
  const error = await device.popErrorScope();
  if (error) throw new BackendError(`Cannot measure the limits of the GPU: ${error.message}`);
  return {
    facts,
    async copy() {
      const time = await seconds("copy", (encoder, count) => {
        for (let i = 0; i < count; i++) encoder.copyBufferToBuffer(from!, 0, to!, 0, bytes);
      });
      return 2 * bytes / time / 1e9;
    },
    f32,
    f16,
    dispose: () => device.destroy(),
  };
}
