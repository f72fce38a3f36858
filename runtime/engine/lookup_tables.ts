/**
 * Tables of words that are only looked up, and where they are: in memory, or in the file, of which a
 * row is read for each word. What is also the output head is in memory in any case.
 *
 * @module
 */

import { quote } from "../../escape.ts";
import { lookedUpTables } from "../graph/row_inputs.ts";
import type { Warn } from "../models/fields.ts";
import { type ResolvedWeight, weightBytes } from "../models/weights.ts";
import { programGraphs } from "./record.ts";
import type { ResolvedModel } from "./resolve.ts";
import { hasRows } from "./table_rows.ts";

/** Where tables of words are that are only looked up. */
export type LookupTables = "memory" | "file";

/** Every value of `LookupTables`. */
export const LOOKUP_TABLES: readonly LookupTables[] = ["memory", "file"];

/** From how many bytes on they stay in the file where nobody says otherwise. */
const LEAST_BYTES = 2 ** 28;

/** Who says where tables are. */
export interface TableChoice {
  /** What was asked for. Where absent, large tables of a decoder stay in the file. */
  readonly lookupTables?: LookupTables | undefined;
  /** Whether the processor chooses tokens, so that it knows each before its run begins. */
  readonly isHosted: boolean;
  /** Whether numbers may not depend on where the model is read from. */
  readonly reproducible?: boolean | undefined;
}

/** Who is told that a choice has no effect, and what the model is called. */
export interface TableNotes {
  /** Path or URL of the model. */
  readonly name: string;
  /** Gets a sentence. */
  readonly warn: Warn;
}

/**
 * The model with those of its tables marked that stay in the file: they have the file's own numbers then,
 * whatever `wordTables` says. By itself only what is large and gets one word after another does: many
 * words of many texts, as an encoder reads them, would wait for the file.
 */
export function withTablesInFile<M extends ResolvedModel>(
  model: M,
  { lookupTables: wanted, isHosted, reproducible = false }: TableChoice,
  notes?: TableNotes,
): M {
  const byDefault = isHosted && model.programs.encode === undefined;
  if (wanted === "memory" || wanted === undefined && !byDefault) return model;
  const most = Array.from(model.weights.values(), ({ asIs, ...it }) => weightBytes(asIs ?? it))
    .reduce((sum, it) => sum + it, 0);
  // Small models load faster than their graphs are looked through.
  if (wanted === undefined && most < LEAST_BYTES) return model;
  const tables = tablesOf(model);
  // In memory a layout may round them, and only a local file has rows to read.
  const isSame = ({ name }: ResolvedWeight): boolean => {
    const { exact, asIs } = model.weights.get(name)!;
    return exact && !asIs;
  };
  const readable = tables.filter((it) =>
    hasRows(it) && (wanted === "file" || !reproducible || isSame(it))
  );
  if (wanted === "file" && readable.length === 0) {
    notes?.warn(
      `lookupTables "file" has no effect on ${quote(notes.name)}: ` +
        (tables.length === 0
          ? `its table of words is its output head, too`
          : `its table of words lies in no local file row by row`),
    );
  }
  const bytes = readable.reduce((sum, it) => sum + weightBytes(it), 0);
  if (readable.length === 0 || wanted === undefined && bytes < LEAST_BYTES) return model;
  return {
    ...model,
    weights: new Map([...model.weights, ...readable.map((it) => [it.name, it] as const)]),
  };
}

/** The tables of words that are only looked up, as they are where they stay in the file. */
function tablesOf({ programs, weights, sizes }: ResolvedModel): ResolvedWeight[] {
  const graphs = Array.from(
    programGraphs(programs, weights, sizes),
    ([name, graph]) => ({
      found: lookedUpTables(graph, programs[name]!.ids.name),
      read: new Set(graph.nodes.flatMap(({ inputs }) => inputs.map((it) => it.name))),
    }),
  );
  const tables = new Map(graphs.flatMap(({ found }) => Array.from(found)));
  return Array.from(tables).filter(([name, firstId]) =>
    graphs.every(({ found, read }) => !read.has(name) || found.get(name) === firstId)
  ).map(([name, firstId]) => {
    const { asIs, ...weight } = weights.get(name)!, own = asIs ?? weight;
    // What no layout keeps is read as f32.
    const layout = own.exact ? own.layout : "f32";
    return { ...own, layout, exact: true, inFile: { firstId } };
  });
}

/** Bytes of the tables that stay in the file. */
export function bytesInFile({ weights }: Pick<ResolvedModel, "weights">): number {
  return Array.from(weights.values()).filter((it) => it.inFile)
    .reduce((sum, it) => sum + weightBytes(it), 0);
}
