/**
 * What the rounding of each tensor costs: how far the model's predictions move when that tensor alone is
 * rounded. It is measured once for each tensor, for one type, and from there the error of each other
 * type says what that would cost: as long as errors are small, both grow alike.
 *
 * @module
 */

import { elements } from "../kernels/op.ts";
import { ggmlType, tensorBlocks } from "../quant/ggml_types.ts";
import { quantizeRows } from "../quant/quantize.ts";
import type { ResolvedModel } from "../runtime/engine/resolve.ts";
import type { Graph } from "../runtime/graph/graph.ts";
import type { ModelFile, TensorEntry } from "../runtime/files/model_file.ts";
import { openSource } from "../runtime/files/source.ts";
import { logTotal } from "../runtime/generation/log_probabilities.ts";
import { readVector } from "../runtime/models/weights.ts";
import {
  type CompiledGraph,
  compileGraph,
  forget,
  goOn,
  type Layers,
  resolveAgain,
  type RunOptions,
  runText,
  type Stream,
  streamOf,
} from "./layers.ts";
import type { Section } from "./sections.ts";

/** Tensors that get a type together: those of one weight. */
export interface TensorGroup {
  readonly tensors: readonly TensorEntry[];
  /** Types that it may get; `from` among them keeps the bytes of the source. */
  readonly types: readonly string[];
}

/** Most rows of a tensor that types are compared on. */
const COMPARED_ROWS = 64;

/** Tokens to measure on: fewer for models that take long. */
export function measuredTokens(groups: readonly TensorGroup[]): number {
  const LEAST = 32, MOST = 1024, WORK = 6e12;
  let weights = 0;
  for (const { tensors } of groups) for (const { shape } of tensors) weights += elements(shape);
  return Math.round(Math.min(MOST, Math.max(LEAST, WORK / (weights * groups.length))));
}

/** A group's texts on their way, with that group rounded. */
interface Rounded {
  stream: Stream;
  /** Error of each type. */
  readonly errors: readonly number[];
  /** How far its results are off, so far. */
  off: number;
  /** What `off` is a share of. */
  of: number;
}

/**
 * What each type of each group costs, in nats a token, as measured on texts of these ids. The sections
 * run one after another, in each the exact texts first, then those of every group that was rounded so
 * far; what no later section takes is forgotten.
 */
export async function measureCosts(
  file: ModelFile,
  model: ResolvedModel,
  layers: Layers,
  groups: readonly TensorGroup[],
  ids: readonly (readonly number[])[],
  { onSection, signal, ...where }: RunOptions & {
    readonly onSection: (name: string, i: number) => void;
  },
): Promise<number[][]> {
  const exact = streamOf(ids, model);
  const groupOf = new Map(groups.flatMap((it) => it.tensors.map(({ name }) => [name, it])));
  const groupsIn = (section: Section): Set<TensorGroup> =>
    new Set(
      weightsOf(section).flatMap((weight) =>
        model.weights.get(weight)!.tensors.flatMap((it) => groupOf.get(it) ?? [])
      ),
    );
  const rounded = new Map<TensorGroup, Rounded>();
  for (const [i, section] of layers.sections.entries()) {
    onSection(section.name, i);
    const own = groupsIn(section), next = layers.sections.slice(i + 1);
    // What earlier sections gave is the same for a group that comes in only here.
    const before = exact.results.map((it) => new Map(it));
    const others = rounded.entries().filter(([it]) => !own.has(it)).map(([, it]) => it).toArray();
    const squares = await runExact(layers, section, exact, { ...where, signal }, others);
    for (const group of own) {
      signal?.throwIfAborted();
      let met = rounded.get(group);
      if (!met) {
        const product = section.multiplied.find(({ weight }) =>
          model.weights.get(weight)!.tensors.some((it) => groupOf.get(it) === group)
        );
        const inputs = product && squares.get(product.by)!.sums;
        const { entries, errors } = await roundGroup(file, group, inputs);
        const own = await resolveAgain({ ...file, tensors: entries }, model);
        const results = before.map((it) => new Map(it));
        rounded.set(group, met = { stream: { ids, results, model: own }, errors, off: 0, of: 0 });
      }
      await using compiled = await compileGraph(section.through, met.stream, where);
      for (const text of ids.keys()) {
        await goThrough(layers, section, section.through, compiled, exact, met, text);
      }
      // Its rounded numbers are not needed again.
      if (!next.some((it) => groupsIn(it).has(group))) met.stream = { ...met.stream, model };
    }
    if (next.length === 0) break;
    for (const { stream } of [{ stream: exact }, ...rounded.values()]) {
      forget(layers, stream, i + 1);
    }
  }
  return groups.map((group) => {
    const met = rounded.get(group);
    if (!met) return group.types.map(() => 0); // no program reads it
    const base = met.errors[referenceOf(group)]!;
    return met.errors.map((error) => base > 0 ? met.off / met.of * error / base : 0);
  });
}

/** Has one text of a group go on; where it has come to the end, its results are compared and let go. */
async function goThrough(
  { program }: Layers,
  section: Section,
  graph: Graph,
  compiled: CompiledGraph,
  exact: Stream,
  met: Rounded,
  text: number,
): Promise<void> {
  const { results } = await runText(program, graph, section, met.stream, compiled, text);
  goOn(section, met.stream, text, results);
  const { vocabSize } = exact.model.config, own = met.stream.results[text]!;
  const logits = own.get("logits"), wanted = exact.results[text]!;
  if (logits) {
    const base = wanted.get("logits")!;
    for (let at = 0; at < logits.length; at += vocabSize, met.of++) {
      met.off += divergence(base.subarray(at, at + vocabSize), logits.subarray(at, at + vocabSize));
    }
    own.delete("logits"); // as large as everything else
  } else if (section.leaving.includes("hidden")) {
    // Of models that predict nothing, the share of the results' squares that is off.
    const hidden = own.get("hidden")!;
    wanted.get("hidden")!.forEach((value, i) => {
      met.off += (value - hidden[i]!) ** 2;
      met.of += value ** 2;
    });
  }
}

/** Bytes of a tensor in a type. */
export function bytesAs(type: string, { shape }: TensorEntry): number {
  const { blockSize, blockBytes } = tensorBlocks(type)!;
  return elements(shape) / blockSize * blockBytes;
}

/** Which type of a group is measured: the smallest. */
function referenceOf({ tensors, types }: TensorGroup): number {
  const sizes = types.map((it) => bytesAs(it, tensors[0]!));
  return sizes.indexOf(Math.min(...sizes));
}

function weightsOf({ graph }: Section): string[] {
  const inputs = new Set(graph.nodes.flatMap(({ inputs }) => inputs));
  return Array.from(inputs.values().filter((it) => it.origin === "weight"), ({ name }) => name);
}

/** Has the exact texts and others go on through a section; mean squares of what it multiplies with. */
async function runExact(
  layers: Layers,
  section: Section,
  exact: Stream,
  { signal, ...where }: RunOptions,
  others: readonly Rounded[],
): Promise<ReadonlyMap<string, { readonly sums: Float32Array }>> {
  const squares = new Map<string, { columns: number; sums: Float32Array }>();
  for (const { by, weight } of section.multiplied) {
    const columns = exact.model.weights.get(weight)!.shape.at(-1)!;
    squares.set(by, { columns, sums: new Float32Array(columns) });
  }
  await using compiled = await compileGraph(section.graph, exact, where);
  for (const text of exact.ids.keys()) {
    signal?.throwIfAborted();
    const { results, valueOf } = await runText(
      layers.program,
      section.graph,
      section,
      exact,
      compiled,
      text,
    );
    for (const [by, { columns, sums }] of squares) {
      valueOf(by).forEach((value, i) => sums[i % columns]! += value * value);
    }
    goOn(section, exact, text, results);
    for (const met of others) {
      await goThrough(layers, section, section.graph, compiled, exact, met, text);
    }
  }
  return squares;
}

/** The tensors of a file with a group's rounded, and the error of each of its types. */
async function roundGroup(
  file: ModelFile,
  group: TensorGroup,
  squares: Float32Array | undefined,
): Promise<{ entries: Map<string, TensorEntry>; errors: number[] }> {
  const entries = new Map(file.tensors), errors = group.types.map(() => 0);
  const type = group.types[referenceOf(group)]!;
  for (const entry of group.tensors) {
    const columns = entry.shape.at(-1)!, values = await readVector(entry);
    const importances = squares?.length === columns ? squares : new Float32Array(columns).fill(1);
    const bytes = quantizeRows(type, values, columns, { importances });
    const source = await openSource(bytes);
    entries.set(entry.name, { ...entry, type, source, offset: 0, bytes: bytes.length });
    const rows = someRows(values, columns);
    group.types.forEach((type, i) => errors[i]! += errorOf(type, entry.type, rows, importances));
  }
  return { entries, errors };
}

/** Every so many rows of a matrix. */
function someRows(values: Float32Array, columns: number): Float32Array {
  const rows = values.length / columns;
  if (rows <= COMPARED_ROWS) return values;
  const some = new Float32Array(COMPARED_ROWS * columns);
  for (let i = 0; i < COMPARED_ROWS; i++) {
    const row = Math.floor(i * rows / COMPARED_ROWS) * columns;
    some.set(values.subarray(row, row + columns), i * columns);
  }
  return some;
}

/** Σ importance · (w − ŵ)² of rows in a type; none where the source has that type. */
function errorOf(
  type: string,
  from: string,
  values: Float32Array,
  importances: Float32Array,
): number {
  if (type === from) return 0;
  const columns = importances.length, decoded = new Float32Array(values.length);
  ggmlType(type)!.decode(quantizeRows(type, values, columns, { importances }), decoded);
  return values.reduce(
    (sum, value, i) => sum + importances[i % columns]! * (value - decoded[i]!) ** 2,
    0,
  );
}

/** Kullback–Leibler divergence of the predictions of logits `q` from those of `p`, in nats. */
function divergence(p: Float32Array, q: Float32Array): number {
  const logP = logTotal(p), logQ = logTotal(q);
  let sum = 0;
  for (let i = 0; i < p.length; i++) {
    const log = p[i]! - logP;
    sum += Math.exp(log) * (log - (q[i]! - logQ));
  }
  return Math.max(0, sum); // rounding may leave less
}
