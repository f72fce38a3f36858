/**
 * What a model needs, told from its recorded graphs before any weight is read: parameters, bytes by
 * layout, what is read for a token, and the stages of the WebAssembly backend.
 *
 * @module
 */

import { MemoryError } from "../../errors.ts";
import { formatBytes } from "../../escape.ts";
import { elements } from "../../kernels/op.ts";
import { type OpAttributes, OPS } from "../../kernels/ops.ts";
import type { LayoutName } from "../../quant/formats.ts";
import type { Backend } from "../backends/backend.ts";
import type { Graph, GraphNode, Tensor } from "../graph/graph.ts";
import { makePlan, segmentsOf } from "../graph/plan.ts";
import type { ModelFile } from "../files/model_file.ts";
import type { ProgramName } from "../models/program.ts";
import { type ResolvedWeight, weightBytes } from "../models/weights.ts";
import { memoryNeeded, pinnedBytes, programGraphs, programNames, recordProgram } from "./record.ts";
import type { ResolvedModel } from "./resolve.ts";

/** Parameters of a model. */
export interface Parameters {
  /** All of them. */
  readonly total: number;
  /** Without the experts that a token does not get. */
  readonly active: number;
}

/** Weights that share a layout. */
export interface LayoutBytes {
  readonly layout: LayoutName;
  /** Parameters in this layout. */
  readonly parameters: number;
  /** Bytes of the layout's exchange form. */
  readonly bytes: number;
  /** Parameters whose values the layout rounds. */
  readonly rounded: number;
}

/** What one run of a program reads at least, in bytes. */
export interface RunReads {
  readonly weightBytes: number;
  /** Keys and values of a full context. */
  readonly cacheBytes: number;
}

/** A part of a model in one memory. */
export interface StageNeeds {
  /** Names of its first and its last segment. */
  readonly segments: readonly [first: string, last: string];
  readonly weightBytes: number;
  readonly cacheBytes: number;
  /** Results that are held while a chunk of a prompt runs. */
  readonly workBytes: number;
}

/** How many parameters a model has. */
export function countParameters(file: ModelFile, model: ResolvedModel): Parameters {
  let total = 0;
  for (const weight of model.weights.values()) total += parametersOf(file, weight);
  const idle = new Map<string, number>(); // of experts that a token does not get, by weight
  for (const { op, inputs, attrs } of nodesOf(model)) {
    if (op !== "expertMatmul") continue;
    const [, weight, chosen] = inputs as [Tensor, Tensor, Tensor];
    const { experts } = attrs as OpAttributes["expertMatmul"];
    idle.set(weight.name, elements(weight.shape) * (1 - chosen.shape.at(-1)! / experts));
  }
  return { total, active: Array.from(idle.values()).reduce((left, it) => left - it, total) };
}

/** Parameters of the file that a weight holds; none of what follows from the configuration. */
function parametersOf(file: ModelFile, { shape, source, tensors }: ResolvedWeight): number {
  if (typeof source !== "function") return elements(shape);
  return tensors.reduce((sum, name) => sum + elements(file.tensors.get(name)!.shape), 0);
}

/** The weights in memory by the layouts that they are stored in, the most bytes first. */
export function bytesByLayout(file: ModelFile, { weights }: ResolvedModel): LayoutBytes[] {
  const held = Array.from(weights.values()).filter((it) => !it.inFile);
  const groups = Map.groupBy(held, ({ layout }) => layout);
  const sum = (members: ResolvedWeight[], of: (weight: ResolvedWeight) => number): number =>
    members.reduce((sum, it) => sum + of(it), 0);
  return Array.from(groups, ([layout, members]) => ({
    layout,
    parameters: sum(members, (it) => parametersOf(file, it)),
    bytes: sum(members, weightBytes),
    rounded: sum(members, (it) => it.exact ? 0 : parametersOf(file, it)),
  })).sort((a, b) => b.bytes - a.bytes);
}

/**
 * What a run of each program reads: of `decode` for one token, of `encode` for a whole text, whatever
 * its length. Of a table that is looked up, a row counts; of experts, those that one token gets.
 */
export function readsOf(model: ResolvedModel): Partial<Record<ProgramName, RunReads>> {
  return Object.fromEntries(
    programNames(model.programs).map((name) => {
      const run = { weightBytes: 0, cacheBytes: 0 };
      for (const node of graphOf(model, name, 1).nodes) {
        const bytes = readBy(node).map((it) => [it.origin, pinnedBytes(it)] as const);
        // What an op must move at least bounds what it reads of its weights.
        let most = OPS[node.op].cost(node.inputs, node.attrs as never).bytes;
        for (const [origin, size] of bytes.sort((a, b) => b[1] - a[1])) {
          const read = Math.min(size, most);
          run[origin === "cache" ? "cacheBytes" : "weightBytes"] += read;
          most -= read;
        }
      }
      return [name, run];
    }),
  );
}

/** Bytes of the caches for each token of the context. */
export function cacheBytesPerToken(model: ResolvedModel): number {
  const { cacheBytes } = memoryNeeded(
    programGraphs(model.programs, model.weights, model.sizes),
  );
  return cacheBytes / model.sizes.contextLength;
}

/**
 * The stages that a backend divides the model into; of one that has no memories yet, nothing is
 * placed.
 *
 * @throws MemoryError when a part that cannot be divided is larger than a stage
 */
export function stagesOf(model: ResolvedModel, backend: Backend): StageNeeds[] {
  const { programs, sizes: { chunk } } = model;
  const graphs = programNames(programs).flatMap((name) =>
    [1, chunk].map((tokens) => backend.lower(graphOf(model, name, tokens)))
  );
  const stages = backend.divide(graphs);
  const plans = graphs.map((graph) => makePlan(graph, (type) => backend.bytesOf(type), stages));
  const order = segmentsOf(graphs).map(({ name }) => name);
  return plans[0]!.stages.map((_, i) => {
    const names = order.filter((name) => stages.get(name) === i);
    const pinned = new Map(
      plans.flatMap((plan) => plan.stages[i]?.pinned ?? []).map((it) => [it.name, it]),
    );
    const sum = (origin: Tensor["origin"]): number =>
      Array.from(pinned.values()).filter((it) => it.origin === origin)
        .reduce((bytes, it) => bytes + backend.bytesOf(it), 0);
    const work = plans.map(({ stages }) =>
      (stages[i]?.slots ?? []).reduce((sum, bytes) => sum + bytes, 0)
    );
    return {
      segments: [names[0]!, names.at(-1)!],
      weightBytes: sum("weight"),
      cacheBytes: sum("cache"),
      workBytes: Math.max(...work),
    };
  });
}

/**
 * Gives whole stages, in order, to machines with so much memory each.
 *
 * @returns for each machine the numbers of its first stage and of the one past its last
 * @throws MemoryError when one stage alone is larger than a machine
 */
export function machinesFor(
  stages: readonly StageNeeds[],
  memoryBytes: number,
): [first: number, end: number][] {
  const machines: [number, number][] = [];
  let held = Infinity;
  for (const [i, { weightBytes, cacheBytes, workBytes }] of stages.entries()) {
    const bytes = weightBytes + cacheBytes + workBytes;
    if (bytes > memoryBytes) {
      throw new MemoryError(
        `Cannot place stage ${i + 1} of ${stages.length}: it takes ${formatBytes(bytes)}, a ` +
          `machine has ${
            formatBytes(memoryBytes)
          }; use a smaller weight layout or a shorter context`,
      );
    }
    if (held + bytes > memoryBytes) {
      machines.push([i, i]);
      held = 0;
    }
    held += bytes;
    machines.at(-1)![1] = i + 1;
  }
  return machines;
}

function* nodesOf(model: ResolvedModel): Iterable<GraphNode> {
  for (const name of programNames(model.programs)) yield* graphOf(model, name, 1).nodes;
}

/** The graph of a program, with results for one token. */
function graphOf(
  { programs, weights, sizes }: ResolvedModel,
  name: ProgramName,
  tokens: number,
): Graph {
  return recordProgram(programs[name]!, weights, sizes, { tokens, rows: "last" });
}

/** Weights and caches that an op reads. */
function readBy({ op, inputs }: GraphNode): Tensor[] {
  return inputs.filter(({ origin }, i) =>
    (origin === "weight" || origin === "cache") && i !== OPS[op].mutates
  );
}
