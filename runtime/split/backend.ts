/**
 * Two backends that share a model: the first layers on one, as a rule a GPU with too little memory
 * for all of them, everything else on the other. Only results that cross between them are copied.
 * It knows backends by their contract alone.
 *
 * @module
 */

import { BackendError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { TensorType } from "../../kernels/op.ts";
import type { Backend, Executable, TensorData } from "../backend.ts";
import type { Graph, Tensor } from "../graph.ts";
import { assignStages, makePlan, type Plan } from "../plan.ts";
import { cutGraph, type GraphPart } from "./cut.ts";

/**
 * Puts two backends together.
 *
 * @param inner runs layers 0 to `layers`, that is, the graph's segments from 1
 * @param outer runs what is before and after them
 */
export function createSplitBackend(inner: Backend, outer: Backend, layers: number): Backend {
  return new SplitBackend(inner, outer, layers);
}

/** The stages: 0 is what comes before the layers, 1 the layers, from 2 on what comes after them. */
const LAYERS = 1, AFTER = 2;

class SplitBackend implements Backend {
  readonly #inner: Backend;
  readonly #outer: Backend;
  readonly #layers: number;
  /** Stage on the outer backend of each segment after the layers. */
  #stagesAfter: readonly number[] = [];
  /** Who holds a weight. */
  readonly #holders = new Map<string, Set<Backend>>();

  constructor(inner: Backend, outer: Backend, layers: number) {
    this.#inner = inner;
    this.#outer = outer;
    this.#layers = layers;
  }

  get name(): Backend["name"] {
    return this.#inner.name;
  }

  get threads(): number {
    return this.#outer.threads;
  }

  get stageBytes(): number {
    return this.#outer.stageBytes;
  }

  bytesOf(type: TensorType): number {
    return this.#outer.bytesOf(type);
  }

  /** Each backend lowers its own part, when it compiles it; here they get to know them. */
  lower(graph: Graph): Graph {
    this.#cut(graph).forEach(({ graph }, part) => this.#backendOf(part).lower(graph));
    return graph;
  }

  stagesOf(graph: Graph): number[] {
    const [before, , after] = this.#cut(graph);
    const outer = this.#outer, bytesOf = outer.bytesOf.bind(outer);
    // The first of its memories holds what comes before the layers, too.
    const taken = before!.graph.tensors.filter(isPinned).reduce((sum, it) => sum + bytesOf(it), 0);
    this.#stagesAfter = assignStages(after!.graph, bytesOf, outer.stageBytes - taken);
    return this.#partOf(graph).map((part, segment) =>
      part < AFTER ? part : part + this.#stagesAfter[segment - this.#layers - 1]!
    );
  }

  sideOf(stage: number): Backend {
    return this.#backendOf(Math.min(stage, AFTER));
  }

  place(tensor: Tensor, stage: number): void {
    const side = this.sideOf(stage);
    side.place(tensor, Math.max(0, stage - AFTER));
    const holders = this.#holders.get(tensor.name) ?? new Set();
    this.#holders.set(tensor.name, holders.add(side));
  }

  async writeRows(name: string, firstRow: number, rows: Uint8Array): Promise<void> {
    const holders = this.#holders.get(name);
    if (!holders) throw new BackendError(`Cannot write ${quote(name)}: it has not been placed`);
    for (const holder of holders) await holder.writeRows(name, firstRow, rows);
  }

  compile({ graph }: Plan): Executable {
    const parts = this.#cut(graph).map((part, i) => {
      const backend = this.#backendOf(i);
      const stages = i === AFTER ? this.#stagesAfter : [];
      const plan = makePlan(backend.lower(part.graph), backend.bytesOf.bind(backend), stages);
      return { ...part, executable: backend.compile(plan) };
    });
    const inputs = graph.tensors.filter((it) => it.origin === "input").map((it) => it.name);
    const makerOf = (output: string) => {
      const maker = parts.find(({ graph }) => graph.outputs.has(output));
      if (!maker) throw new BackendError(`Cannot read output ${quote(output)}: the graph has none`);
      return maker.executable;
    };
    return {
      write(name: string, data: TensorData): void {
        if (!inputs.includes(name)) {
          throw new BackendError(`Cannot write input ${quote(name)}: the graph has none`);
        }
        for (const { graph, executable } of parts) {
          if (graph.tensors.some((it) => it.name === name)) executable.write(name, data);
        }
      },
      async run(tokens: number): Promise<void> {
        for (const { receives, executable } of parts) {
          for (const { name, width, perToken } of receives) {
            const length = perToken ? tokens * width : width;
            executable.write(name, await makerOf(name).read(name, length));
          }
          await executable.run(tokens);
        }
      },
      read: (name, length) => makerOf(name).read(name, length),
    };
  }

  async dispose(): Promise<void> {
    await Promise.all([this.#inner.dispose(), this.#outer.dispose()]);
  }

  #backendOf(part: number): Backend {
    return part === LAYERS ? this.#inner : this.#outer;
  }

  /** Part of each segment. */
  #partOf({ segments }: Graph): number[] {
    return Array.from(
      { length: segments },
      (_, segment) => segment === 0 ? 0 : segment <= this.#layers ? LAYERS : AFTER,
    );
  }

  #cut(graph: Graph): GraphPart[] {
    const partOf = this.#partOf(graph);
    if (partOf.at(-1) !== AFTER) {
      throw new BackendError(
        `Cannot run ${this.#layers} layers on ${this.#inner.name}: the graph has ` +
          `${graph.segments} parts, expected something after the layers`,
      );
    }
    return cutGraph(graph, partOf);
  }
}

function isPinned({ origin }: Tensor): boolean {
  return origin === "weight" || origin === "cache";
}
