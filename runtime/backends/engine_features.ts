/**
 * What the JavaScript engine must have. Deno and browsers have it; older ones, and Node before 22, are
 * told what they lack instead of failing at a name.
 *
 * @module
 */

import { BackendError } from "../../errors.ts";

/** Features of the last years that are used throughout, by the name that their users know. */
const NEEDED: Readonly<Record<string, () => boolean>> = {
  "Promise.withResolvers": () => "withResolvers" in Promise,
  "Iterator.prototype.map": () => "map" in Object.getPrototypeOf(new Map().entries()),
  "Set.prototype.union": () => "union" in Set.prototype,
  "Map.groupBy": () => "groupBy" in Map,
  "Atomics.waitAsync": () => "waitAsync" in Atomics,
  "Float16Array": () => "Float16Array" in globalThis,
};

/** Names of what the engine lacks to run models. */
export function missingFeatures(): string[] {
  return Object.keys(NEEDED).filter((name) => !NEEDED[name]!());
}

/**
 * Checks the engine.
 *
 * @throws BackendError when it lacks something, with all that it lacks
 */
export function checkEngine(): void {
  const missing = missingFeatures();
  if (missing.length === 0) return;
  throw new BackendError(
    `Cannot run models on this JavaScript engine: it has no ${
      missing.join(", ")
    }; use Deno 2.9 or ` +
      `later, or a browser of 2025 or later`,
  );
}
