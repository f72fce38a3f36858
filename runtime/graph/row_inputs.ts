/**
 * Tables that no backend holds: where a graph looks rows up in one of them, the rows are an input.
 *
 * @module
 */

import { columnsOf } from "../../kernels/op.ts";
import type { EmbedAttributes } from "../../kernels/embed/op.ts";
import { copyGraph } from "./copy.ts";
import type { Graph } from "./graph.ts";

/** Name of the input `[tokens, columns]` with the rows of a table. */
export function rowsInput(table: string): string {
  return `${table}.rows`;
}

/**
 * The tables that a graph does nothing with but look up rows by the numbers of one input, each with the
 * id of its first row.
 *
 * @param ids name of the input
 */
export function lookedUpTables({ nodes }: Graph, ids: string): Map<string, number> {
  const tables = new Map<string, number>(), others = new Set<string>();
  for (const { op, inputs, attrs } of nodes) {
    inputs.forEach(({ name, origin }, i) => {
      if (origin !== "weight") return;
      const isLookup = op === "embed" && i === 1 && inputs[0]!.origin === "input" &&
        inputs[0]!.name === ids;
      const firstId = (attrs as EmbedAttributes).first ?? 0;
      if (!isLookup || (tables.get(name) ?? firstId) !== firstId) others.add(name);
      else tables.set(name, firstId);
    });
  }
  for (const name of others) tables.delete(name);
  return tables;
}

/** A copy of the graph that gets the rows of such tables as inputs. */
export function withRowInputs(graph: Graph, isInFile: (table: string) => boolean): Graph {
  return copyGraph(graph, (node, copy) => {
    const [, table] = node.inputs;
    if (node.op !== "embed" || !isInFile(table!.name)) return copy.keep(node);
    const rows = copy.graph.input(rowsInput(table!.name), ["tokens", columnsOf(table!)]);
    copy.set(node.output, rows);
  });
}
