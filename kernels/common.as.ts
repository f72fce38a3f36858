// What every kernel shares: each worker's scratch memory, and how rows are divided. constants.as.ts is
// written by the build from the tables of TypeScript (build_constants.ts).
// `@inline const`: without the optimizer, a plain constant of a module is a global that is loaded.

import { SCRATCH_BASE, SCRATCH_STRIDE } from "./constants.as";

/** This worker's scratch memory; its contents do not outlive the step. */
export function scratch(worker: i32): usize {
  return load<usize>(SCRATCH_BASE) + <usize>worker * load<usize>(SCRATCH_STRIDE);
}

/** First of `count` items that falls to `worker`; its last is before `shareStart(worker + 1)`. */
export function shareStart(count: i32, worker: i32, workers: i32): i32 {
  return <i32>((<i64>count * worker) / workers);
}

/** Takes the next task of a step that shares its work dynamically: 0, 1, 2, … over all workers. */
export function nextTask(args: usize): i32 {
  return atomic.add<i32>(args - 8, 1);
}
