/**
 * The WebAssembly backend: plans become tapes in shared memory that workers run to the end without
 * returning to JavaScript. The main thread only copies numbers in and out, and waits without
 * blocking.
 *
 * @module
 */

import { BackendError, MemoryError, SourceError } from "../../../errors.ts";
import { quote } from "../../../escape.ts";
import { cacheBytes } from "../../../kernels/cache_store/layout.ts";
import { QUADS, SPIN_LIMIT } from "../../../kernels/memory.ts";
import { elements, type TensorType } from "../../../kernels/op.ts";
import { activationBytes, PACK_ROWS, packedBytes } from "../../../kernels/pack/layouts.ts";
import { encodePack } from "../../../kernels/pack/wasm.ts";
import { STEP_WORDS } from "../../../kernels/wasm_kernel.ts";
import { type LayoutName, LAYOUTS, rowBytes } from "../../../quant/formats.ts";
import type { Backend, Executable, FileRange, LoadRangesOptions } from "../backend.ts";
import type { CacheRows } from "../cache_rows.ts";
import type { Graph } from "../../graph/graph.ts";
import { withIntegerMatmuls } from "../../graph/integer_matmuls.ts";
import { assignStages, type Plan, type StageMap } from "../../graph/plan.ts";
import { createCacheRows } from "./cache_rows.ts";
import { createExecutable, writeStep } from "./executable.ts";
import { withFusedSteps } from "./fusions.ts";
import { Loader, PieceFailure, type PlacedRange } from "./loader.ts";
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
  readonly #stageBytes: number;
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
  readonly cacheRows: CacheRows = createCacheRows(
    (cache) => this.#placed(cache),
    (stage) => this.#memory(stage),
  );

  constructor(module: WebAssembly.Module, options: WasmBackendOptions) {
    this.#module = module;
    this.#options = options;
    this.#stageBytes = options.stageBytes ?? DEFAULT_STAGE_BYTES;
    this.#threads = options.threads ?? navigator.hardwareConcurrency ?? 1;
  }

  get threads(): number {
    return this.#threads;
  }

  get placedBytes(): { wasm: number } {
    let wasm = 0;
    for (const { type, places } of this.#pinned.values()) wasm += places.size * this.bytesOf(type);
    return { wasm };
  }

  /**
   * Every kernel adds up a token's numbers in one order, however many tokens and workers there are. Only
   * Transformer-XL, which biases by its queries, was seen to differ.
   */
  isSteady({ nodes }: Graph): boolean {
    return nodes.every(({ op }) => op !== "headMatmul");
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

  divide(graphs: readonly Graph[], reserved = 0): StageMap {
    return assignStages(graphs, this.bytesOf, this.#stageBytes - reserved);
  }

  place({ stages }: Plan): void {
    for (const [i, { pinned }] of stages.entries()) {
      const memory = this.#memory(i);
      for (const tensor of pinned) {
        const { name } = tensor;
        let known = this.#pinned.get(name);
        if (!known) this.#pinned.set(name, known = { type: tensor, places: new Map() });
        if (known.places.has(i)) continue;
        known.places.set(i, memory.allocate(this.bytesOf(tensor), name));
      }
    }
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
        const atOnce = rows.subarray(row * stride, (row + rowsAtOnce) * stride);
        memory.bytes(staging.address, atOnce.length).set(atOnce);
        const step = encodePack({
          layout,
          source: staging.address,
          target: address,
          firstRow: firstRow + row,
          endRow: firstRow + row + atOnce.length / stride,
          cols: columns,
        });
        const tape = staging.address + staging.bytes;
        writeStep(memory, tape, step, { barrier: false, threads: this.#threads });
        await this.#runJob([{ stage, tape, steps: 1, copies: [] }]);
      }
    }
  }

  async loadRanges(
    ranges: readonly FileRange[],
    { onStored, signal }: LoadRangesOptions,
  ): Promise<void> {
    signal?.throwIfAborted();
    const placed = ranges.flatMap((range): PlacedRange[] => {
      const { type, places } = this.#placed(range.name);
      const matrix = type.role === "matrix";
      const cols = matrix ? type.shape[1]! : elements(type.shape);
      return Array.from(places, ([stage, address]) => ({ range, cols, matrix, stage, address }));
    });
    const loader = new Loader(placed, this.#memories, this.#threads, onStored);
    const abort = (): void => loader.fail(signal!.reason);
    signal?.addEventListener("abort", abort);
    try {
      await this.#load(loader);
    } catch (error) {
      if (!(error instanceof PieceFailure)) throw error;
      const { placed: { range, cols }, row, rows, reason } = error;
      // What is wrong with the file is found again, and said, by those whose words it is.
      const stride = range.bytes / range.rows,
        offset = range.offset + (row - range.firstRow) * stride;
      range.convert.rows(await range.source.read(offset, rows * stride), cols);
      throw new SourceError(
        `Cannot load ${quote(range.name)} of ${quote(range.source.name)}: a worker found ${reason}`,
      );
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  compile(plan: Plan): Executable {
    return createExecutable({
      memory: (stage) => this.#memory(stage),
      bytesOf: (type) => this.bytesOf(type),
      addressOf: (name, stage) => this.#pinned.get(name)?.places.get(stage),
      threads: this.#threads,
      run: async (jobs) => {
        await this.#runJob(jobs);
        this.#checkGuards();
      },
    }, plan);
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
