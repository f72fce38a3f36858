/**
 * The worker threads of the WebAssembly backend, and how a job reaches them: the main thread
 * writes the job into shared words, bumps the epoch, and waits without blocking.
 *
 * @module
 */

import { BackendError } from "../../../errors.ts";
import { plain } from "../../../escape.ts";
import { ABORTED, GENERATION } from "../../../kernels/memory.ts";
import type { Loader } from "./loader.ts";
import workerSource from "./worker.js" with { type: "text" };

/** Words of the job that every worker shares; worker.js repeats them. */
const EPOCH = 0, FINISHED = 1, ARRIVED = 2, FAILED = 3, QUIT = 4, STAGES = 5, BODY = 6;
const JOB_WORDS = 4096;
const START_TIMEOUT_MS = 20_000, ACCOUNT_TIMEOUT_MS = 2_000;

/** One stage's part of a job. */
export interface StageJob {
  /** Which memory. */
  readonly stage: number;
  /** Address of the tape. */
  readonly tape: number;
  /** Steps of the tape. */
  readonly steps: number;
  /** What worker 0 copies in from other stages first. */
  readonly copies: readonly { stage: number; from: number; to: number; bytes: number }[];
}

/** Running workers. */
export interface Pool {
  /** How many started. */
  readonly workers: number;
  /**
   * Runs one job on all of them. Calls are made one at a time.
   *
   * @throws BackendError when a kernel failed, now or in an earlier run
   */
  run(stages: readonly StageJob[]): Promise<void>;
  /** Ends them. */
  dispose(): void;
}

/** Starts a worker; tests replace it to make starting fail. */
export type Spawn = () => Worker;

/** Starts a module worker from its source text, which needs no permission. */
export function spawnWorker(): Worker {
  const url = URL.createObjectURL(new Blob([workerSource], { type: "text/javascript" }));
  const worker = new Worker(url, { type: "module", name: "sparrow" });
  worker.addEventListener("message", () => URL.revokeObjectURL(url), { once: true });
  return worker;
}

/**
 * Starts up to `threads` workers on the given memories. Workers that fail to start are done
 * without, with one warning. They begin with what `loader` has for them, each as soon as it is there;
 * runs come after it.
 *
 * @throws BackendError when none starts
 */
export async function startPool(
  module: WebAssembly.Module,
  memories: readonly WebAssembly.Memory[],
  threads: number,
  spawn: Spawn = spawnWorker,
  loader?: Loader,
): Promise<Pool> {
  const job = new Int32Array(new SharedArrayBuffer(4 * JOB_WORDS));
  const setup = { module, memories, job };
  /** What a worker that failed says of it; comes after the flag. */
  const account = Promise.withResolvers<string>();
  const receive = (data: unknown): void => {
    if (typeof data === "string") account.resolve(data);
    else loader?.receive(data as Parameters<Loader["receive"]>[0]);
  };
  const died = (reason: string): void => {
    account.resolve(reason);
    loader?.lost(reason);
    Atomics.store(job, FAILED, 1);
    Atomics.store(job, FINISHED, Atomics.load(job, EPOCH));
    Atomics.notify(job, FINISHED);
  };
  const starts = await Promise.allSettled(
    Array.from({ length: threads }, (_, i) => {
      const messages = loader ? [setup, { load: loader.job(i) }] : [setup];
      return startWorker(spawn, messages, receive, died);
    }),
  );
  const workers = starts.flatMap((it) => it.status === "fulfilled" ? [it.value] : []);
  if (workers.length < threads) {
    const reason = starts.find((it) => it.status === "rejected")?.reason;
    if (workers.length === 0) {
      throw new BackendError(`Cannot start WebAssembly workers: none of ${threads} started`, {
        cause: reason,
      });
    }
    console.warn(
      `Sparrow runs on ${workers.length} of ${threads} threads: ${plain(String(reason), 300)}`,
    );
  }
  let broken: BackendError | undefined;
  workers.forEach((worker, i) => worker.postMessage({ worker: i, workers: workers.length }));
  loader?.expect(workers.length);

  /** Wakes the workers for the job that stands in the shared words. */
  function wake(): number {
    const epoch = Atomics.add(job, EPOCH, 1) + 1;
    Atomics.notify(job, EPOCH);
    return epoch;
  }

  function dispose(): void {
    Atomics.store(job, QUIT, 1);
    wake();
  }

  return {
    workers: workers.length,
    async run(stages): Promise<void> {
      if (broken) throw broken;
      if (!Atomics.load(job, FAILED)) {
        writeJob(job, stages);
        const epoch = wake();
        for (let seen; (seen = Atomics.load(job, FINISHED)) !== epoch;) {
          const wait = Atomics.waitAsync(job, FINISHED, seen);
          if (wait.async) await wait.value;
        }
      }
      if (Atomics.load(job, FAILED)) {
        for (const memory of memories) {
          const words = new Int32Array(memory.buffer);
          Atomics.store(words, ABORTED >> 2, 1);
          Atomics.notify(words, GENERATION >> 2);
        }
        dispose();
        const timer = setTimeout(() => account.resolve("an unknown error"), ACCOUNT_TIMEOUT_MS);
        const failure = await account.promise;
        clearTimeout(timer);
        throw broken = new BackendError(
          `Cannot finish a run on the WebAssembly workers: a kernel failed with ` +
            `${failure}; this is a bug in Sparrow, please report it`,
        );
      }
    },
    dispose,
  };
}

function startWorker(
  spawn: Spawn,
  messages: readonly unknown[],
  receive: (data: unknown) => void,
  died: (reason: string) => void,
): Promise<Worker> {
  return new Promise((resolve, reject) => {
    const worker = spawn();
    const fail = (reason: string): void => {
      clearTimeout(timer);
      worker.terminate();
      reject(new BackendError(reason));
    };
    const timer = setTimeout(() => fail("a worker did not start in time"), START_TIMEOUT_MS);
    worker.onmessage = ({ data }: MessageEvent): void => {
      if (data !== "ready") return receive(data);
      clearTimeout(timer);
      worker.onerror = (event): void => {
        event.preventDefault();
        died(event.message);
      };
      resolve(worker);
    };
    worker.onerror = (event): void => {
      event.preventDefault();
      fail(event.message || "a worker failed to start");
    };
    for (const message of messages) worker.postMessage(message);
  });
}

/** Lays a job out as worker.js reads it. */
function writeJob(job: Int32Array, stages: readonly StageJob[]): void {
  const words = stages.flatMap(({ stage, tape, steps, copies }) => [
    stage,
    tape,
    steps,
    copies.length,
    ...copies.flatMap(({ stage, from, to, bytes }) => [stage, from, to, bytes]),
  ]);
  if (words.length > JOB_WORDS - BODY) {
    throw new BackendError(
      `Cannot run a plan of ${stages.length} stages: it takes ${words.length} words, ` +
        `at most ${JOB_WORDS - BODY} fit`,
    );
  }
  job[STAGES] = stages.length;
  job[ARRIVED] = 0;
  job.set(words, BODY);
}
