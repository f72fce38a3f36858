/**
 * Loading weights on the workers. Files are cut into pieces of whole rows; each worker takes the
 * next piece, reads it, converts it and packs it into its final place, until none is left. Local
 * files are opened by the workers themselves; what only the main thread can read, it feeds into
 * shared memory ahead of them.
 *
 * @module
 */

import { BackendError } from "../../../errors.ts";
import { PACK_ROWS } from "../../../kernels/pack/layouts.ts";
import { LAYOUT_NUMBERS, packKernel } from "../../../kernels/pack/wasm.ts";
import { rowBytes } from "../../../quant/formats.ts";
import type { FileRange, LoadRangesOptions } from "../backend.ts";
import { align, type StageMemory } from "./stage_memory.ts";

/** Bytes of file in a piece: what is read stays in a core's cache until it is packed. */
const PIECE_BYTES = 2 ** 18;
/** Pieces per worker that the main thread reads ahead. */
const FED_PIECES = 2;
/** Before a worker's buffers: the arguments of a kernel, and the cell where it rejects a value. */
const ARGUMENT_BYTES = 128;

/** How often all workers together report, about. */
const REPORTS = 128;

/** Words that main thread and workers share: the next piece, whether to stop, then a word for each tray. */
const STOP = 1, TRAYS = 2;

/** A range with the place of its weight in one stage. */
export interface PlacedRange {
  readonly range: FileRange;
  /** Columns of the weight. */
  readonly cols: number;
  /** Whether it is a matrix, which is packed. */
  readonly matrix: boolean;
  readonly stage: number;
  /** Address of the whole weight there. */
  readonly address: number;
}

/** A range as worker.js knows it. */
interface Task {
  readonly stage: number;
  /** Which file to read, or -1 where the main thread feeds. */
  readonly file: number;
  readonly offset: number;
  /** Bytes of a row in the file. */
  readonly stride: number;
  readonly firstRow: number;
  readonly endRow: number;
  /** Rows of a piece. */
  readonly step: number;
  readonly cols: number;
  readonly address: number;
  /** Kernel that packs; undefined for what is stored row by row. */
  readonly pack: string | undefined;
  /** How rows are converted before; undefined where they need not be. */
  readonly transcode: { type: number; layout: number; bytes: number } | undefined;
}

/** What a worker reports while it loads. */
type Report =
  | { readonly stored: number }
  | { readonly failed: { task: number; row: number; rows: number; reason: string } }
  | { readonly done: true };

/** Rows that a worker could not store, and why. */
export class PieceFailure {
  constructor(
    readonly placed: PlacedRange,
    readonly row: number,
    readonly rows: number,
    readonly reason: string,
  ) {}
}

/** One load of weights, from the side of the main thread. */
export class Loader {
  /**
   * Resolves when everything is stored. Rejects when something failed and no worker writes any
   * more: with the reason given to `fail`, or with a `PieceFailure`.
   */
  readonly finished: Promise<void>;
  readonly #ranges: readonly PlacedRange[];
  readonly #tasks: readonly Task[];
  readonly #files: string[] = [];
  readonly #memories: readonly StageMemory[];
  readonly #onStored: LoadRangesOptions["onStored"];
  readonly #threads: number;
  readonly #control: Int32Array<SharedArrayBuffer>;
  /** Buffers of one worker, and where those of the first one begin in each stage. */
  readonly #area: { read: number; exchange: number; values: number; bytes: number };
  readonly #areas: number[] = [];
  readonly #trayBytes: number;
  /** Where the trays begin in each stage: each takes one piece that the main thread has read for a worker. */
  readonly #fed: number[] = [];
  readonly #settled = Promise.withResolvers<void>();
  #failure: { reason: unknown } | undefined;
  #done = 0;
  /** Workers that will be done; unknown until they have started. */
  #expected = Infinity;

  /** Gives buffers their memory; `ranges` are loaded in their order. */
  constructor(
    ranges: readonly PlacedRange[],
    memories: readonly StageMemory[],
    threads: number,
    onStored: LoadRangesOptions["onStored"],
  ) {
    this.finished = this.#settled.promise;
    this.finished.catch(() => {});
    this.#ranges = ranges;
    this.#memories = memories;
    this.#threads = threads;
    this.#onStored = onStored;
    this.#tasks = ranges.map((it) => this.#task(it));
    const trays = FED_PIECES * threads;
    this.#control = new Int32Array(new SharedArrayBuffer(4 * (TRAYS + trays)));
    const most = (sizes: number[]): number => align(sizes.reduce((a, b) => Math.max(a, b), 0));
    this.#trayBytes = most(this.#tasks.map(({ step, stride }) => step * stride));
    const exchange = ARGUMENT_BYTES + this.#trayBytes;
    const converted = this.#tasks.filter(({ pack, transcode }) => pack && transcode);
    const values = exchange + most(converted.map(({ transcode }) => PACK_ROWS * transcode!.bytes));
    const bytes = values + most(converted.map(({ cols }) => 4 * align(cols)));
    this.#area = { read: ARGUMENT_BYTES, exchange, values, bytes };
    const feeds = this.#tasks.some(({ file }) => file < 0);
    memories.forEach((memory, stage) => {
      this.#areas[stage] = memory.allocate(threads * bytes, "loading");
      this.#fed[stage] = memory.allocate(feeds ? trays * this.#trayBytes : 0, "loading");
      memory.commit();
    });
  }

  /** What worker `index` is sent. */
  job(index: number): unknown {
    return {
      control: this.#control,
      tasks: this.#tasks,
      files: this.#files,
      area: this.#area,
      areas: this.#areas.map((first) => first + index * this.#area.bytes),
      fed: this.#fed,
      trayBytes: this.#trayBytes,
      reportBytes: this.#ranges.reduce((sum, { range }) => sum + range.bytes, 0) / REPORTS,
    };
  }

  /** Tells how many workers have started. */
  expect(workers: number): void {
    this.#expected = workers;
    this.#settle();
  }

  /** Takes what a worker reports. */
  receive(report: Report): void {
    if ("stored" in report) {
      if (!this.#failure) this.#guard(() => this.#onStored(report.stored));
    } else if ("failed" in report) {
      const { task, row, rows, reason } = report.failed;
      this.fail(new PieceFailure(this.#ranges[task]!, row, rows, reason));
    } else {
      this.#done++;
      this.#settle();
    }
  }

  /** A worker ended without a report. */
  lost(reason: string): void {
    this.fail(new BackendError(`Cannot load weights: a worker failed with ${reason}`));
    this.receive({ done: true });
  }

  /** Stops the workers; the first reason counts. */
  fail(reason: unknown): void {
    this.#failure ??= { reason };
    Atomics.store(this.#control, STOP, 1);
    for (let word = TRAYS; word < this.#control.length; word++) {
      Atomics.store(this.#control, word, -1);
      Atomics.notify(this.#control, word);
    }
  }

  /** Reads what the workers cannot read themselves, a few pieces ahead of them. */
  async feed(): Promise<void> {
    const trays = FED_PIECES * this.#threads;
    let piece = 0;
    for (
      const [i, { stage, file, offset, stride, firstRow, endRow, step }] of this.#tasks.entries()
    ) {
      const { source } = this.#ranges[i]!.range;
      for (let row = firstRow; row < endRow; row += step, piece++) {
        if (file >= 0) continue;
        const tray = piece % trays;
        await this.#emptied(TRAYS + tray);
        if (this.#failure) return;
        const length = Math.min(step, endRow - row) * stride;
        const target = this.#memories[stage]!.bytes(
          this.#fed[stage]! + tray * this.#trayBytes,
          length,
        );
        await source.read(offset + (row - firstRow) * stride, length, target);
        if (this.#failure) return;
        Atomics.store(this.#control, TRAYS + tray, piece + 1);
        Atomics.notify(this.#control, TRAYS + tray);
      }
    }
  }

  /** Waits until the workers have emptied a tray, or all has failed. */
  async #emptied(word: number): Promise<void> {
    for (let held; (held = Atomics.load(this.#control, word)) !== 0 && !this.#failure;) {
      const wait = Atomics.waitAsync(this.#control, word, held);
      if (wait.async) await wait.value;
    }
  }

  #settle(): void {
    if (this.#done < this.#expected) return;
    if (this.#failure) this.#settled.reject(this.#failure.reason);
    else this.#settled.resolve();
  }

  /** Runs what belongs to the caller, whose errors end the load. */
  #guard(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.fail(error);
    }
  }

  #task({ range, cols, matrix, stage, address }: PlacedRange): Task {
    const { source, offset, bytes, firstRow, rows, convert } = range;
    const stride = bytes / rows;
    const { type, layout, identity } = convert;
    const pieceRows = Math.floor(PIECE_BYTES / stride / PACK_ROWS) * PACK_ROWS;
    const number = LAYOUT_NUMBERS[layout.name];
    return {
      stage,
      file: source.path === undefined ? -1 : this.#fileNumber(source.path),
      offset,
      stride,
      firstRow,
      endRow: firstRow + rows,
      step: Math.min(Math.max(PACK_ROWS, pieceRows), rows),
      cols,
      address,
      pack: matrix ? packKernel(layout.name) : undefined,
      transcode: matrix && identity
        ? undefined
        : { type: type.id, layout: number, bytes: rowBytes(layout, cols) },
    };
  }

  #fileNumber(path: string): number {
    const known = this.#files.indexOf(path);
    return known >= 0 ? known : this.#files.push(path) - 1;
  }
}
