/**
 * The fixed addresses at the start of a stage's memory. The build gives them to the kernels
 * (build_constants.ts).
 *
 * @module
 */

/** Arrivals at the current barrier; each hot cell has a pair of cache lines of its own. */
export const ARRIVED = 1024;

/** Number of barriers passed: the int32 cell that workers sleep on. */
export const GENERATION = 1152;

/** Workers asleep in the current barrier. */
export const SLEEPERS = 1280;

/** Int32 cell that is set when a worker failed, so that those asleep at a barrier give up. */
export const ABORTED = 1400;

/** Spins before a waiting worker sleeps: an int32 cell. */
export const SPIN_LIMIT = 1408;

/** Address of worker 0's scratch memory: an int32 cell. */
export const SCRATCH_BASE = 1412;

/** Bytes between the scratch memories of two workers: an int32 cell. */
export const SCRATCH_STRIDE = 1416;

/** Int32 cell that says whether int8 products are summed four at a time (kernels/dots.as.ts). */
export const QUADS = 1420;

/** Int32 cell that holds the token count of the current run. */
export const TOKENS = 1536;

/** 64 bytes that stay zero. */
export const ZEROS = 1984;

/** First byte that a backend may give away. */
export const HEAP_START = 2048;

/** Bytes in a page of WebAssembly memory. */
export const PAGE_BYTES = 65536;

/** Alignment of every buffer, and the unit that sizes are rounded up to. */
export const ALIGNMENT = 64;
