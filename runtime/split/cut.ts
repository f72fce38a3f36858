/**
 * A graph in parts that different backends run: what one part makes and a later one reads is an
 * output of the first and an input of the second.
 *
 * @module
 */

import { elements } from "../../kernels/op.ts";
import { type Extents, Graph, type Tensor } from "../graph.ts";

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
  /** The graph. Its segments are numbered anew. */
  readonly graph: Graph;
  /** What it needs of earlier parts. */
  readonly receives: readonly Crossing[];
}

/**
 * Divides a graph.
 *
 * @param partOf part of each segment, non-decreasing from 0
 */
export function cutGraph(graph: Graph, partOf: readonly number[]): GraphPart[] {
  const madeIn = new Map<Tensor, number>();
  for (const { output, segment } of graph.nodes) {
    if (output.origin === "op") madeIn.set(output, partOf[segment]!);
  }
  const crossing = ({ id, shape, perToken }: Tensor): Crossing => ({
    name: `crossing.${id}`,
    width: elements(perToken ? shape.slice(1) : shape),
    perToken,
  });
  const read = new Set<Tensor>();
  for (const { inputs, segment } of graph.nodes) {
    for (const it of inputs) if ((madeIn.get(it) ?? Infinity) < partOf[segment]!) read.add(it);
  }
  return Array.from({ length: partOf.at(-1)! + 1 }, (_, part) => {
    const own = new Graph({ tokens: graph.tokens });
    const copies = new Map<Tensor, Tensor>();
    const receives: Crossing[] = [];
    const copyOf = (tensor: Tensor): Tensor => {
      let copy = copies.get(tensor);
      if (!copy) {
        if (tensor.origin === "op") {
          const { name } = crossing(tensor), { shape, perToken } = tensor;
          receives.push(crossing(tensor));
          const extents = perToken ? ["tokens" as const, ...shape.slice(1)] : shape;
          copy = own.input(name, extents as Extents);
        } else copy = own.adopt(tensor);
        copies.set(tensor, copy);
      }
      return copy;
    };
    const first = partOf.indexOf(part);
    for (const { op, inputs, attrs, output, segment } of graph.nodes) {
      if (partOf[segment] !== part) continue;
      while (own.segments <= segment - first) own.cut();
      copies.set(output, own.op(op, inputs.map(copyOf), attrs as never));
    }
    for (const tensor of read) {
      if (madeIn.get(tensor) === part) own.output(crossing(tensor).name, copyOf(tensor));
    }
    for (const [name, tensor] of graph.outputs) {
      if (madeIn.get(tensor) === part) own.output(name, copyOf(tensor));
    }
    return { graph: own, receives };
  });
}
