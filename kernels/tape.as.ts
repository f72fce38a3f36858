// Runs a tape: a flat array of steps, each an opcode and arguments (kernels/wasm_kernel.ts).
// Every worker executes the same tape and does its own share of each step; a step that needs the
// results of earlier ones waits at a barrier first. Nothing returns to JavaScript in between.
// `dispatch` is written by the build from the table of kernels.

import { ABORTED, ARRIVED, GENERATION, SLEEPERS, SPIN_LIMIT } from "./common.as";
import { dispatch } from "./dispatch.as";

@inline const STEP_BYTES: usize = 96;
@inline const FLAGS: usize = 4;
@inline const CHUNK_COUNTER: usize = 8;
@inline const ARGS: usize = 16;
@inline const FLAG_BARRIER: i32 = 1;
/** A sleeper looks up this often (ns) whether the run was given up. */
@inline const LOOK_UP: i64 = 500_000_000;

/** Returns when all workers have called it: spins for about as long as a step, then sleeps. */
export function barrier(workers: i32): void {
  if (workers == 1) return;
  const generation = atomic.load<i32>(GENERATION);
  if (atomic.add<i32>(ARRIVED, 1) == workers - 1) {
    atomic.store<i32>(ARRIVED, 0);
    atomic.store<i32>(GENERATION, generation + 1);
    if (atomic.load<i32>(SLEEPERS) > 0) atomic.notify(GENERATION, workers);
    return;
  }
  for (let spins = load<i32>(SPIN_LIMIT); spins > 0; spins--) {
    if (atomic.load<i32>(GENERATION) != generation) return;
  }
  atomic.add<i32>(SLEEPERS, 1);
  while (atomic.load<i32>(GENERATION) == generation) {
    atomic.wait<i32>(GENERATION, generation, LOOK_UP);
    if (atomic.load<i32>(ABORTED)) unreachable();
  }
  atomic.sub<i32>(SLEEPERS, 1);
}

/** Executes `steps` steps at `tape`, together with the other workers. */
export function run(tape: usize, steps: i32, worker: i32, workers: i32): void {
  const end = tape + <usize>steps * STEP_BYTES;
  if (worker == 0) {
    for (let step = tape; step < end; step += STEP_BYTES) store<i32>(step, 0, CHUNK_COUNTER);
  }
  barrier(workers);
  for (let step = tape; step < end; step += STEP_BYTES) {
    if (load<i32>(step, FLAGS) & FLAG_BARRIER) barrier(workers);
    dispatch(load<i32>(step), step + ARGS, worker, workers);
  }
  barrier(workers);
}
