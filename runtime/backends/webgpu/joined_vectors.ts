/**
 * Constant vectors of which a second copy lies beside others, for dispatches that read several at
 * once: biases of matrices that lie together. They are small, and every other reader has its own.
 *
 * @module
 */

import type { Slice } from "../../../kernels/webgpu_kernel.ts";
import type { Tensor } from "../../graph/graph.ts";
import type { GpuMemory } from "./memory.ts";

/** Several vectors as one. */
interface Joined {
  readonly elements: number;
  buffer: GPUBuffer | undefined;
}

/** Keeps the second copies. */
export class JoinedVectors {
  readonly #memory: GpuMemory;
  readonly #allocate: (bytes: number, label: string) => GPUBuffer;
  readonly #joined = new Map<string, { readonly joined: Joined; readonly base: number }>();

  /** None yet. */
  constructor(memory: GpuMemory, allocate: (bytes: number, label: string) => GPUBuffer) {
    this.#memory = memory;
    this.#allocate = allocate;
  }

  /** Lets vectors have copies one after another, unless one of them has. */
  keepTogether(tensors: readonly Tensor[]): void {
    if (tensors.some(({ name }) => this.#joined.has(name))) return;
    const elements = tensors.reduce((sum, { shape }) => sum + shape[0]!, 0);
    const joined: Joined = { elements, buffer: undefined };
    let base = 0;
    for (const { name, shape } of tensors) {
      this.#joined.set(name, { joined, base });
      base += shape[0]!;
    }
  }

  /** The place of a tensor, with that of its second copy if it has one: plane 1, from `base` on. */
  join({ name }: Tensor, slice: Slice): Slice {
    const found = this.#joined.get(name);
    if (!found) return slice;
    const { joined, base } = found;
    joined.buffer ??= this.#allocate(4 * joined.elements, `${name} and others`);
    return { ...slice, planes: [...slice.planes, joined.buffer], base };
  }

  /** Writes bytes of a tensor to all its copies. */
  async write({ planes, base = 0 }: Slice, offset: number, data: Uint8Array): Promise<void> {
    await this.#memory.upload(planes[0]!, offset, data);
    if (planes[1]) await this.#memory.upload(planes[1], 4 * base + offset, data);
  }
}
