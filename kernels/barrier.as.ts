// Where workers wait for each other: between the steps of a tape, or within one.

import { ABORTED, ARRIVED, GENERATION, SLEEPERS, SPIN_LIMIT } from "./constants.as";

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
