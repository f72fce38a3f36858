/**
 * A plan as a list of dispatches: parameters in one uniform buffer, written again only when the
 * number of tokens changes, and bind groups, made again only when a cache has grown.
 *
 * @module
 */

import { BackendError } from "../../../errors.ts";
import { quote } from "../../../escape.ts";
import { elements } from "../../../kernels/op.ts";
import { MOST_ADVANCED } from "../../../kernels/sample/webgpu.ts";
import { type Dispatch, type Groups, MAX_GROUPS } from "../../../kernels/webgpu_kernel.ts";
import type { Executable, TensorData } from "../backend.ts";
import type { Graph, Tensor } from "../../graph/graph.ts";
import { type GpuCaches, RowsNeeded } from "./caches.ts";
import type { GpuMemory } from "./memory.ts";
import { PARAMS_BYTES, type Pipelines } from "./pipelines.ts";
import { createSampling, type Sampling } from "./sampling.ts";

/** Prepares dispatches for running; `bufferOf` finds inputs and outputs. */
export function createExecutable(
  memory: GpuMemory,
  pipelines: Pipelines,
  caches: GpuCaches,
  graph: Graph,
  dispatches: readonly Dispatch[],
  bufferOf: (tensor: Tensor) => GPUBuffer | undefined,
): Executable {
  const { device } = memory;
  const unit = device.limits.minUniformBufferOffsetAlignment;
  const stride = Math.ceil(PARAMS_BYTES / unit) * unit;
  const words = new Uint32Array(Math.max(1, dispatches.length) * stride / 4);
  const params = memory.create(
    words.byteLength,
    GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    "params",
  );
  for (const dispatch of dispatches) checkGroups(dispatch, graph.tokens);
  const steps = dispatches.map((dispatch) => ({
    dispatch,
    pipeline: pipelines.pipeline(dispatch),
    bindGroup: bind(dispatch),
    groups: [0, 0] as Groups,
  }));
  const needed = new RowsNeeded(graph);
  let growths = caches.growths;
  const inputs = new Map(
    graph.tensors.filter((it) => it.origin === "input").map((it) => [it.name, it]),
  );
  const staging = new Map<string, GPUBuffer>();
  let writtenTokens = 0;

  function bind(dispatch: Dispatch): GPUBindGroup {
    const buffers = dispatch.buffers.map((buffer) => caches.latest(buffer));
    return memory.guard(
      (message) => new BackendError(`Cannot bind ${quote(dispatch.shader.name)}: ${message}`),
      () => pipelines.bindGroup({ ...dispatch, buffers }, params),
    );
  }

  /** Makes room in the caches for what the inputs name. */
  function setRows(): void {
    caches.require(needed.caches, needed.rows);
    if (growths === caches.growths) return;
    growths = caches.growths;
    for (const step of steps) {
      const { buffers } = step.dispatch;
      if (buffers.some((it) => caches.latest(it) !== it)) step.bindGroup = bind(step.dispatch);
    }
  }

  function setTokens(tokens: number): void {
    if (tokens === writtenTokens) return;
    steps.forEach((step, i) => {
      words.set(step.dispatch.params(tokens), i * stride / 4);
      step.groups = step.dispatch.groups(tokens);
    });
    device.queue.writeBuffer(params, 0, words);
    writtenTokens = tokens;
  }

  function record(pass: GPUComputePassEncoder): void {
    let last: GPUComputePipeline | undefined;
    steps.forEach(({ pipeline, bindGroup, groups: [x, y] }, i) => {
      if (x === 0) return;
      if (pipeline !== last) pass.setPipeline(last = pipeline);
      pass.setBindGroup(0, bindGroup, [i * stride]);
      pass.dispatchWorkgroups(x, y);
    });
  }

  const find = (name: string, tensors: ReadonlyMap<string, Tensor>): GPUBuffer | undefined => {
    const tensor = tensors.get(name);
    return tensor && bufferOf(tensor);
  };
  let sampling: Sampling | undefined;

  /** A buffer of the host's into which an output is copied. */
  function stagingOf(name: string, tensor: Tensor): GPUBuffer {
    let buffer = staging.get(name);
    if (!buffer) {
      const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
      buffer = memory.create(4 * elements(tensor.shape), usage, `copy of ${name}`);
      staging.set(name, buffer);
    }
    return buffer;
  }

  return {
    write(name: string, data: TensorData): void {
      memory.check();
      const tensor = inputs.get(name);
      if (!tensor) throw new BackendError(`Cannot write input ${quote(name)}: the graph has none`);
      if (data.length > elements(tensor.shape)) {
        throw new BackendError(
          `Cannot write input ${quote(name)}: ${data.length} elements, ` +
            `expected at most ${elements(tensor.shape)}`,
        );
      }
      needed.note(name, data);
      const buffer = bufferOf(tensor);
      if (buffer) device.queue.writeBuffer(buffer, 0, data as Float32Array<ArrayBuffer>);
    },
    async run(tokens: number): Promise<void> {
      await memory.settled();
      memory.guard((message) => new BackendError(`Cannot run: ${message}`), () => {
        setTokens(tokens);
        setRows();
        const encoder = device.createCommandEncoder();
        const pass = encoder.beginComputePass();
        record(pass);
        pass.end();
        device.queue.submit([encoder.finish()]);
      });
    },
    async read(name: string, length: number): Promise<Float32Array> {
      const tensor = graph.outputs.get(name), source = tensor && bufferOf(tensor);
      if (!source) throw new BackendError(`Cannot read output ${quote(name)}: the graph has none`);
      await memory.settled();
      const copy = stagingOf(name, tensor), bytes = 4 * length;
      memory.guard((message) => new BackendError(`Cannot read ${quote(name)}: ${message}`), () => {
        const encoder = device.createCommandEncoder();
        encoder.copyBufferToBuffer(source, 0, copy, 0, bytes);
        device.queue.submit([encoder.finish()]);
      });
      return new Float32Array(await memory.download(copy, bytes));
    },
    mostAdvanced: MOST_ADVANCED,
    async runAhead(count, loop, choice): Promise<Int32Array> {
      memory.check();
      sampling ??= createSampling(memory, pipelines, {
        logits: find(loop.logits, graph.outputs)!,
        ids: find(loop.ids, inputs),
        inputs: loop.inputs.map((it) => ({ ...it, buffer: find(it.name, inputs) })),
        vocab: elements(graph.outputs.get(loop.logits)!.shape),
      });
      const { copy, bytes } = memory.guard(
        (message) => new BackendError(`Cannot run: ${message}`),
        () => {
          setTokens(1);
          // The first choice is noted already.
          needed.advance(count - 1);
          setRows();
          needed.advance(1);
          return sampling!.submit(count, record, choice);
        },
      );
      const ids = new Int32Array(await memory.download(copy, bytes));
      sampling.giveBack(copy);
      return ids;
    },
  };
}

function checkGroups({ shader, groups }: Dispatch, tokens: number): void {
  const [x, y] = groups(tokens);
  if (Math.max(x, y) > MAX_GROUPS) {
    throw new BackendError(
      `Cannot compile ${quote(shader.name)}: ` +
        `${x} x ${y} workgroups, expected at most ${MAX_GROUPS} ` +
        `along each axis; use fewer tokens`,
    );
  }
}
