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

// The kernels with the most variables keep some of them on the stack, 16 bytes each. Where such an
// access crosses the border of a page it costs tens of cycles, in the innermost loop 15 % of a product.
// The stack of a thread begins at a page's start, and what is called before the kernels had brought
// their frames, about 1 KiB together, right onto the next border. So many calls, of 80 bytes or so
// each, bring them to the middle of a page.
@inline const DEPTH: i32 = 24;

/** Executes `steps` steps at `tape`, together with the other workers. */
export function run(tape: usize, steps: i32, worker: i32, workers: i32): void {
  deeper(DEPTH, tape, steps, worker, workers);
}

function deeper(levels: i32, tape: usize, steps: i32, worker: i32, workers: i32): void {
  if (levels > 0) deeper(levels - 1, tape, steps, worker, workers);
  else runSteps(tape, steps, worker, workers);
}

function runSteps(tape: usize, steps: i32, worker: i32, workers: i32): void {
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
