/**
 * A graph in sections, segments in a row, that different backends run: what one section makes and a later one reads is an
 * output of the first and an input of the second.
 *
 * @module
 */

import { elements } from "../../../kernels/op.ts";
import { copyGraph } from "../../graph/copy.ts";
import type { Extents, Graph, Segment, Tensor } from "../../graph/graph.ts";

/** A result that crosses from one section to a later one, under one name in both. */
export interface Crossing {
  /** Output of the section that makes it, input of those that read it. */
  readonly name: string;
  /** Elements for each token, or in all where it is not per token. */
  readonly width: number;
  /** Whether it has a row for each token. */
  readonly perToken: boolean;
}

/** Some segments of a graph as a graph of their own. */
export interface GraphSection {
  /** Its number: sections run in the order of their numbers. */
  readonly section: number;
  /** The graph, whose segments keep their names. */
  readonly graph: Graph;
  /** What it needs of earlier sections. */
  readonly receives: readonly Crossing[];
}

/**
 * Divides a graph; sections without ops are left out.
 *
 * @param sectionOf section of each segment, non-decreasing
 */
export function cutGraph(graph: Graph, sectionOf: (segment: Segment) => number): GraphSection[] {
  const madeIn = new Map<Tensor, number>();
  for (const { output, segment } of graph.nodes) {
    if (output.origin === "op") madeIn.set(output, sectionOf(segment));
  }
  const crossing = ({ id, shape, perToken }: Tensor): Crossing => ({
    name: `crossing.${id}`,
    width: elements(perToken ? shape.slice(1) : shape),
    perToken,
  });
  const read = new Set<Tensor>();
  for (const { inputs, segment } of graph.nodes) {
    for (const it of inputs) if ((madeIn.get(it) ?? Infinity) < sectionOf(segment)) read.add(it);
  }
  const sections = new Set(graph.segments.map(sectionOf));
  return Array.from(sections, (section) => {
    const receives: Crossing[] = [], leaving: [string, Tensor][] = [];
    const own = copyGraph(graph, (node, copy) => {
      copy.keep(node);
      if (read.has(node.output)) {
        leaving.push([crossing(node.output).name, copy.of(node.output)]);
      }
    }, {
      nodes: graph.nodes.filter(({ segment }) => sectionOf(segment) === section),
      enter(tensor, own) {
        const { name } = crossing(tensor), { shape, perToken } = tensor;
        receives.push(crossing(tensor));
        const extents = perToken ? ["tokens" as const, ...shape.slice(1)] : shape;
        return own.input(name, extents as Extents);
      },
    });
    for (const [name, tensor] of leaving) own.output(name, tensor);
    return { section, graph: own, receives };
  });
}
