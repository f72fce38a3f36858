/**
 * What downloads take from outside: the incremental hash and the room on a disk that the runtime itself
 * can tell. Nothing else in `runtime/hub` imports either, and nothing that runs in a page does.
 *
 * @module
 */

import { promises } from "node:fs";

/** Node's incremental hash, native in Deno: a file of any size is hashed in constant memory. */
export { createHash } from "node:crypto";
export type { Hash } from "node:crypto";
/** How much room a disk has, which `Deno` does not tell. */
export const statfs: typeof promises.statfs = promises.statfs;
