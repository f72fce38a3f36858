/**
 * Running a model section by section on texts, with weights that may change on the way.
 *
 * @module
 */

import { ModelError } from "../errors.ts";
import { quote } from "../escape.ts";
import type { BackendName, TensorData } from "../runtime/backends/backend.ts";
import { openBackend } from "../runtime/backends/create.ts";
import { placeGraphs } from "../runtime/backends/placement.ts";
import { runGraph } from "../runtime/backends/run_graph.ts";
import { loadWeights } from "../runtime/engine/load_weights.ts";
import { recordProgram, rulesOf } from "../runtime/engine/record.ts";
import { copyGraph } from "../runtime/graph/copy.ts";
import type { Graph } from "../runtime/graph/graph.ts";
import { type ResolvedModel, resolveModel } from "../runtime/engine/resolve.ts";
import type { ModelFile } from "../runtime/files/model_file.ts";
import type { Program, RunPart } from "../runtime/models/program.ts";
import type { WeightsOption } from "../runtime/models/weights.ts";
import { addProducts, mirror, noProducts, type Products } from "./products.ts";
import { type Section, sectionsOf } from "./sections.ts";

/** A way of making sums over the inputs of matrices. */
export interface SumsKind<T> {
  /** Sums of nothing, of so many columns. */
  none(columns: number): T;
  /** Adds inputs `[count, columns]`, and what they would be without any rounding. */
  add(sums: T, inputs: Float32Array, exact: Float32Array): void | Promise<void>;
  /** After the last. */
  end(sums: T): void;
  /** Gives back, when it is disposed of, the room that sums have taken since. */
  room(): Disposable;
}

/** The definition. */
export const DEFINITION: SumsKind<Products> = {
  ...{ none: noProducts, add: addProducts, end: mirror },
  room: () => ({ [Symbol.dispose]: () => {} }),
};

/** Texts on their way through a model, and the weights that they meet. */
export interface Stream {
  /** Ids of each text. */
  readonly ids: readonly (readonly number[])[];
  /** What sections have given for each text, by name. */
  readonly results: Map<string, Float32Array>[];
  /** The model, its weights as they shall be multiplied with. */
  readonly model: ResolvedModel;
}

/** A model that is run section by section. */
export interface Layers {
  readonly sections: readonly Section[];
  readonly program: Program;
}

/** Texts at the beginning of a model. */
export function streamOf(ids: readonly (readonly number[])[], model: ResolvedModel): Stream {
  return { ids, results: ids.map(() => new Map()), model };
}

/** Most tokens of a text that a model reads. */
const TEXT_TOKENS = 512;

/** A model with all weights in f32, for texts of as many tokens as it has positions, at most 512. */
export async function resolveForTexts(file: ModelFile): Promise<ResolvedModel> {
  const { config } = await resolveModel(file, { weights: "f32" }, () => {});
  const tokens = Math.min(TEXT_TOKENS, config.maxPositions);
  const sizes = { contextLength: tokens, sequences: 1, chunk: tokens, cacheType: "f32" } as const;
  return await resolveAgain(file, { sizes });
}

/** The same model from a file some of whose tensors are others, or with weights in another layout. */
export function resolveAgain(
  file: ModelFile,
  { sizes }: Pick<ResolvedModel, "sizes">,
  weights: WeightsOption = "f32",
): Promise<ResolvedModel> {
  return resolveModel(file, { ...sizes, weights }, () => {});
}

/**
 * The sections of a model.
 *
 * @throws ModelError when it does not write texts from left to right
 */
export function layersOf(name: string, model: ResolvedModel): Layers {
  const { encode, decode } = model.programs;
  const program = decode && !encode ? decode : !decode && encode;
  if (!program) {
    throw new ModelError(
      `Cannot calibrate ${
        quote(name)
      }: it is an encoder–decoder, whose texts would need sources; use ` +
        `method "nearest"`,
    );
  }
  return { program, sections: sectionsOf(graphOf(program, model)) };
}

/** The graph of a program of a model for its longest texts. */
function graphOf(program: Program, { programs, weights, sizes }: ResolvedModel): Graph {
  const isDecoder = program === programs.decode;
  return recordProgram(program, weights, sizes, {
    ...{ tokens: sizes.chunk, rows: "all" },
    ...(isDecoder && { names: ["logits"] }),
  });
}

/** Names of the weights that are in none of a model's layers: tables of words and positions, heads. */
export function weightsOutside(model: ResolvedModel): Set<string> {
  const names = new Set<string>(), { encode, decode } = model.programs;
  for (const program of [encode, decode]) {
    for (const { inputs, segment } of program ? graphOf(program, model).nodes : []) {
      if (segment.layer !== undefined) continue;
      for (const { origin, name } of inputs) if (origin === "weight") names.add(name);
    }
  }
  return names;
}

/** Where sections run. */
export interface RunOptions {
  readonly backend: BackendName;
  /** Worker threads; all cores where absent. */
  readonly threads?: number;
  readonly signal?: AbortSignal | undefined;
}

/** Has the texts of a stream go on through a section. */
export async function advance(
  { program }: Layers,
  section: Section,
  stream: Stream,
  { signal, ...where }: RunOptions,
): Promise<void> {
  await using compiled = await compileGraph(section.through, stream, where);
  for (const i of stream.ids.keys()) {
    signal?.throwIfAborted();
    const { results } = await runText(program, section.through, section, stream, compiled, i);
    goOn(section, stream, i, results);
  }
}

/**
 * Sums over what the matrices of a section are multiplied with in the stream `rounded`, by the name of
 * the input; and over how far that is from what `exact` has there, a stream of the same texts, which
 * goes on through the section unless that is the last one.
 */
export function sumProducts(
  layers: Layers,
  section: Section,
  rounded: Stream,
  exact: Stream,
  options: RunOptions,
): Promise<ReadonlyMap<string, Products>> {
  return sumInputs(layers, section, rounded, exact, options, DEFINITION, false);
}

/** As `sumProducts`, with another kind of sums. */
export async function sumInputs<T>(
  { program }: Layers,
  section: Section,
  rounded: Stream,
  exact: Stream,
  { signal, ...where }: RunOptions,
  kind: SumsKind<T>,
  isLast: boolean,
): Promise<ReadonlyMap<string, T>> {
  const sums = new Map<string, T>();
  for (const { by, weight } of section.multiplied) {
    // Experts' inputs have several rows for each token.
    const columns = rounded.model.weights.get(weight)!.shape.at(-1)!;
    if (!sums.has(by)) sums.set(by, kind.none(columns));
  }
  const graph = isLast ? section.inputs : section.graph;
  await using compiled = await compileGraph(section.inputs, rounded, where);
  await using compiledExact = await compileGraph(graph, exact, where);
  for (const i of rounded.ids.keys()) {
    signal?.throwIfAborted();
    const found = await runText(program, section.inputs, section, rounded, compiled, i);
    const wanted = await runText(program, graph, section, exact, compiledExact, i);
    for (const [name, it] of sums) {
      await kind.add(it, found.valueOf(name), wanted.valueOf(name));
    }
    if (!isLast) goOn(section, exact, i, wanted.results);
  }
  sums.values().forEach((it) => kind.end(it));
  return sums;
}

/** Forgets what no section from number `next` on takes. */
export function forget({ sections }: Layers, { results }: Stream, next: number): void {
  const taken = new Set(sections.slice(next).flatMap((it) => it.entering));
  for (const text of results) {
    for (const name of text.keys()) if (!taken.has(name)) text.delete(name);
  }
}

/** Keeps what later sections take of one text. */
export function goOn(
  { leaving }: Section,
  { results }: Stream,
  text: number,
  given: Readonly<Record<string, Float32Array>>,
): void {
  for (const name of leaving) results[text]!.set(name, given[name]!);
}

/** A graph of a section, ready to run. */
export interface CompiledGraph extends AsyncDisposable {
  run(inputs: Readonly<Record<string, TensorData>>, tokens: number): Promise<Results>;
}

/** What a graph gives, by name. */
export type Results = Record<string, Float32Array>;

/** A graph of no ops. */
const NOTHING: CompiledGraph = {
  run: () => Promise.resolve({}),
  [Symbol.asyncDispose]: () => Promise.resolve(),
};

/** Compiles a graph of a section with the weights that a stream's model has. */
export async function compileGraph(
  graph: Graph,
  { model }: Stream,
  { backend: name, threads }: Pick<RunOptions, "backend" | "threads">,
): Promise<CompiledGraph> {
  if (graph.nodes.length === 0) return NOTHING;
  const used = new Set(
    graph.nodes.flatMap(({ inputs }) => inputs.filter((it) => it.origin === "weight"))
      .map((it) => it.name),
  );
  const weights = new Map(Array.from(used, (it) => [it, model.weights.get(it)!]));
  const own = copyGraph(graph, ({ inputs, ...node }, copy) => {
    for (const it of inputs) {
      if (it.origin !== "weight" || it.role !== "matrix" || copy.has(it)) continue;
      copy.set(
        it,
        copy.graph.matrix(it.name, [it.shape[0]!, it.shape[1]!], weights.get(it.name)!.layout),
      );
    }
    copy.keep({ inputs, ...node });
  });
  const backend = await openBackend(name, threads === undefined ? {} : { threads });
  try {
    const placement = placeGraphs(backend, [own]);
    await loadWeights(weights, backend);
    const executable = placement.compile(own);
    return {
      run: (inputs, tokens) => runGraph(executable, own, Object.entries(inputs), tokens),
      [Symbol.asyncDispose]: () => backend.dispose(),
    };
  } catch (error) {
    await backend.dispose();
    throw error;
  }
}

/** Runs a graph of a section on one text of a stream. */
export async function runText(
  program: Program,
  graph: Graph,
  { entering }: Section,
  { ids, results: given }: Stream,
  compiled: CompiledGraph,
  text: number,
): Promise<{ results: Results; valueOf: (name: string) => Float32Array }> {
  const known = new Set(graph.tensors.filter((it) => it.origin === "input").map((it) => it.name));
  const inputs: Record<string, Float32Array | Int32Array> = inputsOf(program, known, ids[text]!);
  const entered = given[text]!;
  for (const name of entering) if (known.has(name)) inputs[name] = entered.get(name)!;
  const results = await compiled.run(inputs, ids[text]!.length);
  return { results, valueOf: (name) => results[name] ?? entered.get(name)! };
}

/** Numbers of the inputs that a section has of its model, for one text that runs as a whole. */
function inputsOf(
  program: Program,
  known: ReadonlySet<string>,
  ids: readonly number[],
): Record<string, Int32Array> {
  const part: RunPart = {
    sequence: { ids },
    position: 0,
    count: ids.length,
    offset: 0,
    firstRow: 0,
  };
  const inputs: Record<string, Int32Array> = {};
  for (const { name, step, fill } of rulesOf(program)) {
    if (!known.has(name)) continue;
    const numbers = inputs[name] = new Int32Array(ids.length * step.length);
    ids.forEach((_, i) => fill(part, i, numbers, i * step.length));
  }
  return inputs;
}
