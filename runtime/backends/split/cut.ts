/**
 * A graph in parts that different backends run: what one part makes and a later one reads is an
 * output of the first and an input of the second.
 *
 * @module
 */

import { elements } from "../../../kernels/op.ts";
import { copyGraph } from "../../graph/copy.ts";
import type { Extents, Graph, Segment, Tensor } from "../../graph/graph.ts";

/** A result that crosses from one part to a later one, under one name in both. */
export interface Crossing {
  /** Output of the part that makes it, input of those that read it. */
  readonly name: string;
  /** Elements for each token, or in all where it is not per token. */
  readonly width: number;
  /** Whether it has a row for each token. */
  readonly perToken: boolean;
}

/** Some segments of a graph as a graph of their own. */
export interface GraphPart {
  /** Which part. */
  readonly part: number;
  /** The graph, whose segments keep their names. */
  readonly graph: Graph;
  /** What it needs of earlier parts. */
  readonly receives: readonly Crossing[];
}

/**
 * Divides a graph; parts without ops are left out.
 *
 * @param partOf part of each segment, non-decreasing
 */
export function cutGraph(graph: Graph, partOf: (segment: Segment) => number): GraphPart[] {
  const madeIn = new Map<Tensor, number>();
  for (const { output, segment } of graph.nodes) {
    if (output.origin === "op") madeIn.set(output, partOf(segment));
  }
  const crossing = ({ id, shape, perToken }: Tensor): Crossing => ({
    name: `crossing.${id}`,
    width: elements(perToken ? shape.slice(1) : shape),
    perToken,
  });
  const read = new Set<Tensor>();
  for (const { inputs, segment } of graph.nodes) {
    for (const it of inputs) if ((madeIn.get(it) ?? Infinity) < partOf(segment)) read.add(it);
  }
  const parts = new Set(graph.segments.map(partOf));
  return Array.from(parts, (part) => {
    const receives: Crossing[] = [], leaving: [string, Tensor][] = [];
    const own = copyGraph(graph, (node, copy) => {
      copy.keep(node);
      if (read.has(node.output)) {
        leaving.push([crossing(node.output).name, copy.of(node.output)]);
      }
    }, {
      nodes: graph.nodes.filter(({ segment }) => partOf(segment) === part),
      enter(tensor, own) {
        const { name } = crossing(tensor), { shape, perToken } = tensor;
        receives.push(crossing(tensor));
        const extents = perToken ? ["tokens" as const, ...shape.slice(1)] : shape;
        return own.input(name, extents as Extents);
      },
    });
    for (const [name, tensor] of leaving) own.output(name, tensor);
    return { part, graph: own, receives };
  });
}
