// The scratch memory of one worker while it encodes a block.

// Places in `area`.
@inline export const CELL: usize = 0;
@inline export const CODES: usize = 64; // 256 of i8, as they are tried
@inline export const KEPT: usize = 320; // 256 of the best
@inline export const TRIED: usize = 576; // 32
@inline export const IDEAL: usize = 640; // 16 f64, scales
@inline export const IDEAL_MINIMA: usize = 768; // 8 f64
@inline export const SCALES: usize = 896; // 16 bytes
@inline export const MINIMA: usize = 912; // 8 bytes
/** Where group scales and offsets are put: 16 and 16 f64. */
@inline export const GROUP_SCALES: usize = 1024;
@inline export const GROUP_OFFSETS: usize = 1152;
/** Where the codes of a block are collected, from 0: 256 bytes. */
@inline export const BLOCK_CODES: usize = 1280;
/** Numbers of a block, four groups side by side: 256 f32. */
@inline export const TURNED: usize = 2048;
/** Numbers of four groups as shares of what is greatest there: 128 f32. */
@inline export const SHARES: usize = 3072;
/** Numbers of groups: 512 bytes. */
@inline export const LANES: usize = 3584;
/** Bytes of `area`. */
@inline export const AREA: usize = 4096;

