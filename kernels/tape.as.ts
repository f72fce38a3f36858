// Runs a tape: a flat array of steps, each an opcode and arguments (kernels/wasm_kernel.ts).
// Every worker executes the same tape and does its own share of each step; a step that needs the
// results of earlier ones waits at a barrier first. Nothing returns to JavaScript in between.
// `dispatch` is written by the build from the table of kernels.

import { barrier } from "./barrier.as";
import { FLAG_BARRIER, STEP_ARGS, STEP_BYTES } from "./constants.as";
import { dispatch } from "./dispatch.as";

export { barrier };

@inline const FLAGS: usize = 4;
@inline const CHUNK_COUNTER: usize = 8;

/** Executes `steps` steps at `tape`, together with the other workers. */
export function run(tape: usize, steps: i32, worker: i32, workers: i32): void {
  const end = tape + <usize>steps * STEP_BYTES;
  if (worker == 0) {
    for (let step = tape; step < end; step += STEP_BYTES) store<i32>(step, 0, CHUNK_COUNTER);
  }
  barrier(workers);
  for (let step = tape; step < end; step += STEP_BYTES) {
    if (load<i32>(step, FLAGS) & FLAG_BARRIER) barrier(workers);
    dispatch(load<i32>(step), step + STEP_ARGS, worker, workers);
  }
  barrier(workers);
}
