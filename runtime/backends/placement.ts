/**
 * The one way of graphs onto a backend: lowered, divided into stages together, planned, placed; and
 * then compiled, each when it is needed.
 *
 * @module
 */

import type { Backend, Executable } from "./backend.ts";
import type { Graph } from "../graph/graph.ts";
import { makePlan, type Plan } from "../graph/plan.ts";

/** Graphs that have their memory in a backend. */
export interface Placement {
  /** Number of memories that they span. */
  readonly stages: number;
  /**
   * Prepares a graph for running: one of those that were placed, or one with the same segments,
   * weights and caches, as the same program for another number of tokens.
   */
  compile(graph: Graph): Executable;
}

/**
 * Gives all weights and caches of some graphs their memory. What has one name in several of them is
 * the same data.
 *
 * @throws MemoryError when they do not fit
 */
export function placeGraphs(backend: Backend, graphs: readonly Graph[]): Placement {
  const lowered = graphs.map((graph) => backend.lower(graph));
  const stages = backend.divide(lowered);
  const planOf = (graph: Graph): Plan => makePlan(graph, (type) => backend.bytesOf(type), stages);
  const placed = new Map(graphs.map((graph, i) => [graph, planOf(lowered[i]!)]));
  for (const plan of placed.values()) backend.place(plan);
  return {
    stages: 1 + Math.max(0, ...stages.values()),
    compile: (graph) => backend.compile(placed.get(graph) ?? planOf(backend.lower(graph))),
  };
}
