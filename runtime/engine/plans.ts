/**
 * A model's programs on one backend: recorded, placed, compiled when they are first needed, and run.
 * It knows neither turns nor sessions, and of tokens only what the programs' rules make of them.
 *
 * @module
 */

import { InputError, ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { elements } from "../../kernels/op.ts";
import type { Backend, Executable } from "../backends/backend.ts";
import { eventLoop } from "../backends/event_loop.ts";
import { pruneGraph } from "../graph/copy.ts";
import type { Graph } from "../graph/graph.ts";
import { rowsInput } from "../graph/row_inputs.ts";
import type {
  InputRule,
  Output,
  Program,
  ProgramName,
  Programs,
  RunPart,
  Sequence,
} from "../models/program.ts";
import { placeGraphs, type Placement } from "../backends/placement.ts";
import {
  blankRows,
  mostRunTokens,
  type PlanSizes,
  type ProgramGraphs,
  programGraphs,
  programNames,
  recordProgram,
  rulesOf,
  sequenceRows,
} from "./record.ts";
import type { RowCounts } from "./requests.ts";
import { RunAhead } from "./run_ahead.ts";
import type { TableRows } from "./table_rows.ts";
import type { ResolvedWeights } from "../models/weights.ts";

/** What generation asks for. */
export const LAST_LOGITS: Output = { program: "decode", names: ["logits"], rows: "last" };

/** All-token outputs are computed in smaller chunks, because their rows are as wide as the vocabulary. */
const ALL_ROWS_CHUNK = 64;
/** Most sequences of which one token each runs together. */
const MOST_BATCH = 64;
/**
 * Most tokens of texts that an encoder reads together, and most numbers of their results: with more,
 * a token costs no less, and memory and whoever waits pay for it.
 */
const MOST_TOGETHER = 512, MOST_NUMBERS = 2 ** 22;

/** What a model consists of, wherever it runs. */
export interface ModelParts {
  /** What it does. */
  readonly programs: Programs;
  /** Its weights. */
  readonly weights: ResolvedWeights;
  /** How plans are sized. */
  readonly sizes: PlanSizes;
  /** What its memory was counted by, where that was done; recorded here where absent. */
  readonly graphs?: ProgramGraphs | undefined;
  /** Those of its tables that are in its files. */
  readonly tables?: TableRows | undefined;
}

/** Programs on a backend. */
export class Plans {
  readonly #programs: Programs;
  readonly #weights: ResolvedWeights;
  readonly #backend: Backend;
  readonly #sizes: PlanSizes;
  readonly #placement: Placement;
  /** Each program for one token: what memory was given by, and what runs one token. */
  readonly #graphs: ProgramGraphs;
  /** Elements of a row of each result, by program and name. */
  readonly #widths = new Map<string, number>();
  readonly #executables = new Map<string, Executable>();
  /** Caches that keep a sequence, by name: whether they hold its source, as an encoder read it. */
  readonly #caches: ReadonlyMap<string, boolean>;
  readonly #tables: TableRows | undefined;
  /** Names of the tables in files that each program reads. */
  readonly #tablesOf: ReadonlyMap<ProgramName, readonly string[]>;
  /** Whether a token's numbers are the same to the bit, whichever others run with it. */
  readonly isSteady: boolean;
  /** Runs of which the backend chooses the tokens. */
  readonly ahead: RunAhead;

  /** Gives every weight and cache its memory; the weights are written afterwards. */
  constructor({ programs, weights, sizes, ...parts }: ModelParts, backend: Backend) {
    this.#programs = programs;
    this.#weights = weights;
    this.#backend = backend;
    this.#sizes = sizes;
    const graphs = parts.graphs ?? programGraphs(programs, weights, sizes);
    for (const [program, { outputs }] of graphs) {
      for (const [name, { shape }] of outputs) {
        this.#widths.set(`${program} ${name}`, elements(shape) / shape[0]!);
      }
    }
    const given = Array.from(graphs, ([name, graph]) => [name, withFewestOutputs(graph)] as const);
    this.#graphs = new Map(given);
    this.#placement = placeGraphs(backend, Array.from(this.#graphs.values()));
    this.#tables = parts.tables;
    const inFile = Array.from(weights.values()).filter((it) => it.inFile).map((it) => it.name);
    this.#tablesOf = new Map(Array.from(graphs, ([program, { tensors }]) => {
      const inputs = new Set(tensors.map(({ name }) => name));
      return [program, inFile.filter((name) => inputs.has(rowsInput(name)))];
    }));
    this.ahead = new RunAhead({
      backend: backend.name,
      // The rows of a word that the backend has chosen are not there.
      decode: this.#tablesOf.get("decode")?.length ? undefined : programs.decode,
      logits: LAST_LOGITS.names[0]!,
      executable: () => this.#executable(1, LAST_LOGITS),
      write: (executable, start) => this.#write(executable, "decode", [start], "last"),
    });
    const decoder = graphs.get("decode"), encoder = graphs.get("encode");
    const source = new Set(encoder?.tensors.map(({ name }) => name));
    this.#caches = new Map(
      decoder?.tensors.filter(({ origin }) => origin === "cache")
        .map(({ name }) => [name, source.has(name)]),
    );
    this.isSteady = decoder !== undefined && backend.isSteady(decoder);
  }

  /** Number of memories that the model spans. */
  get stages(): number {
    return this.#placement.stages;
  }

  /** Rows of one sequence in the caches. */
  get sequenceRows(): number {
    return sequenceRows(this.#sizes, this.#programs.decode ?? {});
  }

  /** Those of them before the row of its first token. */
  get blankRows(): number {
    return blankRows(this.#programs.decode ?? {});
  }

  /** Most tokens of texts that an encoder reads in one run, where there are several. */
  together(output: Output): number {
    const numbers = Math.floor(MOST_NUMBERS / Math.max(1, this.width(output)));
    return Math.max(1, Math.min(MOST_TOGETHER, numbers, mostRunTokens(this.#sizes)));
  }

  /** Sequences of which one token each runs together at most. */
  get batch(): number {
    return Math.min(this.#sizes.sequences, MOST_BATCH);
  }

  /** Leading tokens of a sequence that must share one run. */
  whole(sequence: Sequence): number {
    return this.#programs.decode?.whole?.(sequence) ?? 0;
  }

  /** Whether a program gives a result of that name. */
  gives(program: ProgramName, name: string): boolean {
    return this.#widths.has(`${program} ${name}`);
  }

  /**
   * Elements of a row of an output.
   *
   * @throws ModelError when the model has no such output
   */
  width({ program, names }: Output): number {
    return names.reduce((sum, name) => sum + this.#widthOf(program, name), 0);
  }

  #widthOf(program: ProgramName, name: string): number {
    const width = this.#widths.get(`${program} ${name}`);
    if (width !== undefined) return width;
    const known = Array.from(this.#widths.keys(), (it) => quote(it)).join(", ");
    throw new ModelError(
      `Cannot compute ${quote(`${program} ${name}`)}: this model gives ${known || "nothing"}`,
    );
  }

  /** Tokens of one sequence that run together where nothing else is needed. */
  chunk({ program, rows }: Output): number {
    if (this.#programs[program]?.apart) return 1;
    const { chunk } = this.#sizes;
    return rows === "all" ? Math.min(chunk, ALL_ROWS_CHUNK) : chunk;
  }

  /** Compiles the plans of generation, so that the first token does not wait for it. */
  prepare(): void {
    if (!this.#programs.decode) return;
    this.#executable(1, LAST_LOGITS);
    this.#executable(this.#sizes.chunk, LAST_LOGITS);
  }

  /**
   * Runs parts of sequences together. Returns the rows of the output: of all their tokens, or one row
   * for each part; nothing where it is not wanted.
   */
  async forward(
    parts: readonly RunPart[],
    output: Output,
    wanted: boolean,
  ): Promise<Float32Array> {
    const tokens = parts.reduce((sum, { count }) => sum + count, 0);
    // Several parts have a row each to give; a plan that gives all rows serves any number of them.
    const rows = parts.length > 1 || tokens === 1 ? "all" : output.rows;
    const capacity = this.#capacity(tokens, output, parts.length);
    const executable = this.#executable(capacity, { ...output, rows });
    this.ahead.forget();
    this.#write(executable, output.program, parts, rows);
    await this.#writeRows(executable, output.program, parts);
    const { names, program } = output;
    if (rows !== "all" && names.length > 0) {
      executable.write("outputRows", Int32Array.of(rows === "first" ? 0 : tokens - 1));
    }
    await executable.run(tokens);
    if (!wanted || names.length === 0) return new Float32Array(0);
    const count = rows === "all" ? tokens : 1;
    const found = beside(
      await Promise.all(
        names.map((name) => executable.read(name, count * this.#widthOf(program, name))),
      ),
      count,
    );
    if (parts.length === 1 || output.rows === "all") return found;
    const width = this.width(output);
    const picked = new Float32Array(parts.length * width); // [parts, width]
    parts.forEach(({ offset, count }, i) => {
      const row = output.rows === "first" ? offset : offset + count - 1;
      picked.set(found.subarray(row * width, (row + 1) * width), i * width);
    });
    return picked;
  }

  /** How the backend stores rows of caches. */
  get cacheForm(): string {
    return this.#backend.cacheRows.form;
  }

  /** Copies the first rows of a sequence to another one. */
  async copyRows(from: number, to: number, counts: RowCounts): Promise<void> {
    for (const [name, rows] of this.#rowsOf(counts)) {
      this.#backend.cacheRows.copy(name, from, to, rows);
      await eventLoop(); // many megabytes of a long prefix
    }
  }

  /** Bytes of the first rows of a sequence in all caches. */
  rowBytes(counts: RowCounts): number {
    return this.#rowsOf(counts)
      .reduce((sum, [name, rows]) => sum + this.#backend.cacheRows.bytes(name, rows), 0);
  }

  /** Reads the first rows of a sequence into bytes of that length, cache after cache. */
  async readRows(from: number, counts: RowCounts, into: Uint8Array): Promise<void> {
    let at = 0;
    for (const [name, rows] of this.#rowsOf(counts)) {
      const bytes = await this.#backend.cacheRows.read(name, from, rows);
      into.set(bytes, at);
      at += bytes.length;
      await eventLoop();
    }
  }

  /** Writes the first rows of a sequence, as `readRows` gave them. */
  async writeRows(to: number, counts: RowCounts, bytes: Uint8Array): Promise<void> {
    let at = 0;
    for (const [name, rows] of this.#rowsOf(counts)) {
      const length = this.#backend.cacheRows.bytes(name, rows);
      await this.#backend.cacheRows.write(name, to, rows, bytes.subarray(at, at += length));
      await eventLoop();
    }
  }

  /** Rows of each cache that has any. */
  #rowsOf({ tokens, source }: RowCounts): (readonly [cache: string, rows: number])[] {
    return Array.from(
      this.#caches,
      ([name, isOfSource]) => [name, isOfSource ? source : tokens] as const,
    ).filter(([, rows]) => rows > 0);
  }

  #program(name: ProgramName): Program {
    const program = this.#programs[name];
    if (program) return program;
    throw new InputError(
      `Cannot ${name} with this model: it can ${programNames(this.#programs).join(", ")}`,
    );
  }

  /** Tokens that the plan for a run has room for: few sizes, so that few plans are compiled. */
  #capacity(tokens: number, output: Output, parts: number): number {
    if (tokens === 1) return 1;
    let capacity = parts > 1 && output.program === "decode" ? this.batch : this.chunk(output);
    while (capacity < tokens) capacity *= 2;
    return Math.min(capacity, mostRunTokens(this.#sizes));
  }

  /** Writes what the rules say of the tokens of a run; one row is that of the first or last of one part. */
  #write(
    executable: Executable,
    program: ProgramName,
    parts: readonly RunPart[],
    rows: Output["rows"],
  ): void {
    for (const rule of rulesOf(this.#program(program))) {
      if (rule.ofResults && rows !== "all") {
        const part = parts[0]!, one = new Int32Array(rule.step.length);
        rule.fill(part, rows === "first" ? 0 : part.count - 1, one, 0);
        executable.write(rule.name, one);
      } else executable.write(rule.name, numbersOf(rule, parts));
    }
  }

  /** Writes the rows of the words of a run, of tables that are in files. */
  async #writeRows(
    executable: Executable,
    program: ProgramName,
    parts: readonly RunPart[],
  ): Promise<void> {
    const tables = this.#tablesOf.get(program)!;
    if (tables.length === 0) return;
    const ids = numbersOf(this.#program(program).ids, parts);
    for (const name of tables) {
      executable.write(rowsInput(name), await this.#tables!.read(name, ids));
    }
  }

  #executable(tokens: number, { program, names, rows }: Output): Executable {
    const key = `${program} ${names} ${rows === "all" || tokens === 1 ? "all" : "one"} ${tokens}`;
    let executable = this.#executables.get(key);
    if (!executable) {
      const rules = this.#program(program), options = { tokens, rows, names };
      const known = this.#graphs.get(program)!,
        isKnown = names.every((it) => known.outputs.has(it));
      const graph = tokens === 1 && isKnown
        ? known
        : recordProgram(rules, this.#weights, this.#sizes, options);
      // Without a result, what is left is what writes the caches.
      const needed = pruneGraph(graph, { stores: names.length === 0, outputs: names });
      this.#executables.set(key, executable = this.#placement.compile(needed));
    }
    return executable;
  }
}

/**
 * A graph with the logits as its only output where there are logits: other results are hidden states
 * that few ask for, and a step that makes an output cannot be fused with the next one.
 */
function withFewestOutputs(graph: Graph): Graph {
  const { names } = LAST_LOGITS;
  return names.every((it) => graph.outputs.has(it)) ? graph.withOutputs(names) : graph;
}

/** What a rule says of the tokens of a run. */
function numbersOf(rule: InputRule, parts: readonly RunPart[]): Int32Array {
  const width = rule.step.length;
  const tokens = parts.reduce((sum, { count }) => sum + count, 0);
  const data = new Int32Array(tokens * width);
  let at = 0;
  for (const part of parts) {
    for (let i = 0; i < part.count; i++, at += width) rule.fill(part, i, data, at);
  }
  return data;
}

/** Several results with as many rows each as one, the first result's columns first. */
function beside(results: readonly Float32Array[], rows: number): Float32Array {
  if (results.length === 1) return results[0]!;
  const widths = results.map(({ length }) => length / rows);
  const width = widths.reduce((a, b) => a + b, 0);
  const all = new Float32Array(rows * width);
  let column = 0;
  results.forEach((result, i) => {
    for (let row = 0; row < rows; row++) {
      all.set(result.subarray(row * widths[i]!, (row + 1) * widths[i]!), row * width + column);
    }
    column += widths[i]!;
  });
  return all;
}
