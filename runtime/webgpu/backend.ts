/**
 * The WebGPU backend: plans become lists of dispatches that are recorded into one compute pass and
 * submitted at once. Nothing waits for the GPU but `read`.
 *
 * @module
 */

import { BackendError, MemoryError } from "../../errors.ts";
import { cacheRowWords } from "../../kernels/cache_store/webgpu.ts";
import { elements, type TensorType } from "../../kernels/op.ts";
import { planeRowBytes, splitPlanes } from "../../kernels/pack/planes.ts";
import { gpuActivationBytes } from "../../kernels/quantize_activations/webgpu.ts";
import { WEBGPU } from "../../kernels/webgpu.ts";
import type { Slice, WebgpuKernel } from "../../kernels/webgpu_kernel.ts";
import { type LayoutName, LAYOUTS, rowBytes } from "../../quant/formats.ts";
import type { Backend, Executable } from "../backend.ts";
import type { Graph, Tensor } from "../graph.ts";
import { withIntegerMatmuls } from "../integer_matmuls.ts";
import type { Plan } from "../plan.ts";
import { type Gpu, type OpenDevice, openDevice } from "./device.ts";
import { createExecutable } from "./executable.ts";
import { GpuMemory } from "./memory.ts";
import { Pipelines } from "./pipelines.ts";

/** Options of the WebGPU backend. */
export interface WebgpuBackendOptions {
  /** Where adapters come from; `navigator.gpu` where absent. */
  readonly gpu?: Gpu;
  /** Most bytes of a matrix that are bound at once; as much as the device allows where absent. */
  readonly maxBindingBytes?: number;
  /** Whether subgroup operations are used where there are any. Default true. */
  readonly subgroups?: boolean;
  /** Whether activations are quantized to int8 before matmuls with integer weights. Default false. */
  readonly integer?: boolean;
}

/** A backend that tells what it holds. */
export interface WebgpuBackend extends Backend {
  /** Bytes of all its buffers. */
  readonly bytes: number;
  /** Name of the adapter. */
  readonly adapter: string;
}

/** Most rows in a slice, so that a dispatch over them stays within the limits of every device. */
const MOST_SLICE_ROWS = 2 ** 17;
/** Rows of a slice are a multiple of what `writeRows` gets. */
const ROW_UNIT = 16;

/**
 * Creates the WebGPU backend on the system's adapter.
 *
 * @throws BackendError when there is no adapter, or it gives no device
 */
export async function createWebgpuBackend(
  options: WebgpuBackendOptions = {},
): Promise<WebgpuBackend> {
  return new GpuBackend(await openDevice(options.gpu), options);
}

class GpuBackend implements WebgpuBackend {
  readonly name = "webgpu";
  readonly threads = 1;
  readonly stageBytes = Infinity;
  readonly adapter: string;
  readonly #memory: GpuMemory;
  readonly #pipelines: Pipelines;
  readonly #maxBindingBytes: number;
  readonly #integer: boolean;
  readonly #pinned = new Map<string, { type: TensorType; slices: readonly Slice[] }>();

  constructor(
    { device, facts, subgroupLines }: OpenDevice,
    { maxBindingBytes, subgroups = true, integer = false }: WebgpuBackendOptions,
  ) {
    this.#integer = integer;
    this.adapter = facts.name;
    this.#memory = new GpuMemory(device);
    this.#pipelines = new Pipelines(this.#memory, subgroups ? subgroupLines : undefined);
    this.#maxBindingBytes = Math.min(facts.maxBindingBytes, maxBindingBytes ?? Infinity);
  }

  get bytes(): number {
    return this.#memory.bytes;
  }

  bytesOf(type: TensorType): number {
    if (type.role === "matrix") {
      const rows = type.shape[0]!;
      return planeRowBytes(type.dtype as LayoutName, type.shape[1]!)
        .reduce((sum, bytes) => sum + rows * bytes, 0);
    }
    if (type.role !== "dense") return 4 * type.shape[0]! * cacheRowWords(type);
    const columns = type.shape.at(-1)!;
    if (type.dtype === "a8") return gpuActivationBytes(elements(type.shape) / columns, columns);
    return 4 * elements(type.shape);
  }

  lower(graph: Graph): Graph {
    return this.#integer ? withIntegerMatmuls(graph) : graph;
  }

  place(tensor: Tensor): void {
    if (this.#pinned.has(tensor.name)) return;
    const slices = tensor.role === "matrix"
      ? this.#placeMatrix(tensor)
      : [this.#placeWhole(tensor, this.bytesOf(tensor), tensor.name)];
    this.#pinned.set(tensor.name, { type: tensor, slices });
  }

  async writeRows(name: string, firstRow: number, rows: Uint8Array): Promise<void> {
    const { type, slices } = this.#find(name);
    const columns = type.shape.at(-1)!;
    if (type.role !== "matrix") {
      return await this.#memory.upload(slices[0]!.planes[0]!, 4 * firstRow * columns, rows);
    }
    const layout = type.dtype as LayoutName;
    const stride = rowBytes(LAYOUTS[layout], columns);
    const planeBytes = planeRowBytes(layout, columns);
    const end = firstRow + rows.length / stride;
    for (const slice of slices) {
      const from = Math.max(firstRow, slice.firstRow);
      const to = Math.min(end, slice.firstRow + slice.rows);
      if (from >= to) continue;
      const part = rows.subarray((from - firstRow) * stride, (to - firstRow) * stride);
      for (const [i, plane] of splitPlanes(layout, part, columns).entries()) {
        const offset = (from - slice.firstRow) * planeBytes[i]!;
        await this.#memory.upload(slice.planes[i]!, offset, plane);
      }
    }
  }

  compile(plan: Plan): Executable {
    const [stage, ...others] = plan.stages;
    if (others.length > 0) {
      throw new BackendError(
        `Cannot compile: ${plan.stages.length} stages, expected one on the GPU`,
      );
    }
    const places = new Map<number, readonly Slice[]>();
    const slots = stage!.slots.map((bytes, i) => this.#allocate(bytes, `slot ${i}`));
    for (const tensor of plan.graph.tensors) {
      const slot = stage!.slotOf.get(tensor.id);
      if (slot !== undefined) {
        places.set(tensor.id, [{ firstRow: 0, rows: tensor.shape[0]!, planes: [slots[slot]!] }]);
      }
    }
    for (const tensor of stage!.inputs) {
      places.set(tensor.id, [this.#placeWhole(tensor, this.bytesOf(tensor), tensor.name)]);
    }
    for (const tensor of stage!.pinned) places.set(tensor.id, this.#find(tensor.name).slices);
    const operand = (tensor: Tensor) => ({ ...tensor, slices: places.get(tensor.id)! });
    // One op after another uses it.
    let shared: GPUBuffer | undefined;
    const scratch = (bytes: number): GPUBuffer => {
      if (!shared || shared.size < bytes) shared = this.#allocate(bytes, "scratch");
      return shared;
    };
    const dispatches = stage!.steps.flatMap(({ node }) =>
      (WEBGPU[node.op] as WebgpuKernel).encode(
        node.inputs.map(operand),
        operand(node.output),
        node.attrs,
        scratch,
      )
    );
    return createExecutable(
      this.#memory,
      this.#pipelines,
      plan.graph,
      dispatches,
      (tensor) => places.get(tensor.id)?.[0]?.planes[0],
    );
  }

  dispose(): Promise<void> {
    this.#memory.dispose();
    this.#pinned.clear();
    return Promise.resolve();
  }

  #find(name: string): { type: TensorType; slices: readonly Slice[] } {
    const pinned = this.#pinned.get(name);
    if (!pinned) throw new BackendError(`Cannot use tensor "${name}": it has not been placed`);
    return pinned;
  }

  #allocate(bytes: number, label: string): GPUBuffer {
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    return this.#memory.create(bytes, usage, label);
  }

  #placeWhole({ shape }: TensorType, bytes: number, name: string): Slice {
    const most = Number(this.#memory.device.limits.maxStorageBufferBindingSize);
    if (bytes > most) {
      throw new MemoryError(
        `Cannot place "${name}" on the GPU: it takes ${bytes} bytes, a shader sees at most ` +
          `${most} at once; use a shorter context or cacheType "int8"`,
      );
    }
    return { firstRow: 0, rows: shape[0]!, planes: [this.#allocate(bytes, name)] };
  }

  /** Rows are divided where a plane is larger than a binding. */
  #placeMatrix({ name, dtype, shape }: Tensor): Slice[] {
    const [rows, columns] = shape as readonly [number, number];
    const planeBytes = planeRowBytes(dtype as LayoutName, columns);
    const fitting = Math.floor(this.#maxBindingBytes / Math.max(...planeBytes) / ROW_UNIT);
    const most = Math.min(ROW_UNIT * fitting, MOST_SLICE_ROWS);
    if (most === 0) {
      throw new MemoryError(
        `Cannot place "${name}" on the GPU: ${ROW_UNIT} rows of ${columns} columns are more than ` +
          `the ${this.#maxBindingBytes} bytes that a shader sees at once`,
      );
    }
    const slices: Slice[] = [];
    for (let firstRow = 0; firstRow < rows; firstRow += most) {
      const count = Math.min(most, rows - firstRow);
      const planes = planeBytes.map((bytes) => this.#allocate(count * bytes, name));
      slices.push({ firstRow, rows: count, planes });
    }
    return slices;
  }
}
