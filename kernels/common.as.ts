// What every kernel shares: the control block at the start of memory, each worker's scratch
// memory, and how rows are divided. The addresses stand again in kernels/memory.ts.
// `@inline const`: without the optimizer, a plain constant of a module is a global that is loaded.

/** Arrivals at the current barrier; each hot word has a cache line pair of its own. */
@inline export const ARRIVED: usize = 1024;
/** Number of barriers passed. */
@inline export const GENERATION: usize = 1152;
/** Workers asleep in the current barrier. */
@inline export const SLEEPERS: usize = 1280;
/** Set when a worker failed, so that those asleep at a barrier give up. */
@inline export const ABORTED: usize = 1400;
/** Spins before a waiting worker sleeps. */
@inline export const SPIN_LIMIT: usize = 1408;
/** Address of worker 0's scratch memory. */
@inline export const SCRATCH_BASE: usize = 1412;
/** Bytes between the scratch memories of two workers. */
@inline export const SCRATCH_STRIDE: usize = 1416;
/** Whether int8 products are summed four at a time: see dots.as.ts. */
@inline export const QUADS: usize = 1420;
/** Whether attention never divides a head between workers, so that sums do not depend on their number. */
@inline export const WHOLE_HEADS: usize = 1424;
/** 64 bytes that nobody writes. */
@inline export const ZEROS: usize = 1984;

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
