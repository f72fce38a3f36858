/**
 * Threads that make weights smaller, on one memory that all share: what is worked on is put there, tasks
 * say what is to be done with it, and the results do not depend on who does it or on how many there are.
 *
 * @module
 */

import { BackendError, ModelError } from "../../errors.ts";
import { NONLINEAR_CODES } from "../../quant/ggml_blocks.ts";
import { codebook } from "../../quant/search.ts";
import workerSource from "./worker.js" with { type: "text" };

/**
 * One step of a task: a function of the module on numbers, and addresses among them; bytes of a file
 * into the memory; bytes of the memory into a file that is there. A function that gives 0 has failed
 * on what it was given, and ends the task.
 */
export type Step =
  | readonly ["call", name: string, ...args: number[]]
  | readonly ["read" | "write", path: string, offset: number, address: number, bytes: number];

/** Threads, and the memory that they share. */
export interface Pool extends Disposable {
  readonly threads: number;
  /** Takes room, at a multiple of 64; given back with `release`. */
  reserve(bytes: number): number;
  /** Until where room is taken. */
  mark(): number;
  /** Gives back all that was taken since `mark` gave this. */
  release(mark: number): void;
  /** Floats in the memory. */
  floats(address: number, length: number): Float32Array;
  doubles(address: number, length: number): Float64Array;
  bytes(address: number, length: number): Uint8Array;
  /**
   * Has items from 0 to `count` worked on, `size` of them at a time; `task` says by what steps, for
   * items from `first` up to `end`, on the thread with this number. Whether all steps succeeded.
   */
  each(
    count: number,
    size: number,
    task: (
      first: number,
      end: number,
      thread: number,
    ) => readonly Step[] | Promise<readonly Step[]>,
  ): Promise<boolean>;
  /** Has the threads close the files that they have opened. */
  closeFiles(): Promise<void>;
  /** Ends the threads. */
  [Symbol.dispose](): void;
}

/** Bytes that a memory may have. */
const MOST_BYTES = 2 ** 32;
const PAGE = 65536;
/** Where the table of the codes of IQ4_NL is (kernels/quantizers/search.as.ts), and its values. */
const NONLINEAR = 1024, NONLINEAR_VALUES = NONLINEAR + 512;
/** Where what is reserved begins. */
const FIRST = PAGE;

/**
 * Starts threads, all cores where `threads` is absent.
 *
 * @throws BackendError when none starts
 */
export async function startQuantizers(
  { threads = navigator.hardwareConcurrency, signal }: {
    readonly threads?: number | undefined;
    readonly signal?: AbortSignal | undefined;
  } = {},
): Promise<Pool> {
  const memory = new WebAssembly.Memory({ initial: 160, maximum: MOST_BYTES / PAGE, shared: true });
  const table = codebook(NONLINEAR_CODES).nearest;
  new Int8Array(memory.buffer).set(table, NONLINEAR);
  new Int8Array(memory.buffer).set(NONLINEAR_CODES, NONLINEAR_VALUES);
  const module = await loadModule();
  const workers = await Promise.all(
    Array.from({ length: threads }, () => startWorker(module, memory)),
  );
  let top = FIRST;
  const reserve = (bytes: number): number => {
    const at = top, end = at + Math.ceil(bytes / 64) * 64;
    if (end > MOST_BYTES) {
      throw new ModelError(
        `Cannot quantize by method "gptq": sums over the inputs of a layer take ` +
          `${(end / 2 ** 30).toFixed(1)} GiB, at most 4 can be had; use method "awq"`,
      );
    }
    const missing = end - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / PAGE));
    top = end;
    return at;
  };
  return {
    threads,
    reserve,
    mark: () => top,
    release: (mark) => void (top = mark),
    floats: (address, length) => new Float32Array(memory.buffer, address, length),
    doubles: (address, length) => new Float64Array(memory.buffer, address, length),
    bytes: (address, length) => new Uint8Array(memory.buffer, address, length),
    async each(count, size, task) {
      let next = 0, isSound = true;
      await settled(workers.map(async (worker, thread) => {
        while (next < count && isSound) {
          const first = next;
          next = Math.min(count, first + size);
          signal?.throwIfAborted();
          const steps = await task(first, Math.min(count, first + size), thread);
          if (await worker({ steps }) === 0) isSound = false;
        }
      }));
      return isSound;
    },
    async closeFiles() {
      await settled(workers.map((it) => it({ close: true })));
    },
    [Symbol.dispose]: () => workers.forEach((it) => it(undefined)),
  };
}

/** Waits for all, so that nobody writes where another task lies by then; fails as the first has. */
async function settled(works: readonly Promise<unknown>[]): Promise<void> {
  const failed = (await Promise.allSettled(works)).find((it) => it.status === "rejected");
  if (failed) throw failed.reason;
}

/** The compiled module, with relaxed SIMD where the engine has it. */
async function loadModule(): Promise<WebAssembly.Module> {
  try {
    return (await import("../../kernels/pkg/quantizers.js")).default;
  } catch {
    return (await import("../../kernels/pkg/quantizers_plain.js")).default;
  }
}

/** Sends a worker a task, and gives its result; nothing ends it. */
type Send = (task: unknown) => Promise<number>;

function startWorker(module: WebAssembly.Module, memory: WebAssembly.Memory): Promise<Send> {
  const url = URL.createObjectURL(new Blob([workerSource], { type: "text/javascript" }));
  const worker = new Worker(url, { type: "module", name: "sparrow quantizer" });
  let waiting: PromiseWithResolvers<number> | undefined;
  return new Promise((resolve, reject) => {
    worker.onerror = (event): void => {
      event.preventDefault();
      const error = new BackendError(`Cannot use a thread to quantize: ${event.message}`);
      reject(error);
      waiting?.reject(error);
    };
    worker.onmessage = ({ data }): void => {
      if (data === "ready") {
        URL.revokeObjectURL(url);
        return resolve((task) => {
          if (task === undefined) {
            worker.terminate();
            return Promise.resolve(0);
          }
          waiting = Promise.withResolvers();
          worker.postMessage(task);
          return waiting.promise;
        });
      }
      const { value, error } = data;
      if (error) waiting!.reject(Object.assign(new Error(error.message), { code: error.code }));
      else waiting!.resolve(value);
    };
    worker.postMessage({ module, memory });
  });
}
