/**
 * A plan as tapes: every tensor gets its address in the memory of its stage, every step becomes a
 * record that the workers read. backend.ts has the memories and the workers.
 *
 * @module
 */

import { BackendError } from "../../../errors.ts";
import { quote } from "../../../escape.ts";
import { elements, type TensorType } from "../../../kernels/op.ts";
import { KERNEL_NAMES, WASM } from "../../../kernels/wasm.ts";
import {
  type EncodedStep,
  FLAG_BARRIER,
  type Operand,
  STEP_HEADER_WORDS,
  STEP_WORDS,
  type WasmKernel,
} from "../../../kernels/wasm_kernel.ts";
import type { Executable, TensorData } from "../backend.ts";
import type { Tensor } from "../../graph/graph.ts";
import type { Plan, StagePlan } from "../../graph/plan.ts";
import type { StageJob } from "./pool.ts";
import type { StageMemory } from "./stage_memory.ts";

/** What an executable needs of the backend. */
export interface TapeContext {
  /** Workers that share each step. */
  readonly threads: number;
  /** The memory of a stage. */
  memory(stage: number): StageMemory;
  /** Bytes that a tensor occupies. */
  bytesOf(type: TensorType): number;
  /** Address of a weight or cache in a stage that it has been placed in. */
  addressOf(name: string, stage: number): number | undefined;
  /** Has the workers run tapes, one stage after another. */
  run(jobs: readonly StageJob[]): Promise<void>;
}

/** Addresses by tensor id. */
type Addresses = ReadonlyMap<number, number>;

/**
 * Writes the tapes of a plan into the memories of its stages.
 *
 * @throws BackendError when a weight or cache has not been placed
 */
export function createExecutable(context: TapeContext, { graph, stages }: Plan): Executable {
  const addresses = stages.map((stage, i) => layOut(context, stage, i));
  const jobs: StageJob[] = stages.map((stage, i) => ({
    stage: i,
    tape: encodeStage(context, stage, i, addresses[i]!),
    steps: stage.steps.length,
    copies: stage.receives.map((tensor) => ({
      stage: i - 1,
      from: addresses[i - 1]!.get(tensor.id)!,
      to: addresses[i]!.get(tensor.id)!,
      bytes: context.bytesOf(tensor),
    })),
  }));
  const inputs = new Set(
    graph.tensors.filter(({ origin }) => origin === "input").map(({ name }) => name),
  );
  return {
    write(name: string, data: TensorData): void {
      if (!inputs.has(name)) {
        throw new BackendError(`Cannot write input ${quote(name)}: the graph has none`);
      }
      for (const [i, stage] of stages.entries()) {
        const tensor = stage.inputs.find((it) => it.name === name);
        if (!tensor) continue;
        if (data.length > elements(tensor.shape)) {
          throw new BackendError(
            `Cannot write input ${quote(name)}: ${data.length} elements, ` +
              `expected at most ${elements(tensor.shape)}`,
          );
        }
        const memory = context.memory(i), address = addresses[i]!.get(tensor.id)!;
        if (tensor.dtype === "i32") memory.int32(address, data.length).set(data);
        else memory.float32(address, data.length).set(data);
      }
    },
    async run(tokens: number): Promise<void> {
      for (const { stage } of jobs) context.memory(stage).setTokens(tokens);
      await context.run(jobs);
    },
    read(name: string, length: number): Float32Array {
      const tensor = graph.outputs.get(name);
      if (!tensor) throw new BackendError(`Cannot read output ${quote(name)}: the graph has none`);
      const stage = addresses.findLastIndex((map) => map.has(tensor.id));
      return context.memory(stage).float32(addresses[stage]!.get(tensor.id)!, length).slice();
    },
  };
}

/** Gives every tensor of a stage its address. */
function layOut({ memory, bytesOf, addressOf }: TapeContext, plan: StagePlan, stage: number) {
  const own = memory(stage);
  const addresses = new Map<number, number>();
  const slots = plan.slots.map((bytes, i) => own.allocate(bytes, `slot ${i}`));
  for (const [id, slot] of plan.slotOf) addresses.set(id, slots[slot]!);
  for (const tensor of plan.inputs) {
    addresses.set(tensor.id, own.allocate(bytesOf(tensor), tensor.name));
  }
  for (const { id, name } of plan.pinned) {
    const address = addressOf(name, stage);
    if (address === undefined) {
      throw new BackendError(`Cannot compile: ${quote(name)} is not placed in stage ${stage}`);
    }
    addresses.set(id, address);
  }
  return addresses;
}

/** Writes a stage's tape and returns its address. */
function encodeStage(
  { memory, threads }: TapeContext,
  plan: StagePlan,
  stage: number,
  addresses: Addresses,
): number {
  const own = memory(stage);
  const operand = (tensor: Tensor): Operand => {
    const { shape, perToken } = tensor;
    const rows = elements(shape.slice(0, -1));
    return {
      ...tensor,
      address: addresses.get(tensor.id)!,
      // The only extent of a list of ids is tokens too.
      rows: perToken ? own.tokenRows(shape.length > 1 ? rows / shape[0]! : 1) : own.count(rows),
    };
  };
  const stepBytes = 4 * STEP_WORDS;
  const steps = plan.steps.map(({ node, barrier }) => ({
    step: (WASM[node.op] as WasmKernel).encode(
      node.inputs.map(operand),
      operand(node.output),
      node.attrs,
    ),
    barrier,
  }));
  const tape = own.allocate(Math.max(1, steps.length) * stepBytes, "tape");
  steps.forEach(({ step, barrier }, i) => {
    writeStep(own, tape + i * stepBytes, step, { barrier, threads });
  });
  return tape;
}

/** Writes one step of a tape, and keeps the scratch memory free that it needs. */
export function writeStep(
  memory: StageMemory,
  address: number,
  step: EncodedStep,
  { barrier, threads }: { readonly barrier: boolean; readonly threads: number },
): void {
  const opcode = KERNEL_NAMES.indexOf(step.kernel);
  if (opcode < 0 || step.args.length > STEP_WORDS - STEP_HEADER_WORDS) {
    throw new BackendError(`Cannot encode a step: kernel ${quote(step.kernel)} has no opcode`);
  }
  memory.reserveScratch(step.scratchBytes ?? 0, threads);
  const words = memory.int32(address, STEP_WORDS);
  words.fill(0);
  words[0] = opcode;
  words[1] = barrier ? FLAG_BARRIER : 0;
  words.set(step.args, STEP_HEADER_WORDS);
}
