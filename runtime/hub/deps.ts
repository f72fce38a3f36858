/**
 * What downloads take from outside: npm's hub client (loaded only when a hub is asked), and the
 * incremental hash and the room on a disk that the runtime itself can tell. Nothing else in `runtime/hub` imports either.
 *
 * @module
 */

import { promises } from "node:fs";
import { SourceError } from "../../errors.ts";
import { plain } from "../../escape.ts";

/** Node's incremental hash, native in Deno: a file of any size is hashed in constant memory. */
export { createHash } from "node:crypto";
export type { Hash } from "node:crypto";
/** How much room a disk has, which `Deno` does not tell. */
export const statfs: typeof promises.statfs = promises.statfs;

/** The hub client. */
export type HubLibrary = typeof import("npm:@huggingface/hub@2.17.5");

/**
 * The same, as a value: Deno fetches what `import()` names in so many words before a program starts,
 * and 10 MB that only hubs need are no part of that.
 */
const HUB_PACKAGE: string = "npm:@huggingface/hub@2.17.5";

/**
 * Loads the hub client, which takes 10 MB and about 70 ms that a local model never pays.
 *
 * @throws {SourceError} when the package is neither cached nor reachable
 */
export async function loadHubLibrary(): Promise<HubLibrary> {
  try {
    return await import(HUB_PACKAGE);
  } catch (cause) {
    throw new SourceError(
      `Cannot load the package ${HUB_PACKAGE}: ${plain((cause as Error).message, 300)}; ` +
        `connect once so that Deno can cache it, or name the file by its URL`,
      { cause },
    );
  }
}
