/**
 * Times the kernels that do most of the work, in each of their variants, on one adapter: a product
 * of one token and one of many with a matrix of int4. With a clock on the GPU that is one submission;
 * without it differences of many and few dispatches are taken.
 *
 * @module
 */

import { elements, type TensorType } from "../../../kernels/op.ts";
import { planeRowBytes } from "../../../kernels/pack/planes.ts";
import { gpuActivationBytes } from "../../../kernels/quantize_activations/webgpu.ts";
import { WEBGPU } from "../../../kernels/webgpu.ts";
import type { Dispatch, GpuOperand, Shader } from "../../../kernels/webgpu_kernel.ts";
import type { OpenDevice } from "./device.ts";
import { GpuMemory } from "./memory.ts";
import { PARAMS_BYTES, Pipelines } from "./pipelines.ts";

/** Microseconds of what was timed, by name; none where nothing was. */
export type KernelTimes = Readonly<Record<string, number>>;

/** Names of what is timed: a product of one token and one of many, in each variant. */
export const TIMED = {
  shared: "vector f32 shared",
  subgroup: "vector f32 subgroup",
  f16: "vector f16",
  bytes: "vector bytes",
  tile: "tile f32",
  tileF16: "tile f16",
  tileBytes: "tile bytes",
} as const;

/** Rows and columns of the matrices of the products of one token and of many, and how many. */
const SIZES = { vector: 4096, tile: 2048, tokens: 128 };

/** How often each is done in a round, and rounds, of which the fastest counts. */
const VECTOR_COUNT = 4, TILE_COUNT = 1, ROUNDS = 3;

/** One variant, ready to run. */
interface Candidate {
  readonly name: string;
  readonly count: number;
  readonly steps: readonly {
    readonly pipeline: GPUComputePipeline;
    readonly bindGroup: GPUBindGroup;
    readonly groups: readonly [number, number];
  }[];
}

/** Microseconds of every variant that the device can run, by the GPU's clock if it has one. */
export async function timeKernels(
  open: OpenDevice,
  sizes: typeof SIZES = SIZES,
  hasClock: boolean = open.device.features.has("timestamp-query"),
): Promise<KernelTimes> {
  const { device } = open, memory = new GpuMemory(device), buffers: GPUBuffer[] = [];
  const create = (bytes: number, usage: number): GPUBuffer => {
    const buffer = memory.create(bytes, usage, "timing");
    buffers.push(buffer);
    return buffer;
  };
  try {
    const candidates = await prepare(open, create, sizes);
    return hasClock
      ? await timeByClock(device, candidates, create)
      : await timeByDifference(device, candidates);
  } finally {
    for (const buffer of buffers) memory.destroy(buffer);
  }
}

/** The shaders that may be timed: what their code is decides whether old times still hold. */
export function timedShaders(): readonly Shader[] {
  return [...WEBGPU.matmul.shaders, ...WEBGPU.quantizeActivations.shaders]
    .filter(({ name }) => !/(f32|f16|int8|int4m)$/.test(name));
}

type Create = (bytes: number, usage: number) => GPUBuffer;

async function prepare(
  open: OpenDevice,
  create: Create,
  sizes: typeof SIZES,
): Promise<Candidate[]> {
  const { device, limits, facts, subgroupLines } = open;
  const storage = (bytes: number): GPUBuffer => create(bytes, GPUBufferUsage.STORAGE);
  const place = (type: Omit<TensorType, "perToken">, planes: GPUBuffer[]): GpuOperand => ({
    ...type,
    perToken: false,
    slices: [{ firstRow: 0, rows: type.shape[0]!, planes }],
  });
  const dense = (shape: [number, number]) =>
    place({ shape, dtype: "f32", role: "dense" }, [storage(4 * elements(shape))]);
  const scratches: GPUBuffer[] = [];
  const scratch = (bytes: number, at = 0): GPUBuffer => {
    if ((scratches[at]?.size ?? 0) < bytes) scratches[at] = storage(bytes);
    return scratches[at]!;
  };
  const matrix = (width: number) =>
    place(
      { shape: [width, width], dtype: "int4", role: "matrix" },
      planeRowBytes("int4", width).map((bytes) => storage(width * bytes)),
    );

  /** One product in one variant, or undefined where the compiler rejects it. */
  async function candidate(
    name: string,
    weight: GpuOperand,
    [x, out]: readonly GpuOperand[],
    count: number,
    { f16 = false, bytes = false, subgroups = true } = {},
  ): Promise<Candidate | undefined> {
    const traits = { ...limits, arithmetic: f16 ? "f16" as const : "f32" as const };
    const dispatches: Dispatch[] = [];
    let input = x!;
    if (bytes) {
      const size = gpuActivationBytes(x!.shape[0]!, x!.shape[1]!);
      input = place({ ...x!, dtype: "a8" }, [scratch(size, 2)]);
      dispatches.push(...WEBGPU.quantizeActivations.encode([x!], input, {}, scratch, traits));
    }
    dispatches.push(...WEBGPU.matmul.encode([input, weight], out!, {}, scratch, traits));
    const tokens = x!.shape[0]!;
    const memory = new GpuMemory(device); // of failures only
    const pipelines = new Pipelines(memory, subgroups ? subgroupLines : undefined);
    const steps = dispatches.filter(({ groups }) => groups(tokens)[0] > 0).map((dispatch) => {
      const { UNIFORM, COPY_DST } = GPUBufferUsage,
        params = create(PARAMS_BYTES, UNIFORM | COPY_DST);
      device.queue.writeBuffer(params, 0, Uint32Array.from(dispatch.params(tokens)));
      return {
        pipeline: pipelines.pipeline(dispatch),
        bindGroup: pipelines.bindGroup(dispatch, params),
        groups: dispatch.groups(tokens),
      };
    });
    try {
      await memory.settled();
    } catch {
      return undefined;
    }
    return { name, count, steps };
  }

  const weight = matrix(sizes.vector), tileWeight = matrix(sizes.tile);
  const vector = [dense([1, sizes.vector]), dense([1, sizes.vector])];
  const tile = [dense([sizes.tokens, sizes.tile]), dense([sizes.tokens, sizes.tile])];
  const found = [
    await candidate(TIMED.shared, weight, vector, VECTOR_COUNT, { subgroups: false }),
    facts.subgroups && await candidate(TIMED.subgroup, weight, vector, VECTOR_COUNT),
    facts.f16 && await candidate(TIMED.f16, weight, vector, VECTOR_COUNT, { f16: true }),
    await candidate(TIMED.bytes, weight, vector, VECTOR_COUNT, { bytes: true }),
    await candidate(TIMED.tile, tileWeight, tile, TILE_COUNT),
    facts.f16 && await candidate(TIMED.tileF16, tileWeight, tile, TILE_COUNT, { f16: true }),
    await candidate(TIMED.tileBytes, tileWeight, tile, TILE_COUNT, { bytes: true }),
  ];
  return found.filter((it) => typeof it === "object");
}

function record(pass: GPUComputePassEncoder, { steps }: Candidate, count: number): void {
  for (let i = 0; i < count; i++) {
    for (const { pipeline, bindGroup, groups: [x, y] } of steps) {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, bindGroup, [0]);
      pass.dispatchWorkgroups(x, y);
    }
  }
}

/** All rounds in one submission; the first of each variant, which warms up, is not counted. */
async function timeByClock(
  device: GPUDevice,
  candidates: readonly Candidate[],
  create: Create,
): Promise<KernelTimes> {
  const passes = Array.from({ length: ROUNDS + 1 }, () => candidates).flat();
  const count = 2 * passes.length, bytes = 8 * count;
  const { QUERY_RESOLVE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
  const querySet = device.createQuerySet({ type: "timestamp", count });
  const resolved = create(bytes, QUERY_RESOLVE | COPY_SRC);
  const copy = create(bytes, COPY_DST | MAP_READ);
  const encoder = device.createCommandEncoder();
  for (const [i, candidate] of passes.entries()) {
    const timestampWrites = {
      querySet,
      beginningOfPassWriteIndex: 2 * i,
      endOfPassWriteIndex: 2 * i + 1,
    };
    const pass = encoder.beginComputePass({ timestampWrites });
    record(pass, candidate, candidate.count);
    pass.end();
  }
  encoder.resolveQuerySet(querySet, 0, count, resolved, 0);
  encoder.copyBufferToBuffer(resolved, 0, copy, 0, bytes);
  device.queue.submit([encoder.finish()]);
  await copy.mapAsync(GPUMapMode.READ);
  const clock = new BigUint64Array(copy.getMappedRange().slice(0, bytes));
  querySet.destroy();
  const times: Record<string, number> = {};
  passes.slice(candidates.length).forEach(({ name, count }, i) => {
    const at = 2 * (i + candidates.length);
    // Clocks may be coarse, or be set back.
    const us = Math.max(1e-3, Number(clock[at + 1]! - clock[at]!) / 1000 / count);
    times[name] = Math.min(times[name] ?? Infinity, us);
  });
  return times;
}

async function timeByDifference(
  device: GPUDevice,
  candidates: readonly Candidate[],
): Promise<KernelTimes> {
  const run = async (candidate: Candidate, count: number): Promise<number> => {
    const begun = performance.now();
    const encoder = device.createCommandEncoder(), pass = encoder.beginComputePass();
    record(pass, candidate, count);
    pass.end();
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
    return performance.now() - begun;
  };
  const least = candidates.map(() => ({ many: Infinity, few: Infinity }));
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, candidate] of candidates.entries()) {
      const time = least[i]!, { count } = candidate;
      time.few = Math.min(time.few, await run(candidate, count));
      time.many = Math.min(time.many, await run(candidate, 5 * count));
    }
  }
  return Object.fromEntries(
    candidates.map(({ name, count }, i) => [
      name,
      Math.max(1e-3, 1000 * (least[i]!.many - least[i]!.few) / (4 * count)),
    ]),
  );
}
