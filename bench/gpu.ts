/**
 * `deno run -A bench/gpu.ts`: times the WebGPU kernels at shapes of models, against what the adapter
 * copies and multiplies at its best, and a whole model where one is named. Times are differences of
 * many and few dispatches in one submission, so that no waiting is counted.
 *
 * To measure where there is no network, carry this repository, Deno (npm `@deno/linux-x64-glibc`) and
 * the GPU's Vulkan driver there.
 *
 * @module
 */

import { parseArgs } from "@std/cli";
import { loadModel } from "../mod.ts";
import { elements, type TensorType } from "../kernels/op.ts";
import { planeRowBytes } from "../kernels/pack/planes.ts";
import { tensorBytes } from "../kernels/shape.ts";
import { WEBGPU } from "../kernels/webgpu.ts";
import { bufferOf, type Dispatch, type GpuOperand } from "../kernels/webgpu_kernel.ts";
import type { LayoutName } from "../quant/formats.ts";
import { openDevice } from "../runtime/webgpu/device.ts";
import { GpuMemory } from "../runtime/webgpu/memory.ts";
import { PARAMS_BYTES, Pipelines } from "../runtime/webgpu/pipelines.ts";
import { describeMachine, digits } from "./stats.ts";

const help = `Usage: deno run -A bench/gpu.ts [options]

  --widths LIST   rows and columns of the matrices (default 4096,8192; 512 is quick)
  --tokens N      tokens of the matrix-matrix products (default 512)
  --model M       GGUF file or safetensors directory to time as a whole
  --json          print one JSON object instead of a table`;

interface Row {
  /** What was timed. */
  readonly name: string;
  /** Microseconds of one dispatch. */
  readonly us: number;
  /** Gigabytes that must be read and written, per second. */
  readonly gbPerSecond: number;
  /** Billions of additions and multiplications per second. */
  readonly gflops: number;
}

const { device, facts, subgroupLines } = await openDevice();
const memory = new GpuMemory(device), pipelines = new Pipelines(memory, subgroupLines);
const { STORAGE, COPY_SRC, COPY_DST, UNIFORM } = GPUBufferUsage;

function place(type: TensorType): GpuOperand {
  const allocate = (bytes: number): GPUBuffer =>
    memory.create(bytes, STORAGE | COPY_SRC | COPY_DST, "bench");
  const rows = type.shape[0]!;
  const planes = type.role === "matrix"
    ? planeRowBytes(type.dtype as LayoutName, type.shape[1]!).map((bytes) => allocate(rows * bytes))
    : [allocate(4 * elements(type.shape))];
  return { ...type, slices: [{ firstRow: 0, rows, planes }] };
}

function dense(shape: readonly number[], dtype: "f32" | "i32" = "f32"): GpuOperand {
  return place({ shape, dtype, role: "dense", perToken: false });
}

function scratch(bytes: number): GPUBuffer {
  return memory.create(bytes, STORAGE, "scratch");
}

/** Seconds that one repetition of some commands takes: the difference of the least times. */
async function seconds(
  record: (encoder: GPUCommandEncoder, count: number) => void,
): Promise<number> {
  const time = async (count: number): Promise<number> => {
    const begun = performance.now();
    const encoder = device.createCommandEncoder();
    record(encoder, count);
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
    await memory.settled();
    return (performance.now() - begun) / 1000;
  };
  let many = 4;
  while (await time(many) < 0.1 && many < 4096) many *= 4;
  const few = many / 4, least = { many: Infinity, few: Infinity };
  for (let i = 0; i < 5; i++) {
    least.many = Math.min(least.many, await time(many));
    least.few = Math.min(least.few, await time(few));
  }
  return Math.max(least.many - least.few, 1e-9) / (many - few);
}

async function timeDispatches(
  name: string,
  dispatches: readonly Dispatch[],
  tokens: number,
  bytes: number,
  flops: number,
): Promise<Row> {
  const steps = dispatches.filter(({ groups }) => groups(tokens)[0] > 0).map((dispatch) => {
    const params = memory.create(PARAMS_BYTES, UNIFORM | COPY_DST, "params");
    device.queue.writeBuffer(params, 0, Uint32Array.from(dispatch.params(tokens)));
    return {
      pipeline: pipelines.pipeline(dispatch),
      bindGroup: pipelines.bindGroup(dispatch, params),
      groups: dispatch.groups(tokens),
    };
  });
  const time = await seconds((encoder, count) => {
    const pass = encoder.beginComputePass();
    for (let i = 0; i < count; i++) {
      for (const { pipeline, bindGroup, groups: [x, y] } of steps) {
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, bindGroup, [0]);
        pass.dispatchWorkgroups(x, y);
      }
    }
    pass.end();
  });
  return row(name, time, bytes, flops);
}

function row(name: string, time: number, bytes: number, flops: number): Row {
  const us = digits(1e6 * time), gbPerSecond = digits(bytes / time / 1e9);
  return { name, us, gbPerSecond, gflops: digits(flops / time / 1e9) };
}

async function timeCopy(): Promise<Row> {
  const bytes = Math.min(2 ** 28, facts.maxBindingBytes / 2);
  const [from, to] = [dense([bytes / 4]), dense([bytes / 4])].map(bufferOf);
  const time = await seconds((encoder, count) => {
    for (let i = 0; i < count; i++) encoder.copyBufferToBuffer(from!, 0, to!, 0, bytes);
  });
  return row(`copy of ${bytes / 2 ** 20} MiB`, time, 2 * bytes, 0);
}

async function timeMatmul(
  layout: LayoutName,
  width: number,
  tokens: number,
  bytesOnly = false,
): Promise<Row> {
  const weight = place({ shape: [width, width], dtype: layout, role: "matrix", perToken: false });
  const x = dense([tokens, width]), out = dense([tokens, width]);
  const bytes = tensorBytes(weight) + tensorBytes(x) + tensorBytes(out);
  const input = bytesOnly ? { ...x, dtype: "a8" as const } : x; // takes less room than floats
  const dispatches = WEBGPU.matmul.encode([input, weight], out, {}, scratch);
  const name = `matmul ${layout}${bytesOnly ? " by int8" : ""}, ${tokens} x ${width} x ${width}`;
  const result = await timeDispatches(name, dispatches, tokens, bytes, 2 * tokens * width * width);
  for (const operand of [weight, x, out]) {
    for (const { planes } of operand.slices) for (const buffer of planes) memory.destroy(buffer);
  }
  return result;
}

async function timeAttention(dtype: "f32" | "f16", rows: number): Promise<Row> {
  const heads = 32, kvHeads = 8, headDim = 128, width = heads * headDim;
  const cache = (role: "keyCache" | "valueCache"): GpuOperand =>
    place({ shape: [rows, kvHeads, headDim], dtype, role, perToken: false });
  const keys = cache("keyCache"), values = cache("valueCache"), spans = dense([1, 2], "i32");
  device.queue.writeBuffer(bufferOf(spans), 0, Int32Array.of(0, rows));
  const q = dense([1, width]), out = dense([1, width]);
  const inputs = [q, keys, values, spans];
  const attrs = { heads, scale: headDim ** -0.5 };
  const dispatches = WEBGPU.attention.encode(inputs, out, attrs, scratch);
  const name = `attention ${dtype}, 32/8 heads of 128, ${rows} rows`;
  return await timeDispatches(name, dispatches, 1, 2 * tensorBytes(keys), 4 * width * rows);
}

async function timeModel(path: string): Promise<Record<string, number>> {
  await using model = await loadModel(path, { backend: "webgpu" });
  const count = Math.min(256, model.contextLength >> 1);
  const ids = Array.from({ length: count }, (_, i) => (i * 7919 + 13) % model.config.vocabSize);
  using session = model.session();
  const result = { promptTokens: count, promptPerSecond: 0, generatedPerSecond: 0 };
  for (let run = 0; run < 3; run++) {
    session.reset();
    let begun = performance.now();
    await session.prefill(ids);
    result.promptPerSecond = digits(count / (performance.now() - begun) * 1000);
    begun = performance.now();
    let tokens = 0;
    const options = { temperature: 0, maxTokens: count, stopIds: [] };
    for await (const _ of session.generate([...ids, 1], options)) tokens++;
    result.generatedPerSecond = digits(tokens / (performance.now() - begun) * 1000);
  }
  return result;
}

const flags = parseArgs(Deno.args, {
  string: ["widths", "tokens", "model"],
  boolean: ["json", "help"],
});
if (flags.help) {
  console.log(help);
  Deno.exit();
}
const widths = (flags.widths ?? "4096,8192").split(",").map(Number);
const rows = [await timeCopy()];
for (const width of widths) {
  for (const layout of ["int4", "int8"] as const) {
    rows.push(await timeMatmul(layout, width, 1, true));
  }
  for (const layout of ["int4", "int8", "f16"] as const) {
    rows.push(await timeMatmul(layout, width, 1));
  }
  for (const layout of ["int4", "f16"] as const) {
    rows.push(await timeMatmul(layout, width, Number(flags.tokens ?? 512)));
  }
}
for (const dtype of ["f32", "f16"] as const) {
  rows.push(await timeAttention(dtype, Math.max(...widths)));
}
memory.dispose();
const model = flags.model ? await timeModel(flags.model) : null;
const { name: adapter } = facts;
if (flags.json) {
  console.log(JSON.stringify({ machine: describeMachine(), adapter, rows, model }));
} else {
  console.log(adapter);
  for (const { name, us, gbPerSecond, gflops } of rows) {
    console.log(`${name.padEnd(48)} ${us} us, ${gbPerSecond} GB/s, ${gflops} GFLOP/s`);
  }
  if (model) console.log(model);
}
