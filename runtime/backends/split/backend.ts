/**
 * Two backends that share a model: the first layers on one, as a rule a GPU with too little memory
 * for all of them, everything else on the other. Only results that cross between them are copied.
 * It knows backends by their contract alone.
 *
 * @module
 */

import { BackendError } from "../../../errors.ts";
import { quote } from "../../../escape.ts";
import type { TensorType } from "../../../kernels/op.ts";
import type { Backend, BackendName, Executable, TensorData } from "../backend.ts";
import type { Graph, Segment, Tensor } from "../../graph/graph.ts";
import { makePlan, type Plan, segmentsOf, type StageMap } from "../../graph/plan.ts";
import type { CacheRows } from "../cache_rows.ts";
import { cutGraph, type GraphSection } from "./cut.ts";

/**
 * Puts two backends together.
 *
 * @param inner runs the model's layers 0 to `layers`
 * @param outer runs what is before and after them
 */
export function createSplitBackend(inner: Backend, outer: Backend, layers: number): Backend {
  return new SplitBackend(inner, outer, layers);
}

/** The sections of a graph: what comes before the layers, the layers, what comes after them. */
const BEFORE = 0, LAYERS = 1, AFTER = 2;

class SplitBackend implements Backend {
  readonly #inner: Backend;
  readonly #outer: Backend;
  readonly #layers: number;
  /** Section of each segment. */
  #sections: ReadonlyMap<string, number> = new Map();
  /** Stage on the outer backend of each segment after the layers. */
  #stagesAfter: StageMap = new Map();
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

  get placedBytes(): Readonly<Partial<Record<BackendName, number>>> {
    return { ...this.#outer.placedBytes, ...this.#inner.placedBytes };
  }

  bytesOf(type: TensorType): number {
    return this.#outer.bytesOf(type);
  }

  /** Each backend lowers its own section. */
  lower(graph: Graph): Graph {
    return graph;
  }

  divide(graphs: readonly Graph[]): StageMap {
    this.#sections = this.#divideSegments(segmentsOf(graphs));
    const sections = graphs.flatMap((graph) => this.#cut(graph));
    const graphsOf = (section: number): Graph[] =>
      sections.filter((it) => it.section === section).map(({ graph }) => graph);
    // The first of the outer backend's memories holds what comes before the layers, too.
    const pinned = new Map(
      graphsOf(BEFORE).flatMap(({ tensors }) => tensors.filter(isPinned)).map((
        it,
      ) => [it.name, it]),
    );
    const taken = Array.from(pinned.values(), (it) => this.bytesOf(it)).reduce((a, b) => a + b, 0);
    this.#stagesAfter = this.#outer.divide(graphsOf(AFTER), taken);
    return new Map(Array.from(
      this.#sections,
      ([name, section]) => [name, section + (this.#stagesAfter.get(name) ?? 0)],
    ));
  }

  place({ graph }: Plan): void {
    for (const { backend, plan } of this.#plan(graph)) {
      backend.place(plan);
      for (const { name } of plan.stages.flatMap(({ pinned }) => pinned)) {
        const holders = this.#holders.get(name) ?? new Set();
        this.#holders.set(name, holders.add(backend));
      }
    }
  }

  /** Each cache is where its layer runs. */
  get cacheRows(): CacheRows {
    const of = (cache: string): CacheRows[] =>
      Array.from(this.#holdersOf(cache), (it) => it.cacheRows);
    return {
      form: `${this.#layers} layers of ${this.#inner.cacheRows.form}, ` +
        `others of ${this.#outer.cacheRows.form}`,
      bytes: (cache, rows) => of(cache)[0]!.bytes(cache, rows),
      copy: (cache, from, to, rows) => of(cache).forEach((it) => it.copy(cache, from, to, rows)),
      read: (cache, from, rows) => of(cache)[0]!.read(cache, from, rows),
      async write(cache, to, rows, bytes) {
        for (const it of of(cache)) await it.write(cache, to, rows, bytes);
      },
    };
  }

  isSteady(graph: Graph): boolean {
    return this.#inner.isSteady(graph) && this.#outer.isSteady(graph);
  }

  async writeRows(name: string, firstRow: number, rows: Uint8Array): Promise<void> {
    for (const holder of this.#holdersOf(name)) await holder.writeRows(name, firstRow, rows);
  }

  compile({ graph }: Plan): Executable {
    const sections = this.#plan(graph).map((section) => ({
      ...section,
      executable: section.backend.compile(section.plan),
    }));
    const inputs = graph.tensors.filter((it) => it.origin === "input").map((it) => it.name);
    const makerOf = (output: string) => {
      const maker = sections.find(({ graph }) => graph.outputs.has(output));
      if (!maker) throw new BackendError(`Cannot read output ${quote(output)}: the graph has none`);
      return maker.executable;
    };
    return {
      write(name: string, data: TensorData): void {
        if (!inputs.includes(name)) {
          throw new BackendError(`Cannot write input ${quote(name)}: the graph has none`);
        }
        for (const { graph, executable } of sections) {
          if (graph.tensors.some((it) => it.name === name)) executable.write(name, data);
        }
      },
      async run(tokens: number): Promise<void> {
        for (const { receives, executable } of sections) {
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

  #holdersOf(name: string): ReadonlySet<Backend> {
    const holders = this.#holders.get(name);
    if (!holders) throw new BackendError(`Cannot use ${quote(name)}: it has not been placed`);
    return holders;
  }

  /** The section of each segment: all is after the layers where there are none of them. */
  #divideSegments(segments: readonly Segment[]): Map<string, number> {
    const isInner = segments.map(({ layer }) => layer !== undefined && layer < this.#layers);
    const first = isInner.indexOf(true), last = isInner.lastIndexOf(true);
    const missing = isInner.indexOf(false, first);
    if (this.#layers > 0 && (first < 0 || missing >= 0 && missing < last)) {
      throw new BackendError(
        `Cannot run ${this.#layers} layers on ${this.#inner.name}: the graph has the segments ` +
          `${segments.map(({ name }) => quote(name)).join(", ") || "none"}, expected that many ` +
          `layers, one after another`,
      );
    }
    return new Map(
      segments.map(({ name }, i) => [name, i < first ? BEFORE : i <= last ? LAYERS : AFTER]),
    );
  }

  #cut(graph: Graph): GraphSection[] {
    return cutGraph(graph, ({ name }) => {
      const section = this.#sections.get(name);
      if (section !== undefined) return section;
      throw new BackendError(`Cannot divide the graph: segment ${quote(name)} has not been placed`);
    });
  }

  /** The sections of a graph, each as its backend runs it. */
  #plan(graph: Graph): (GraphSection & { readonly backend: Backend; readonly plan: Plan })[] {
    return this.#cut(graph).map((it) => {
      const backend = it.section === LAYERS ? this.#inner : this.#outer;
      const stages = it.section === AFTER ? this.#stagesAfter : undefined;
      const lowered = backend.lower(it.graph);
      return { ...it, backend, plan: makePlan(lowered, (type) => backend.bytesOf(type), stages) };
    });
  }
}

function isPinned({ origin }: Tensor): boolean {
  return origin === "weight" || origin === "cache";
}
