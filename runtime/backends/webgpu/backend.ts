/**
 * The WebGPU backend: plans become lists of dispatches that are recorded into one compute pass and
 * submitted at once. Nothing waits for the GPU but `read`.
 *
 * @module
 */

import { BackendError, MemoryError } from "../../../errors.ts";
import { quote } from "../../../escape.ts";
import { cacheRowWords } from "../../../kernels/cache_store/webgpu.ts";
import { elements, type TensorType } from "../../../kernels/op.ts";
import { planeRowBytes } from "../../../kernels/pack/planes.ts";
import { gpuActivationBytes } from "../../../kernels/quantize_activations/webgpu.ts";
import { WEBGPU } from "../../../kernels/webgpu.ts";
import type {
  Dispatch,
  GpuCall,
  GpuTraits,
  Slice,
  WebgpuKernel,
} from "../../../kernels/webgpu_kernel.ts";
import type { LayoutName } from "../../../quant/formats.ts";
import type { Backend, Executable } from "../backend.ts";
import type { CacheRows } from "../cache_rows.ts";
import type { Graph, GraphNode, Tensor } from "../../graph/graph.ts";
import { withIntegerMatmuls } from "../../graph/integer_matmuls.ts";
import { assignStages, type Plan, type StageMap } from "../../graph/plan.ts";
import { type Gpu, type OpenDevice, openDevice } from "./device.ts";
import { createCacheRows } from "./cache_rows.ts";
import { GpuCaches } from "./caches.ts";
import { createExecutable } from "./executable.ts";
import { neighboursIn, withFusedSteps } from "./fusions.ts";
import { JoinedVectors } from "./joined_vectors.ts";
import { GpuMatrices } from "./matrices.ts";
import { GpuMemory } from "./memory.ts";
import { Pipelines } from "./pipelines.ts";
import { chooseVariants, type ChosenVariants } from "./variants.ts";
import type { VariantOptions } from "./variant_options.ts";

/** Options of the WebGPU backend. */
export interface WebgpuBackendOptions extends VariantOptions {
  /** Where adapters come from; `navigator.gpu` where absent. */
  readonly gpu?: Gpu;
  /** Most bytes of a matrix that are bound at once; as much as the device allows where absent. */
  readonly maxBindingBytes?: number;
  /** What kernels choose by, where it is not to be what the device says. */
  readonly traits?: Partial<Omit<GpuTraits, "arithmetic">>;
}

/** A backend that tells what it holds. */
export interface WebgpuBackend extends Backend {
  /** Bytes of all its buffers. */
  readonly bytes: number;
  /** Name of the adapter. */
  readonly adapter: string;
  /** Which kernels it uses. */
  readonly variants: ChosenVariants;
}

/**
 * Creates the WebGPU backend on the system's adapter.
 *
 * @throws BackendError when there is no adapter, or it gives no device
 */
export async function createWebgpuBackend(
  options: WebgpuBackendOptions = {},
): Promise<WebgpuBackend> {
  const open = await openDevice(options.gpu);
  try {
    return new GpuBackend(open, options, await chooseVariants(open, options));
  } catch (error) {
    open.device.destroy();
    throw error;
  }
}

class GpuBackend implements WebgpuBackend {
  readonly name = "webgpu";
  readonly threads = 1;
  readonly adapter: string;
  readonly #memory: GpuMemory;
  readonly #pipelines: Pipelines;
  readonly variants: ChosenVariants;
  readonly #traits: GpuTraits;
  readonly #matrices: GpuMatrices;
  readonly #vectors: JoinedVectors;
  readonly #caches: GpuCaches;
  readonly cacheRows: CacheRows;
  readonly #pinned = new Map<string, { type: TensorType; slices: readonly Slice[] }>();

  constructor(
    { device, facts, limits, subgroupLines }: OpenDevice,
    { maxBindingBytes, traits }: WebgpuBackendOptions,
    variants: ChosenVariants,
  ) {
    this.variants = variants;
    this.#traits = { ...limits, ...traits, arithmetic: variants.arithmetic };
    this.adapter = facts.name;
    this.#memory = new GpuMemory(device);
    this.#pipelines = new Pipelines(
      this.#memory,
      variants.reduction === "subgroup" ? subgroupLines : undefined,
    );
    const allocate = this.#allocate.bind(this);
    this.#caches = new GpuCaches(this.#memory, allocate);
    this.cacheRows = createCacheRows(this.#memory, this.#caches);
    this.#matrices = new GpuMatrices(
      this.#memory,
      allocate,
      Math.min(facts.maxBindingBytes, maxBindingBytes ?? Infinity),
    );
    this.#vectors = new JoinedVectors(this.#memory, this.#allocate.bind(this));
  }

  get bytes(): number {
    return this.#memory.bytes;
  }

  get placedBytes(): { webgpu: number } {
    const bytes = Array.from(this.#pinned.values(), ({ type }) => this.bytesOf(type));
    return { webgpu: bytes.reduce((a, b) => a + b, 0) };
  }

  /** Kernels are chosen by the number of tokens, and share a token's sums among invocations by it. */
  isSteady(): boolean {
    return false;
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
    return withFusedSteps(this.variants.integer ? withIntegerMatmuls(graph) : graph);
  }

  divide(graphs: readonly Graph[]): StageMap {
    return assignStages(graphs, this.bytesOf, Infinity);
  }

  place({ graph, stages }: Plan): void {
    const { matrices, biases } = neighboursIn(graph);
    for (const group of matrices) this.#matrices.keepTogether(group);
    for (const group of biases) this.#vectors.keepTogether(group);
    for (const tensor of stages.flatMap(({ pinned }) => pinned)) this.#place(tensor);
  }

  #place(tensor: Tensor): void {
    if (this.#pinned.has(tensor.name)) return;
    const slices = tensor.role === "matrix"
      ? this.#matrices.place(tensor)
      : tensor.role === "dense"
      ? [this.#vectors.join(tensor, this.#placeWhole(tensor, this.bytesOf(tensor), tensor.name))]
      : [this.#caches.place(tensor, this.bytesOf(tensor))];
    this.#pinned.set(tensor.name, { type: tensor, slices });
  }

  async writeRows(name: string, firstRow: number, rows: Uint8Array): Promise<void> {
    const { type, slices } = this.#find(name);
    const columns = type.shape.at(-1)!;
    if (type.role !== "matrix") {
      return await this.#vectors.write(slices[0]!, 4 * firstRow * columns, rows);
    }
    await this.#matrices.write(type, slices, firstRow, rows);
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
    // One op after another uses them.
    const shared: GPUBuffer[] = [];
    const scratch = (bytes: number, place = 0): GPUBuffer => {
      if ((shared[place]?.size ?? 0) < bytes) shared[place] = this.#allocate(bytes, "scratch");
      return shared[place]!;
    };
    const calls = stage!.steps.map(({ node }) => ({
      node,
      inputs: node.inputs.map(operand),
      output: operand(node.output),
      attrs: node.attrs,
    }));
    const dispatches: Dispatch[] = [];
    for (let i = 0; i < calls.length;) {
      const { node, inputs, output, attrs } = calls[i]!;
      const kernel = WEBGPU[node.op] as WebgpuKernel;
      const count = kernel.together ?? 1, next = calls.slice(i, i + count);
      const together = next.length === count && independent(next)
        ? kernel.encodeTogether?.(next, scratch, this.#traits)
        : undefined;
      dispatches.push(
        ...together ?? kernel.encode(inputs, output, attrs, scratch, this.#traits),
      );
      i += together ? count : 1;
    }
    return createExecutable(
      this.#memory,
      this.#pipelines,
      this.#caches,
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
    if (!pinned) throw new BackendError(`Cannot use tensor ${quote(name)}: it has not been placed`);
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
        `Cannot place ${quote(name)} on the GPU: it takes ${bytes} bytes, a shader sees at most ` +
          `${most} at once`,
      );
    }
    return { firstRow: 0, rows: shape[0]!, planes: [this.#allocate(bytes, name)] };
  }
}

/** Whether calls are of one op and none reads what another writes. */
function independent(calls: readonly (GpuCall & { readonly node: GraphNode })[]): boolean {
  return calls.every(({ node: { op, inputs } }, i) =>
    op === calls[0]!.node.op &&
    calls.every(({ node: { output } }, k) => i === k || !inputs.includes(output))
  );
}
