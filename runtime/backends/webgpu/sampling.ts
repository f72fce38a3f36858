/**
 * Runs that follow each other on the GPU: between them a shader chooses the next token. The chosen
 * ids come back together, through one of several buffers, so that reading does not hold up the next
 * submission.
 *
 * @module
 */

import { BackendError } from "../../../errors.ts";
import { LogitOffsets } from "../../../kernels/sample/offsets.ts";
import {
  MOST_ADVANCED,
  sampleParams,
  sampleShader,
  sampleWords,
} from "../../../kernels/sample/webgpu.ts";
import type { Dispatch } from "../../../kernels/webgpu_kernel.ts";
import type { AheadChoice, InputAdvance } from "../backend.ts";
import type { GpuMemory } from "./memory.ts";
import { PARAMS_BYTES, type Pipelines } from "./pipelines.ts";

/** Most tokens of one submission. */
const MOST_AHEAD = 64;

/** What the shader reads and writes. */
export interface SamplingBuffers {
  /** `[1, vocab]`. */
  readonly logits: GPUBuffer;
  /** Where the chosen id goes; absent, as others, where the graph does not read it. */
  readonly ids: GPUBuffer | undefined;
  /** The other inputs, and how they go on. */
  readonly inputs: readonly (InputAdvance & { readonly buffer: GPUBuffer | undefined })[];
  /** Logits. */
  readonly vocab: number;
}

/** The loop of one executable. */
export interface Sampling {
  /** Submits `count` runs, which `record` records; the ids will be in `copy`. */
  submit(
    count: number,
    record: (pass: GPUComputePassEncoder) => void,
    choice: AheadChoice,
  ): { copy: GPUBuffer; bytes: number };
  /** Takes a buffer back that has been read. */
  giveBack(copy: GPUBuffer): void;
}

/** Prepares the loop. */
export function createSampling(
  memory: GpuMemory,
  pipelines: Pipelines,
  { logits, ids, inputs, vocab }: SamplingBuffers,
): Sampling {
  const { device } = memory;
  const { STORAGE, COPY_SRC, COPY_DST, UNIFORM, MAP_READ } = GPUBufferUsage;
  const listBytes = 4 * MOST_AHEAD;
  const chosen = memory.create(4 + listBytes, STORAGE | COPY_SRC | COPY_DST, "chosen ids");
  const params = memory.create(PARAMS_BYTES, UNIFORM | COPY_DST, "sampling");
  if (inputs.length > MOST_ADVANCED) {
    throw new BackendError(
      `Cannot run ahead: found ${inputs.length} inputs, expected at most ${MOST_ADVANCED}`,
    );
  }
  const buffers = [ids, ...Array.from({ length: MOST_ADVANCED }, (_, i) => inputs[i]?.buffer)]
    .map((buffer) => buffer ?? memory.create(16, STORAGE, "unread input"));
  /** What is known of every word, see `sampleWords`: of its full size when first needed. */
  let words = memory.create(16, STORAGE | COPY_DST, "words"), isTracked = false;
  let bindGroup: GPUBindGroup | undefined;
  /** Tokens before the next choice. */
  let tokens = 0;
  const free: GPUBuffer[] = [];

  function track(history: readonly number[], choice: AheadChoice): void {
    if (!isTracked) {
      memory.destroy(words);
      words = memory.create(3 * 4 * vocab, STORAGE | COPY_DST, "words");
      isTracked = true;
      bindGroup = undefined;
    }
    const offsets = new LogitOffsets(choice, choice.generated);
    const known = sampleWords(vocab, history, choice.repeatWindow, offsets);
    device.queue.writeBuffer(words, 0, known);
  }

  return {
    submit(count, record, { history, ...choice }) {
      if (count > MOST_AHEAD) {
        throw new BackendError(`Cannot run ${count} tokens ahead, expected at most ${MOST_AHEAD}`);
      }
      tokens = history?.length ?? tokens;
      const sample = { ...choice, vocab, tokens };
      const { shader, constants } = sampleShader(sample, inputs);
      if (history && (constants.PENALTY || constants.OFFSETS)) track(history, choice);
      tokens += count;
      const dispatch: Dispatch = {
        shader,
        constants,
        buffers: [logits, ...buffers, chosen, words],
        params: () => [],
        groups: () => [1, 1],
      };
      device.queue.writeBuffer(params, 0, Uint32Array.from(sampleParams(sample)));
      const pipeline = pipelines.pipeline(dispatch);
      bindGroup ??= pipelines.bindGroup(dispatch, params);
      const encoder = device.createCommandEncoder();
      encoder.clearBuffer(chosen, 0, 4);
      const pass = encoder.beginComputePass();
      for (let i = 0; i < count; i++) {
        record(pass);
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, bindGroup, [0]);
        pass.dispatchWorkgroups(1);
      }
      pass.end();
      const copy = free.pop() ?? memory.create(listBytes, MAP_READ | COPY_DST, "copy of ids");
      const bytes = 4 * count;
      encoder.copyBufferToBuffer(chosen, 4, copy, 0, bytes);
      device.queue.submit([encoder.finish()]);
      return { copy, bytes };
    },
    giveBack(copy) {
      free.push(copy);
    },
  };
}
