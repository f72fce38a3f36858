/**
 * From a recorded graph to what a backend needs before the first run: which steps each stage
 * executes, which results share memory, and where workers must wait for each other.
 * It decides once, at load; nothing here runs per token.
 *
 * @module
 */

import { MemoryError, ShapeError } from "../../errors.ts";
import { formatBytes, quote } from "../../escape.ts";
import type { TensorType } from "../../kernels/op.ts";
import type { Graph, GraphNode, Segment, Tensor } from "./graph.ts";

/** One op in its place. */
export interface PlanStep {
  /** What to execute. */
  readonly node: GraphNode;
  /** Whether all workers must have finished every earlier step before this one starts. */
  readonly barrier: boolean;
}

/** The part of a plan that runs in one memory. */
export interface StagePlan {
  /** Steps in order. */
  readonly steps: readonly PlanStep[];
  /** Bytes of each shared slot. */
  readonly slots: readonly number[];
  /** Slot of each result, by tensor id; inputs, weights and caches have none. */
  readonly slotOf: ReadonlyMap<number, number>;
  /** Inputs that its steps read. */
  readonly inputs: readonly Tensor[];
  /** Weights and caches that its steps read or write. */
  readonly pinned: readonly Tensor[];
  /** Results of earlier stages that it needs: the residual stream, as a rule. */
  readonly receives: readonly Tensor[];
}

/** A graph, divided into stages. */
export interface Plan {
  /** The graph that was planned. */
  readonly graph: Graph;
  /** At least one. */
  readonly stages: readonly StagePlan[];
}

/** The stage of each segment, by the segment's name. */
export type StageMap = ReadonlyMap<string, number>;

/**
 * The segments of several graphs of one model, each once: in the order in which the graphs have them.
 */
export function segmentsOf(graphs: readonly Graph[]): Segment[] {
  const order: Segment[] = [];
  for (const { segments } of graphs) {
    let at = 0;
    for (const segment of segments) {
      const known = order.findIndex(({ name }) => name === segment.name);
      if (known < 0) order.splice(at, 0, segment);
      at = (known < 0 ? at : known) + 1;
    }
  }
  return order;
}

/**
 * Divides the segments of a model's graphs into stages so that the weights and caches of each fit
 * `stageBytes`.
 *
 * @throws MemoryError when one segment alone is larger than a stage
 */
export function assignStages(
  graphs: readonly Graph[],
  bytesOf: (tensor: TensorType) => number,
  stageBytes: number,
): StageMap {
  const stages = new Map<string, number>();
  const bytes = new Map<string, number>(); // of weights and caches, by name
  const needs = new Map<string, Set<string>>(); // their names, by segment
  for (const node of graphs.flatMap(({ nodes }) => nodes)) {
    let names = needs.get(node.segment.name);
    if (!names) needs.set(node.segment.name, names = new Set());
    for (const tensor of pinnedOf(node)) {
      names.add(tensor.name);
      bytes.set(tensor.name, bytesOf(tensor));
    }
  }
  const size = (names: Iterable<string>): number =>
    Array.from(names).reduce((sum, name) => sum + bytes.get(name)!, 0);
  const segments = segmentsOf(graphs);
  let held = new Set<string>(), stage = 0;
  for (const [i, { name }] of segments.entries()) {
    const needed = needs.get(name)!;
    if (held.size > 0 && size(held.union(needed)) > stageBytes) {
      stage++;
      held = new Set();
    }
    held = held.union(needed);
    if (size(held) > stageBytes) {
      throw new MemoryError(
        `Cannot place segment ${i + 1} of ${segments.length} of the graph: weights and caches of ` +
          `${quote(name)} take ${formatBytes(size(held))}, a stage holds at most ` +
          `${formatBytes(stageBytes)}; use a smaller weight layout or a shorter context`,
      );
    }
    stages.set(name, stage);
  }
  return stages;
}

/**
 * Plans a graph. Results whose lifetimes do not meet share slots, the largest placed first
 * (Pisarchyk and Lee, arXiv:2001.03288).
 *
 * @param bytesOf storage of a result on the backend
 * @param stages stage of each segment, non-decreasing; one stage for all where absent
 * @throws ShapeError when a segment has no stage, comes before its predecessor, or when a cache would
 * be in two stages, which would each have their own
 */
export function makePlan(
  graph: Graph,
  bytesOf: (tensor: TensorType) => number,
  stages?: StageMap,
): Plan {
  const stageOf = stageLookup(graph, stages);
  const count = 1 + Math.max(0, ...stages?.values() ?? []);
  const madeIn = new Map<Tensor, number>(), lastUsedIn = new Map<Tensor, number>();
  for (const { inputs, output, segment } of graph.nodes) {
    const stage = stageOf(segment);
    for (const input of inputs) lastUsedIn.set(input, Math.max(stage, lastUsedIn.get(input) ?? 0));
    if (output.origin === "op") madeIn.set(output, stage);
  }
  const outputs = new Set(graph.outputs.values());
  const plans: StagePlan[] = [];
  for (let stage = 0; stage < count; stage++) {
    const nodes = graph.nodes.filter((node) => stageOf(node.segment) === stage);
    const used = new Set(nodes.flatMap((node) => node.inputs));
    // A later stage may need an earlier result; the stages between pass it on.
    const leaves = (tensor: Tensor): boolean =>
      outputs.has(tensor) || (lastUsedIn.get(tensor) ?? 0) > stage;
    const receives = Array.from(madeIn.keys()).filter((tensor) =>
      madeIn.get(tensor)! < stage && (used.has(tensor) || leaves(tensor))
    );
    const { slots, slotOf } = assignSlots(nodes, receives, leaves, bytesOf);
    plans.push({
      steps: placeBarriers(nodes, slotOf),
      slots,
      slotOf,
      inputs: Array.from(used).filter((tensor) => tensor.origin === "input"),
      pinned: Array.from(new Set(nodes.flatMap(pinnedOf))),
      receives,
    });
  }
  const caches = plans.flatMap(({ pinned }) => pinned.filter((it) => it.origin === "cache"));
  const divided = caches.find((cache, i) => caches.indexOf(cache) !== i);
  if (divided) {
    throw new ShapeError(
      `Cannot divide the graph into ${count} stages: cache ${quote(divided.name)} ` +
        `is used in several, ` +
        `expected one; record its ops without a cut between them`,
    );
  }
  return { graph, stages: plans };
}

/** Where each segment is; none may be forgotten, and data flows from one stage to later ones only. */
function stageLookup(
  { segments }: Graph,
  stages: StageMap | undefined,
): (segment: Segment) => number {
  if (!stages) return () => 0;
  let last = 0;
  for (const { name } of segments) {
    const stage = stages.get(name);
    if (stage === undefined || stage < last) {
      throw new ShapeError(
        `Cannot plan the graph: segment ${quote(name)} is in stage ${
          stage ?? "none"
        }, expected one ` +
          `from ${last} on; segments are placed by their names, in the order of recording`,
      );
    }
    last = stage;
  }
  return ({ name }) => stages.get(name)!;
}

function pinnedOf(node: GraphNode): Tensor[] {
  return node.inputs.filter((tensor) => tensor.origin === "weight" || tensor.origin === "cache");
}

/** Greedy by size: each result takes the first slot that is free for its whole lifetime. */
function assignSlots(
  nodes: readonly GraphNode[],
  receives: readonly Tensor[],
  leaves: (tensor: Tensor) => boolean,
  bytesOf: (tensor: TensorType) => number,
): { slots: number[]; slotOf: Map<number, number> } {
  const lifetimes = new Map<Tensor, { first: number; last: number }>();
  for (const tensor of receives) lifetimes.set(tensor, { first: -1, last: -1 });
  for (const { first, last } of runsOf(nodes)) {
    for (const node of nodes.slice(first, last + 1)) {
      for (const input of node.inputs) {
        const lifetime = lifetimes.get(input);
        if (lifetime) lifetime.last = last;
      }
      if (node.output.origin === "op") lifetimes.set(node.output, { first, last });
    }
  }
  for (const [tensor, lifetime] of lifetimes) if (leaves(tensor)) lifetime.last = nodes.length;

  const slots: { bytes: number; taken: { first: number; last: number }[] }[] = [];
  const slotOf = new Map<number, number>();
  const largestFirst = Array.from(
    lifetimes,
    ([tensor, lifetime]) => ({ tensor, bytes: bytesOf(tensor), ...lifetime }),
  ).sort((a, b) => b.bytes - a.bytes);
  for (const { tensor, bytes, first, last } of largestFirst) {
    let slot = slots.findIndex(({ taken }) =>
      taken.every((other) => last < other.first || other.last < first)
    );
    if (slot < 0) slot = slots.push({ bytes, taken: [] }) - 1;
    slots[slot]!.taken.push({ first, last });
    slotOf.set(tensor.id, slot);
  }
  return { slots: slots.map((slot) => slot.bytes), slotOf };
}

/**
 * Steps of one op that follow each other and do not need each other: they share no memory, so that
 * they can run at once.
 */
function runsOf(nodes: readonly GraphNode[]): { first: number; last: number }[] {
  const runs: { first: number; last: number }[] = [];
  let made = new Set<Tensor>();
  nodes.forEach(({ op, inputs, output }, i) => {
    const goesOn = op === nodes[i - 1]?.op && !inputs.some((tensor) => made.has(tensor));
    if (goesOn) runs.at(-1)!.last = i;
    else {
      runs.push({ first: i, last: i });
      made = new Set();
    }
    made.add(output);
  });
  return runs;
}

/** A step waits when it touches memory that an unfinished step writes, or writes what one reads. */
function placeBarriers(
  nodes: readonly GraphNode[],
  slotOf: ReadonlyMap<number, number>,
): PlanStep[] {
  // Results are known by slot, everything else by tensor.
  const place = (tensor: Tensor): string => {
    const slot = slotOf.get(tensor.id);
    return slot === undefined ? `tensor ${tensor.id}` : `slot ${slot}`;
  };
  let read = new Set<string>(), written = new Set<string>();
  return nodes.map((node) => {
    const reads = node.inputs.map(place);
    const write = place(node.output);
    const barrier = written.has(write) || read.has(write) || reads.some((it) => written.has(it));
    if (barrier) read = new Set(), written = new Set();
    for (const it of reads) read.add(it);
    written.add(write);
    return { node, barrier };
  });
}
