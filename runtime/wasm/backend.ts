/**
 * The WebAssembly backend: plans become tapes in shared memory that workers run to the end without
 * returning to JavaScript. The main thread only copies numbers in and out, and waits without
 * blocking.
 *
 * @module
 */

import { BackendError, MemoryError, SourceError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { cacheBytes } from "../../kernels/cache_store/layout.ts";
import { QUADS, SPIN_LIMIT } from "../../kernels/memory.ts";
import { elements, type TensorType } from "../../kernels/op.ts";
import { activationBytes, PACK_ROWS, packedBytes } from "../../kernels/pack/layouts.ts";
import { encodePack } from "../../kernels/pack/wasm.ts";
import { KERNEL_NAMES, WASM } from "../../kernels/wasm.ts";
import {
  type EncodedStep,
  FLAG_BARRIER,
  type Operand,
  STEP_HEADER_WORDS,
  STEP_WORDS,
  type WasmKernel,
} from "../../kernels/wasm_kernel.ts";
import { type LayoutName, LAYOUTS, rowBytes } from "../../quant/formats.ts";
import type { Backend, Executable, FilePart, LoadPartsOptions, TensorData } from "../backend.ts";
import type { Graph, Tensor } from "../graph.ts";
import { withIntegerMatmuls } from "../integer_matmuls.ts";
import type { Plan, StagePlan } from "../plan.ts";
import { withFusedSteps } from "./fusions.ts";
import { Loader, PieceFailure, type PlacedPart } from "./loader.ts";
import { type Dots, fasterDots, hasRelaxedSimd, loadKernels } from "./module.ts";
import { type Pool, type Spawn, type StageJob, startPool } from "./pool.ts";
import { align, StageMemory } from "./stage_memory.ts";

/** Options of the WebAssembly backend. */
export interface WasmBackendOptions {
  /** Workers; all cores where absent. */
  readonly threads?: number;
  /** Whether to use the relaxed SIMD kernels; detected where absent. */
  readonly relaxed?: boolean;
  /** How the relaxed SIMD kernels sum products of int8; the faster way here where absent. */
  readonly dots?: Dots;
  /** Most bytes of weights and caches in one stage. */
  readonly stageBytes?: number;
  /** For tests: guard bytes around every buffer, checked after every run. */
  readonly guards?: boolean;
  /** For tests: how a worker is started. */
  readonly spawn?: Spawn;
}

const GiB = 2 ** 30;
/** Leaves room in a 4 GiB memory for activations, scratch and staging. */
const DEFAULT_STAGE_BYTES = 3.25 * GiB;
const STAGING_BYTES = 2 ** 21;
/** About 20 µs: shorter spins cost wake-ups, longer ones starve other processes. */
const SPINS = 20_000;
/** Workers end after this long without a run, so that a forgotten `dispose` cannot hang a process. */
const IDLE_MS = 2_000;

/** Creates the WebAssembly backend; workers start with the first run. */
export async function createWasmBackend(options: WasmBackendOptions = {}): Promise<Backend> {
  const { relaxed = hasRelaxedSimd() } = options;
  const module = await loadKernels(relaxed);
  const dots = options.dots ?? (relaxed ? await fasterDots(module) : "pairs");
  return new WasmBackend(module, { ...options, dots });
}

class WasmBackend implements Backend {
  readonly name = "wasm";
  readonly stageBytes: number;
  #threads: number;
  readonly #module: WebAssembly.Module;
  readonly #options: WasmBackendOptions;
  readonly #memories: StageMemory[] = [];
  /** Where each weight and cache lies: stage → address. */
  readonly #pinned = new Map<string, { type: TensorType; places: Map<number, number> }>();
  /** Where each stage's rows wait to be packed. */
  readonly #staging = new Map<number, { address: number; bytes: number }>();
  #pool: Promise<Pool> | undefined;
  #running: Promise<unknown> = Promise.resolve();
  /** Looks now and then whether the workers are of use. */
  #watch: ReturnType<typeof setTimeout> | undefined;
  /** Tasks of the workers that have not ended, and when the last one that did. */
  #tasks = 0;
  #idleSince = 0;
  #disposed = false;

  constructor(module: WebAssembly.Module, options: WasmBackendOptions) {
    this.#module = module;
    this.#options = options;
    this.stageBytes = options.stageBytes ?? DEFAULT_STAGE_BYTES;
    this.#threads = options.threads ?? navigator.hardwareConcurrency ?? 1;
  }

  get threads(): number {
    return this.#threads;
  }

  bytesOf(type: TensorType): number {
    if (type.role === "matrix") {
      return packedBytes(type.dtype as LayoutName, type.shape[0]!, type.shape[1]!);
    }
    if (type.role !== "dense") return cacheBytes(type);
    const columns = type.shape.at(-1)!;
    if (type.dtype === "a8") return activationBytes(elements(type.shape) / columns, columns);
    return 4 * elements(type.shape);
  }

  lower(graph: Graph): Graph {
    return withFusedSteps(withIntegerMatmuls(graph));
  }

  place(tensor: Tensor, stage: number): void {
    let pinned = this.#pinned.get(tensor.name);
    if (!pinned) this.#pinned.set(tensor.name, pinned = { type: tensor, places: new Map() });
    if (pinned.places.has(stage)) return;
    const memory = this.#memory(stage);
    pinned.places.set(stage, memory.allocate(this.bytesOf(tensor), tensor.name));
  }

  async writeRows(name: string, firstRow: number, rows: Uint8Array): Promise<void> {
    const { type, places } = this.#placed(name);
    const columns = type.shape.at(-1)!;
    for (const [stage, address] of places) {
      const memory = this.#memory(stage);
      if (type.role !== "matrix") {
        memory.bytes(address + 4 * firstRow * columns, rows.length).set(rows);
        continue;
      }
      const layout = type.dtype as LayoutName;
      const stride = rowBytes(LAYOUTS[layout], columns);
      const staging = this.#stagingOf(stage, PACK_ROWS * stride);
      const rowsAtOnce = Math.floor(staging.bytes / stride / PACK_ROWS) * PACK_ROWS;
      for (let row = 0; row * stride < rows.length; row += rowsAtOnce) {
        const part = rows.subarray(row * stride, (row + rowsAtOnce) * stride);
        memory.bytes(staging.address, part.length).set(part);
        const step = encodePack({
          layout,
          source: staging.address,
          target: address,
          firstRow: firstRow + row,
          endRow: firstRow + row + part.length / stride,
          cols: columns,
        });
        const tape = staging.address + staging.bytes;
        this.#writeStep(memory, tape, step, false);
        await this.#runJob([{ stage, tape, steps: 1, copies: [] }]);
      }
    }
  }

  async loadParts(
    parts: readonly FilePart[],
    { onStored, signal }: LoadPartsOptions,
  ): Promise<void> {
    signal?.throwIfAborted();
    const placed = parts.flatMap((part): PlacedPart[] => {
      const { type, places } = this.#placed(part.name);
      const matrix = type.role === "matrix";
      const cols = matrix ? type.shape[1]! : elements(type.shape);
      return Array.from(places, ([stage, address]) => ({ part, cols, matrix, stage, address }));
    });
    const loader = new Loader(placed, this.#memories, this.#threads, onStored);
    const abort = (): void => loader.fail(signal!.reason);
    signal?.addEventListener("abort", abort);
    try {
      await this.#load(loader);
    } catch (error) {
      if (!(error instanceof PieceFailure)) throw error;
      const { placed: { part, cols }, row, rows, reason } = error;
      // What is wrong with the file is found again, and said, by those whose words it is.
      const stride = part.bytes / part.rows, offset = part.offset + (row - part.firstRow) * stride;
      part.convert.rows(await part.source.read(offset, rows * stride), cols);
      throw new SourceError(
        `Cannot load ${quote(part.name)} of ${quote(part.source.name)}: a worker found ${reason}`,
      );
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  compile(plan: Plan): Executable {
    const { graph } = plan;
    const addresses = plan.stages.map((stage, i) => this.#layOut(stage, i));
    const jobs: StageJob[] = plan.stages.map((stage, i) => ({
      stage: i,
      tape: this.#encode(stage, i, addresses[i]!),
      steps: stage.steps.length,
      copies: stage.receives.map((tensor) => ({
        stage: i - 1,
        from: addresses[i - 1]!.get(tensor.id)!,
        to: addresses[i]!.get(tensor.id)!,
        bytes: this.bytesOf(tensor),
      })),
    }));
    const write = (name: string, data: TensorData): void => {
      let written = false;
      addresses.forEach((map, stage) => {
        const tensor = plan.stages[stage]!.inputs.find((it) => it.name === name);
        if (!tensor) return;
        const memory = this.#memory(stage), address = map.get(tensor.id)!;
        const length = data.length, most = elements(tensor.shape);
        if (length > most) {
          throw new BackendError(`Cannot write ${quote(name)}: ${length} elements, most ${most}`);
        }
        if (tensor.dtype === "i32") memory.int32(address, data.length).set(data);
        else memory.float32(address, data.length).set(data);
        written = true;
      });
      if (!written && !graph.tensors.some((it) => it.origin === "input" && it.name === name)) {
        throw new BackendError(`Cannot write input ${quote(name)}: the graph has none`);
      }
    };
    return {
      write,
      run: async (tokens: number): Promise<void> => {
        for (const { stage } of jobs) this.#memory(stage).setTokens(tokens);
        await this.#runJob(jobs);
        this.#checkGuards();
      },
      read: (name: string, length: number): Float32Array => {
        const tensor = graph.outputs.get(name);
        if (!tensor) throw new BackendError(`Cannot read ${quote(name)}: it is no output`);
        const stage = addresses.findLastIndex((map) => map.has(tensor.id));
        return this.#memory(stage).float32(addresses[stage]!.get(tensor.id)!, length).slice();
      },
    };
  }

  async dispose(): Promise<void> {
    this.#disposed = true;
    // A worker that is told to end in the midst of a job leaves the others at a barrier.
    await this.#running;
    clearTimeout(this.#watch);
    const pool = await this.#pool?.catch(() => undefined);
    pool?.dispose();
    this.#pool = undefined;
    this.#pinned.clear();
    this.#memories.length = 0;
  }

  #placed(name: string): { type: TensorType; places: Map<number, number> } {
    const pinned = this.#pinned.get(name);
    if (!pinned) throw new BackendError(`Cannot write ${quote(name)}: it has not been placed`);
    return pinned;
  }

  #memory(stage: number): StageMemory {
    while (this.#memories.length <= stage) {
      const memory = new StageMemory(this.#options.guards ?? false);
      const crowded = this.#threads > (navigator.hardwareConcurrency ?? 1);
      memory.int32(SPIN_LIMIT, 1)[0] = crowded ? 0 : SPINS;
      memory.int32(QUADS, 1)[0] = this.#options.dots === "quads" ? 1 : 0;
      this.#memories.push(memory);
      // Workers know the memories that there were when they started.
      this.#retire();
    }
    return this.#memories[stage]!;
  }

  #stagingOf(stage: number, least: number): { address: number; bytes: number } {
    let staging = this.#staging.get(stage);
    if (!staging || staging.bytes < least) {
      const bytes = Math.max(STAGING_BYTES, align(least));
      const address = this.#memory(stage).allocate(bytes + align(4 * STEP_WORDS), "staging");
      this.#staging.set(stage, staging = { address, bytes });
    }
    return staging;
  }

  /** Gives every tensor of a stage its address, by tensor id. */
  #layOut(stage: StagePlan, index: number): Map<number, number> {
    const memory = this.#memory(index);
    const addresses = new Map<number, number>();
    const slots = stage.slots.map((bytes, i) => memory.allocate(bytes, `slot ${i}`));
    for (const [id, slot] of stage.slotOf) addresses.set(id, slots[slot]!);
    for (const tensor of stage.inputs) {
      addresses.set(tensor.id, memory.allocate(this.bytesOf(tensor), tensor.name));
    }
    for (const tensor of stage.pinned) {
      const address = this.#pinned.get(tensor.name)?.places.get(index);
      if (address === undefined) {
        throw new BackendError(`Cannot compile: ${quote(tensor.name)} is not in stage ${index}`);
      }
      addresses.set(tensor.id, address);
    }
    return addresses;
  }

  /** Writes a stage's tape and returns its address. */
  #encode(stage: StagePlan, index: number, addresses: ReadonlyMap<number, number>): number {
    const memory = this.#memory(index);
    const operand = (tensor: Tensor): Operand => {
      const { shape, perToken } = tensor;
      const rows = elements(shape.slice(0, -1));
      return {
        ...tensor,
        address: addresses.get(tensor.id)!,
        // The only extent of a list of ids is tokens too.
        rows: perToken
          ? memory.tokenRows(shape.length > 1 ? rows / shape[0]! : 1)
          : memory.count(rows),
      };
    };
    const stepBytes = 4 * STEP_WORDS;
    const steps = stage.steps.map(({ node, barrier }) => ({
      step: (WASM[node.op] as WasmKernel).encode(
        node.inputs.map(operand),
        operand(node.output),
        node.attrs,
      ),
      barrier,
    }));
    const tape = memory.allocate(Math.max(1, steps.length) * stepBytes, "tape");
    steps.forEach(({ step, barrier }, i) => {
      this.#writeStep(memory, tape + i * stepBytes, step, barrier);
    });
    return tape;
  }

  #writeStep(memory: StageMemory, address: number, step: EncodedStep, barrier: boolean): void {
    const opcode = KERNEL_NAMES.indexOf(step.kernel);
    if (opcode < 0 || step.args.length > STEP_WORDS - STEP_HEADER_WORDS) {
      throw new BackendError(`Cannot encode a step: kernel ${quote(step.kernel)} has no opcode`);
    }
    memory.reserveScratch(step.scratchBytes ?? 0, this.#threads);
    const words = memory.int32(address, STEP_WORDS);
    words.fill(0);
    words[0] = opcode;
    words[1] = barrier ? FLAG_BARRIER : 0;
    words.set(step.args, STEP_HEADER_WORDS);
  }

  async #runJob(jobs: readonly StageJob[]): Promise<void> {
    for (const { stage } of jobs) this.#memory(stage).commit();
    await this.#withPool((pool) => pool.run(jobs));
  }

  /** Starts new workers, which begin with the load. */
  async #load(loader: Loader): Promise<void> {
    this.#retire();
    await this.#withPool(async () => {
      loader.feed().catch((error) => loader.fail(error));
      await loader.finished;
    }, loader);
  }

  /** Has the workers do something; starts them where there are none. */
  async #withPool(task: (pool: Pool) => Promise<void>, loader?: Loader): Promise<void> {
    if (this.#disposed) throw new BackendError("Cannot run: the backend has been disposed");
    this.#pool ??= startPool(
      this.#module,
      this.#memories.map((it) => it.memory),
      this.#threads,
      this.#options.spawn,
      loader,
    );
    const run = this.#runOn(this.#pool, task);
    this.#running = run.catch(() => {});
    await run;
  }

  async #runOn(starting: Promise<Pool>, task: (pool: Pool) => Promise<void>): Promise<void> {
    this.#tasks++;
    try {
      const pool = await starting;
      this.#threads = pool.workers;
      // One timer for many tokens: each would take as long as choosing a token.
      this.#watch ??= setTimeout(() => this.#lookForIdle(), IDLE_MS);
      await task(pool);
    } finally {
      this.#tasks--;
      this.#idleSince = performance.now();
    }
  }

  /** Ends the workers when they have been idle for long enough, or looks again when they may have. */
  #lookForIdle(): void {
    this.#watch = undefined;
    const since = this.#tasks > 0 ? performance.now() : this.#idleSince;
    const left = since + IDLE_MS - performance.now();
    if (left > 0) this.#watch = setTimeout(() => this.#lookForIdle(), left);
    else this.#retire();
  }

  /** Ends the workers; the next run starts others. */
  #retire(): void {
    this.#pool?.then((pool) => pool.dispose(), () => {});
    this.#pool = undefined;
  }

  #checkGuards(): void {
    for (const memory of this.#memories) {
      const owner = memory.brokenGuard();
      if (owner) throw new MemoryError(`A kernel wrote outside the memory of ${owner}`);
    }
  }
}
