/**
 * A model's programs as graphs: with the inputs that their rules describe, and caches for as many
 * sequences as the model keeps. What a model needs in memory is read from such graphs.
 *
 * @module
 */

import { CACHE_GROUP } from "../../kernels/cache_store/op.ts";
import { type CacheType, elements } from "../../kernels/op.ts";
import { tensorBytes } from "../../kernels/shape.ts";
import { withColumnOrders } from "../graph/column_orders.ts";
import { Graph, type Tensor } from "../graph/graph.ts";
import { withRowInputs } from "../graph/row_inputs.ts";
import type { InputRule, Output, Program, ProgramName, Programs } from "../models/program.ts";
import { type ResolvedWeights, weightScope } from "../models/weights.ts";

/** How a model's memory and plans are sized. */
export interface PlanSizes {
  /** Most tokens of one sequence. */
  readonly contextLength: number;
  /** Sequences whose caches are kept at the same time. */
  readonly sequences: number;
  /** Element type of the caches. */
  readonly cacheType: CacheType;
  /** Tokens in one run of a prompt, where the model does not need more of them together. */
  readonly chunk: number;
}

/** Kernels add up by blocks of so many rows, and what a sequence gives must not depend on which it has. */
const BLOCK_ROWS = 128;

/** Rows of a sequence before that of its first token: those that stay zeros, as whole blocks. */
export function blankRows({ blankRows = 0 }: Pick<Program, "blankRows">): number {
  return Math.ceil(blankRows / BLOCK_ROWS) * BLOCK_ROWS;
}

/**
 * Rows of one sequence in the caches: whole groups of 8, as kernels store them, and whole blocks where
 * there are several sequences.
 */
export function sequenceRows(
  { contextLength, sequences }: PlanSizes,
  program: Pick<Program, "blankRows">,
): number {
  const unit = sequences > 1 ? BLOCK_ROWS : 8;
  return blankRows(program) + Math.ceil(contextLength / unit) * unit;
}

/** Most tokens of any run. */
export function mostRunTokens({ contextLength, chunk }: PlanSizes): number {
  return Math.ceil(Math.max(contextLength, chunk) / 8) * 8;
}

/** Which programs there are. */
export function programNames(programs: Programs): ProgramName[] {
  return (["encode", "decode"] as const).filter((name) => programs[name]);
}

/** The rules of all inputs of a program. */
export function rulesOf({ ids, inputs }: Program): readonly InputRule[] {
  return [ids, ...inputs];
}

/** What of a program is recorded. */
export interface RecordOptions {
  /** Most tokens of a run. */
  readonly tokens: number;
  /** Whether results are of every token, or of one that the input `outputRows` names. */
  readonly rows: Output["rows"];
  /** Which results; all where absent. */
  readonly names?: readonly string[];
}

/** Records the graph of a program with its results as outputs. */
export function recordProgram(
  program: Program,
  weights: ResolvedWeights,
  sizes: PlanSizes,
  { tokens, rows, names }: RecordOptions,
): Graph {
  const g = new Graph({ tokens });
  const inputs = Object.fromEntries(
    rulesOf(program).map(({ name, step, ofResults }) => {
      const count = ofResults && rows !== "all" ? 1 : "tokens";
      return [name, g.input(name, step.length === 1 ? [count] : [count, step.length], "i32")];
    }),
  );
  const results = program.record(g, weightScope(g, weights), {
    inputs,
    cacheRows: sizes.sequences * sequenceRows(sizes, program),
    runRows: mostRunTokens(sizes),
    cacheType: sizes.cacheType,
    wanted: (x: Tensor) =>
      rows === "all" ? x : g.op("selectRows", [x, g.input("outputRows", [1], "i32")]),
  });
  for (const [name, tensor] of Object.entries(results)) {
    if (names?.includes(name) ?? true) g.output(name, tensor);
  }
  const all = Array.from(weights.values());
  const isOrdered = all.some(({ order }) => order !== undefined);
  const ordered = isOrdered ? withColumnOrders(g, (name) => weights.get(name)?.order) : g;
  const isInFile = (name: string): boolean => weights.get(name)?.inFile !== undefined;
  return all.some(({ inFile }) => inFile) ? withRowInputs(ordered, isInFile) : ordered;
}

/** The graph of each program by which memory is counted and given. */
export type ProgramGraphs = ReadonlyMap<ProgramName, Graph>;

/** Records every program as memory sees it: for one token, with every result. */
export function programGraphs(
  programs: Programs,
  weights: ResolvedWeights,
  sizes: PlanSizes,
): ProgramGraphs {
  return new Map(
    programNames(programs).map((name) => [
      name,
      recordProgram(programs[name]!, weights, sizes, { tokens: 1, rows: "all" }),
    ]),
  );
}

/** Memory of a loaded model, in bytes. */
export interface MemoryNeeded {
  /** All weights but tables that stay in the file, in their layouts' exchange form. */
  readonly weightBytes: number;
  /** Keys and values of every sequence at full length, and those of an encoder's run. */
  readonly cacheBytes: number;
  /** Both. */
  readonly totalBytes: number;
}

/**
 * Adds up the weights and caches of a model's programs. The first `layersApart` layers do not
 * count: they are in another memory.
 */
export function memoryNeeded(graphs: ProgramGraphs, layersApart: number = 0): MemoryNeeded {
  const counted = new Map<string, Tensor>();
  for (const { nodes } of graphs.values()) {
    for (const { inputs, segment } of nodes) {
      if (segment.layer !== undefined && segment.layer < layersApart) continue;
      for (const tensor of inputs) counted.set(tensor.name, tensor);
    }
  }
  const sum = (origin: Tensor["origin"]): number =>
    Array.from(counted.values()).filter((it) => it.origin === origin)
      .reduce((bytes, it) => bytes + pinnedBytes(it), 0);
  const weightBytes = sum("weight"), cacheBytes = sum("cache");
  return { weightBytes, cacheBytes, totalBytes: weightBytes + cacheBytes };
}

/** Bytes of a weight or a cache; a cache of int8 has a scale for every group of a head's elements. */
export function pinnedBytes(tensor: Tensor): number {
  if (tensor.origin !== "cache" || tensor.dtype !== "int8") return tensorBytes(tensor);
  const headDim = tensor.shape.at(-1)!;
  return elements(tensor.shape) / headDim * (headDim + 4 * Math.ceil(headDim / CACHE_GROUP));
}
