/**
 * From a recorded graph to what a backend needs before the first run: which steps each stage
 * executes, which results share memory, and where workers must wait for each other.
 * It decides once, at load; nothing here runs per token.
 *
 * @module
 */

import { MemoryError, ShapeError } from "../errors.ts";
import { quote } from "../escape.ts";
import type { TensorType } from "../kernels/op.ts";
import type { Graph, GraphNode, Tensor } from "./graph.ts";

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

/**
 * Divides segments into stages so that the weights and caches of each fit `stageBytes`.
 * Returns the stage of each segment.
 *
 * @throws MemoryError when one segment alone is larger than a stage
 */
export function assignStages(
  graph: Graph,
  bytesOf: (tensor: TensorType) => number,
  stageBytes: number,
): number[] {
  const stageOf: number[] = [];
  let held = new Set<Tensor>(), heldBytes = 0, stage = 0;
  for (let segment = 0; segment < graph.segments; segment++) {
    const needed = new Set(
      graph.nodes.filter((node) => node.segment === segment).flatMap((node) => pinnedOf(node)),
    );
    const size = (tensors: Iterable<Tensor>): number =>
      Array.from(tensors).reduce((sum, tensor) => sum + bytesOf(tensor), 0);
    const more = size(needed.difference(held));
    if (heldBytes > 0 && heldBytes + more > stageBytes) {
      stage++;
      held = new Set();
      heldBytes = 0;
    }
    heldBytes += size(needed.difference(held));
    held = held.union(needed);
    if (heldBytes > stageBytes) {
      throw new MemoryError(
        `Cannot place part ${segment + 1} of ${graph.segments} of the graph: its weights and ` +
          `caches take ${heldBytes} bytes, a stage holds at most ${stageBytes}; ` +
          `use a smaller weight layout or a shorter context`,
      );
    }
    stageOf.push(stage);
  }
  return stageOf;
}

/**
 * Plans a graph. Results whose lifetimes do not meet share slots, the largest placed first
 * (Pisarchyk and Lee, arXiv:2001.03288).
 *
 * @param bytesOf storage of a result on the backend
 * @param stageOf stage of each segment, non-decreasing; one stage where absent
 * @throws ShapeError when a cache would be in two stages, which would each have their own
 */
export function makePlan(
  graph: Graph,
  bytesOf: (tensor: TensorType) => number,
  stageOf: readonly number[] = [],
): Plan {
  const count = (stageOf.at(-1) ?? 0) + 1;
  const madeIn = new Map<Tensor, number>(), lastUsedIn = new Map<Tensor, number>();
  for (const { inputs, output, segment } of graph.nodes) {
    const stage = stageOf[segment] ?? 0;
    for (const input of inputs) lastUsedIn.set(input, Math.max(stage, lastUsedIn.get(input) ?? 0));
    if (output.origin === "op") madeIn.set(output, stage);
  }
  const outputs = new Set(graph.outputs.values());
  const stages: StagePlan[] = [];
  for (let stage = 0; stage < count; stage++) {
    const nodes = graph.nodes.filter((node) => (stageOf[node.segment] ?? 0) === stage);
    const used = new Set(nodes.flatMap((node) => node.inputs));
    // A later stage may need an earlier result; the stages between pass it on.
    const leaves = (tensor: Tensor): boolean =>
      outputs.has(tensor) || (lastUsedIn.get(tensor) ?? 0) > stage;
    const receives = Array.from(madeIn.keys()).filter((tensor) =>
      madeIn.get(tensor)! < stage && (used.has(tensor) || leaves(tensor))
    );
    const { slots, slotOf } = assignSlots(nodes, receives, leaves, bytesOf);
    stages.push({
      steps: placeBarriers(nodes, slotOf),
      slots,
      slotOf,
      inputs: Array.from(used).filter((tensor) => tensor.origin === "input"),
      pinned: Array.from(new Set(nodes.flatMap(pinnedOf))),
      receives,
    });
  }
  const caches = stages.flatMap(({ pinned }) => pinned.filter((it) => it.origin === "cache"));
  const divided = caches.find((cache, i) => caches.indexOf(cache) !== i);
  if (divided) {
    throw new ShapeError(
      `Cannot divide the graph into ${count} stages: cache ${quote(divided.name)} ` +
        `is used in several, ` +
        `expected one; record its ops without a cut between them`,
    );
  }
  return { graph, stages };
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
