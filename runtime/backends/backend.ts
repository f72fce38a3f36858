/**
 * The whole contract between the runtime and a backend. A backend stores tensors its own way and
 * runs plans; it knows nothing of models, tokens' meanings, or files.
 *
 * @module
 */

import type { TensorType } from "../../kernels/op.ts";
import type { Advance } from "../../kernels/sample/advance.ts";
import type { TokenChoice } from "../../kernels/sample/choice.ts";
import type { Transcoder } from "../../quant/transcode.ts";
import type { Graph } from "../graph/graph.ts";
import type { Plan, StageMap } from "../graph/plan.ts";
import type { CacheRows } from "./cache_rows.ts";

/** Backends that exist. */
export type BackendName = "reference" | "wasm" | "webgpu";

/** Numbers that go into and come out of a run. */
export type TensorData = Float32Array | Int32Array;

/** Where the bytes of weights come from. */
export interface WeightSource {
  /** What messages call it. */
  readonly name: string;
  /** Path of a local file that workers can open by themselves. */
  readonly path?: string | undefined;
  /** Reads bytes, into `into` where it is given. */
  read(start: number, length: number, into?: Uint8Array): Promise<Uint8Array>;
}

/** Rows of a placed weight and the range of a file that they come from. */
export interface FileRange {
  /** Name of the weight. */
  readonly name: string;
  /** First row, a multiple of 16 for a matrix. */
  readonly firstRow: number;
  /** How many; what is no matrix is one row. */
  readonly rows: number;
  /** What to read. */
  readonly source: WeightSource;
  /** First byte. */
  readonly offset: number;
  /** Length in bytes. */
  readonly bytes: number;
  /** From the file's type to the weight's layout: what the backend does in its own way. */
  readonly convert: Transcoder;
}

/** What `Backend.loadRanges` tells, and what ends it. */
export interface LoadRangesOptions {
  /** Called with the number of bytes of the file that have been stored since the last call. */
  readonly onStored: (bytes: number) => void;
  /** Ends it with its reason, when nothing is being written any more. */
  readonly signal?: AbortSignal | undefined;
}

/** Stores tensors and compiles plans. Calls are made one at a time. */
export interface Backend {
  /** As options name it; of a split model, the one with the layers. */
  readonly name: BackendName;
  /** Workers that share each step. */
  readonly threads: number;
  /** Bytes of the weights and caches that have been placed, by the backend that holds them. */
  readonly placedBytes: Readonly<Partial<Record<BackendName, number>>>;

  /** Rows of the caches that have been placed. */
  readonly cacheRows: CacheRows;

  /**
   * Whether the numbers of a token are the same to the bit, whichever and however many others run with
   * it. Depends on the graph's ops alone.
   */
  isSteady(graph: Graph): boolean;

  /** Bytes that a tensor occupies here, without the gap that may follow it. */
  bytesOf(type: TensorType): number;

  /**
   * The graph as this backend runs it: fusions, quantized activations. May be the graph itself. A
   * function of the graph alone.
   */
  lower(graph: Graph): Graph;

  /**
   * Divides the graphs of a model, as `lower` gives them, into stages that each fit one memory.
   * `reserved` bytes of each are left free.
   *
   * @throws MemoryError when a segment is larger than a stage
   */
  divide(graphs: readonly Graph[], reserved?: number): StageMap;

  /**
   * Gives the weights and caches of a plan their memory, unless an earlier plan has; those of one
   * name are the same data. Caches start as zeros.
   *
   * @throws MemoryError when they do not fit
   */
  place(plan: Plan): void;

  /**
   * Stores rows of a placed weight, in every stage that holds it. `rows` are whole rows of the
   * layout's exchange form (see quant/formats.ts); `firstRow` is a multiple of 16 for a matrix.
   */
  writeRows(name: string, firstRow: number, rows: Uint8Array): Promise<void>;

  /**
   * Where the backend can: reads weights, converts and stores them, without burdening the thread
   * that calls. `compile` may be called meanwhile.
   *
   * @throws SourceError when something cannot be read
   * @throws ModelError when a value cannot be held by its layout
   */
  loadRanges?(ranges: readonly FileRange[], options: LoadRangesOptions): Promise<void>;

  /** Prepares a plan for running. All its weights and caches must have been placed. */
  compile(plan: Plan): Executable;

  /** Ends workers and frees memory. Calls after it fail. */
  dispose(): Promise<void>;
}

export type { TokenChoice };

/** A choice for one text. */
export interface TextChoice extends TokenChoice {
  /** The tokens that were generated so far. */
  readonly generated: readonly number[];
}

/** A choice within a sequence of tokens. */
export interface AheadChoice extends TokenChoice {
  /** Number of the first random draw. */
  readonly draw: number;
  /**
   * The tokens up to the one that runs first; absent where the run goes on from the last one, whose
   * tokens are known.
   */
  readonly history?: readonly number[];
  /** Those that were generated, where `history` is there. */
  readonly generated?: readonly number[];
}

/** The part of a graph that leads from one token to the next. */
export interface TokenLoop {
  /** Output with the logits. */
  readonly logits: string;
  /** Input that gets the chosen id. */
  readonly ids: string;
  /** The other inputs, and how each goes on. */
  readonly inputs: readonly InputAdvance[];
}

/** An input `[1]` or `[1, 2]`, and how it goes on from one token to the next. */
export interface InputAdvance extends Advance {
  /** As the graph calls it. */
  readonly name: string;
}

/** A compiled plan. */
export interface Executable {
  /** Copies numbers into an input, from its start; a per-token input may be written in part. */
  write(input: string, data: TensorData): void;
  /**
   * Runs every step on the first `tokens` rows of the per-token tensors. On a GPU it may end before
   * the steps do; what fails in them then fails in `read`, or in the next run.
   */
  run(tokens: number): Promise<void>;
  /** A copy of the first `length` elements of an output; on a GPU it is not there at once. */
  read(output: string, length: number): Float32Array | Promise<Float32Array>;
  /** Most inputs beside the ids that a loop may have; `runAhead` needs it. */
  readonly mostAdvanced?: number;
  /**
   * Where the backend can: runs `count` times for one token, each time on what the last run chose,
   * and gives the chosen ids, -1 where a logit was NaN or Infinity, or all were -Infinity. What runs
   * is submitted before the call returns, so that a second call can follow before the first one's ids
   * are there. `loop` is the same in every call.
   */
  runAhead?(count: number, loop: TokenLoop, choice: AheadChoice): Promise<Int32Array>;
}
