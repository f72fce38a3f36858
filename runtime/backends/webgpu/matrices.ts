/**
 * Where weight matrices lie on the GPU: in slices of rows where they are larger than a binding, or
 * one after another where a dispatch reads several.
 *
 * @module
 */

import { MemoryError } from "../../../errors.ts";
import { quote } from "../../../escape.ts";
import type { TensorType } from "../../../kernels/op.ts";
import { planeRowBytes, splitPlanes } from "../../../kernels/pack/planes.ts";
import type { Slice } from "../../../kernels/webgpu_kernel.ts";
import { type LayoutName, LAYOUTS, rowBytes } from "../../../quant/formats.ts";
import type { Tensor } from "../../graph/graph.ts";
import type { GpuMemory } from "./memory.ts";

/** Most rows in a slice, so that a dispatch over them stays within the limits of every device. */
const MOST_SLICE_ROWS = 2 ** 17;
/** Rows of a slice are a multiple of what `writeRows` gets. */
const ROW_UNIT = 16;

/** Places matrices. */
export class GpuMatrices {
  readonly #memory: GpuMemory;
  readonly #allocate: (bytes: number, label: string) => GPUBuffer;
  readonly #maxBindingBytes: number;
  /** Matrices by name, each with those beside it. */
  readonly #groups = new Map<string, readonly Tensor[]>();
  readonly #placed = new Map<string, readonly Slice[]>();

  /** No matrices; `maxBindingBytes` is the size of a plane that a shader can read. */
  constructor(
    memory: GpuMemory,
    allocate: (bytes: number, label: string) => GPUBuffer,
    maxBindingBytes: number,
  ) {
    this.#memory = memory;
    this.#allocate = allocate;
    this.#maxBindingBytes = maxBindingBytes;
  }

  /** Lets matrices lie one after another when they are placed, if they can; else they do not. */
  keepTogether(tensors: readonly Tensor[]): void {
    const [first] = tensors;
    const { dtype, shape: [, columns] } = first!;
    const rows = tensors.reduce((sum, { shape }) => sum + shape[0]!, 0);
    const widest = Math.max(...planeRowBytes(dtype as LayoutName, columns!));
    const fits = rows <= MOST_SLICE_ROWS && rows * widest <= this.#maxBindingBytes &&
      tensors.every(({ name, dtype: other, shape }) =>
        other === dtype && shape[1] === columns && shape[0]! % ROW_UNIT === 0 &&
        !this.#groups.has(name) && !this.#placed.has(name)
      );
    if (fits) { for (const { name } of tensors) this.#groups.set(name, tensors); }
  }

  /**
   * The slices of a matrix, which are made when it, or one beside it, is first asked for.
   *
   * @throws MemoryError when a shader cannot see even a few rows at once
   */
  place(tensor: Tensor): readonly Slice[] {
    let slices = this.#placed.get(tensor.name);
    if (slices) return slices;
    const group = this.#groups.get(tensor.name) ?? [tensor];
    if (group.length === 1) this.#placed.set(tensor.name, slices = this.#divide(tensor));
    else this.#placeGroup(group);
    return slices ?? this.#placed.get(tensor.name)!;
  }

  /** Copies rows of the exchange form to where they lie. */
  async write(
    type: TensorType,
    slices: readonly Slice[],
    firstRow: number,
    rows: Uint8Array,
  ): Promise<void> {
    const layout = type.dtype as LayoutName, columns = type.shape[1]!;
    const stride = rowBytes(LAYOUTS[layout], columns);
    const planeBytes = planeRowBytes(layout, columns);
    const end = firstRow + rows.length / stride;
    for (const slice of slices) {
      const from = Math.max(firstRow, slice.firstRow);
      const to = Math.min(end, slice.firstRow + slice.rows);
      if (from >= to) continue;
      const part = rows.subarray((from - firstRow) * stride, (to - firstRow) * stride);
      const at = from - slice.firstRow + (slice.base ?? 0);
      for (const [i, plane] of splitPlanes(layout, part, columns).entries()) {
        await this.#memory.upload(slice.planes[i]!, at * planeBytes[i]!, plane);
      }
    }
  }

  #placeGroup(group: readonly Tensor[]): void {
    const { dtype, shape: [, columns] } = group[0]!;
    const rows = group.reduce((sum, { shape }) => sum + shape[0]!, 0);
    const label = group.map(({ name }) => name).join(" + ");
    const planes = planeRowBytes(dtype as LayoutName, columns!)
      .map((bytes) => this.#allocate(rows * bytes, label));
    let base = 0;
    for (const { name, shape } of group) {
      this.#placed.set(name, [{ firstRow: 0, rows: shape[0]!, planes, base }]);
      base += shape[0]!;
    }
  }

  /** Rows are divided where a plane is larger than a binding. */
  #divide({ name, dtype, shape }: Tensor): Slice[] {
    const [rows, columns] = shape as readonly [number, number];
    const planeBytes = planeRowBytes(dtype as LayoutName, columns);
    const fitting = Math.floor(this.#maxBindingBytes / Math.max(...planeBytes) / ROW_UNIT);
    const most = Math.min(ROW_UNIT * fitting, MOST_SLICE_ROWS);
    if (most === 0) {
      throw new MemoryError(
        `Cannot place ${quote(name)} ` +
          `on the GPU: ${ROW_UNIT} rows of ${columns} columns are more than ` +
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
