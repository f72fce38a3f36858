/**
 * The reference backend: an interpreter of the ops' own definitions, in float64, one step after
 * another on the calling thread. It is what the other backends are compared with; it is not fast.
 *
 * @module
 */

import { BackendError, MemoryError } from "../../../errors.ts";
import { quote } from "../../../escape.ts";
import { elements, type Op, type TensorType, type View } from "../../../kernels/op.ts";
import { OPS } from "../../../kernels/ops.ts";
import { tensorBytes } from "../../../kernels/shape.ts";
import { LAYOUTS, rowBytes } from "../../../quant/formats.ts";
import type { Backend, Executable, TensorData } from "../backend.ts";
import type { CacheRows } from "../cache_rows.ts";
import { eventLoop } from "../event_loop.ts";
import type { Graph, Tensor } from "../../graph/graph.ts";
import { assignStages, type Plan, type StageMap } from "../../graph/plan.ts";

type Numbers = View["data"];

/** Creates the reference backend. */
export function createReferenceBackend(): Backend {
  return new ReferenceBackend();
}

class ReferenceBackend implements Backend {
  readonly name = "reference";
  readonly threads = 1;
  /** Weights and caches by name, as plain numbers. */
  readonly #pinned = new Map<string, { type: TensorType; data: Numbers }>();

  /** Plain numbers, one row after another. */
  readonly cacheRows: CacheRows = {
    form: "reference",
    bytes: (cache, rows) => this.#rowsOf(cache, 0, rows).byteLength,
    copy: (cache, from, to, rows) =>
      this.#rowsOf(cache, to, rows).set(this.#rowsOf(cache, from, rows)),
    read: (cache, from, rows) => Promise.resolve(this.#rowsOf(cache, from, rows).slice()),
    write: (cache, to, rows, bytes) => Promise.resolve(this.#rowsOf(cache, to, rows).set(bytes)),
  };

  get placedBytes(): { reference: number } {
    const bytes = Array.from(this.#pinned.values(), ({ type }) => tensorBytes(type));
    return { reference: bytes.reduce((a, b) => a + b, 0) };
  }

  bytesOf(type: TensorType): number {
    return tensorBytes(type);
  }

  /** Ops are computed row by row. */
  isSteady(): boolean {
    return true;
  }

  lower(graph: Graph): Graph {
    return graph;
  }

  divide(graphs: readonly Graph[]): StageMap {
    return assignStages(graphs, tensorBytes, Infinity);
  }

  place({ stages }: Plan): void {
    for (const tensor of stages.flatMap(({ pinned }) => pinned)) {
      if (this.#pinned.has(tensor.name)) continue;
      this.#pinned.set(tensor.name, { type: tensor, data: allocate(tensor) });
    }
  }

  writeRows(name: string, firstRow: number, rows: Uint8Array): Promise<void> {
    const { type, data } = this.#find(name);
    const layout = LAYOUTS[type.dtype as keyof typeof LAYOUTS];
    const columns = type.shape.at(-1)!;
    const stride = rowBytes(layout, columns);
    const padded = new Float32Array(Math.ceil(columns / layout.blockSize) * layout.blockSize);
    for (let row = 0; row * stride < rows.length; row++) {
      layout.decode(rows.subarray(row * stride, (row + 1) * stride), padded);
      data.set(padded.subarray(0, columns), (firstRow + row) * columns);
    }
    return Promise.resolve();
  }

  compile(plan: Plan): Executable {
    const { graph } = plan;
    const values = new Map<number, Numbers>();
    const dataOf = (tensor: Tensor): Numbers => {
      if (tensor.origin === "weight" || tensor.origin === "cache") {
        return this.#find(tensor.name).data;
      }
      let data = values.get(tensor.id);
      if (!data) values.set(tensor.id, data = allocate(tensor));
      return data;
    };
    const viewOf = (tensor: Tensor, tokens: number): View => {
      const shape = tensor.perToken ? [tokens, ...tensor.shape.slice(1)] : tensor.shape;
      return { shape, dtype: tensor.dtype, data: dataOf(tensor).subarray(0, elements(shape)) };
    };
    return {
      write(name: string, data: TensorData): void {
        const tensor = graph.tensors.find((it) => it.origin === "input" && it.name === name);
        if (!tensor) {
          throw new BackendError(`Cannot write input ${quote(name)}: the graph has none`);
        }
        dataOf(tensor).set(data);
      },
      run(tokens: number): Promise<void> {
        for (const { op, inputs, attrs, output } of graph.nodes) {
          const out = viewOf(output, tokens);
          if (OPS[op].mutates === undefined) out.data.fill(0);
          (OPS[op] as Op<unknown>).reference(
            out,
            inputs.map((tensor) => viewOf(tensor, tokens)),
            attrs,
          );
        }
        // Nothing else would let timers and signals in between two runs.
        return eventLoop();
      },
      read(name: string, length: number): Float32Array {
        const tensor = graph.outputs.get(name);
        if (!tensor) {
          throw new BackendError(`Cannot read output ${quote(name)}: the graph has none`);
        }
        return Float32Array.from(dataOf(tensor).subarray(0, length));
      },
    };
  }

  dispose(): Promise<void> {
    this.#pinned.clear();
    return Promise.resolve();
  }

  #rowsOf(cache: string, from: number, rows: number): Uint8Array {
    const { type, data } = this.#find(cache);
    const rowBytes = data.byteLength / type.shape[0]!;
    return new Uint8Array(data.buffer, data.byteOffset + from * rowBytes, rows * rowBytes);
  }

  #find(name: string): { type: TensorType; data: Numbers } {
    const pinned = this.#pinned.get(name);
    if (!pinned) throw new BackendError(`Cannot use tensor ${quote(name)}: it has not been placed`);
    return pinned;
  }
}

/** Float64 for values, so that the definition is exact; weights and caches keep their precision. */
function allocate(type: TensorType): Numbers {
  const size = elements(type.shape);
  try {
    if (type.dtype === "i32") return new Int32Array(size);
    if (type.role === "matrix") return new Float32Array(size);
    if (type.dtype === "f16") return new Float16Array(size);
    return new Float64Array(size);
  } catch (cause) {
    throw new MemoryError(
      `Cannot place a tensor of ${size} numbers: the memory cannot be had; use a shorter context`,
      { cause },
    );
  }
}
